// Stands in for the CUDA kernels in a build without CUDA: every kernel exists, and says why it cannot run.
#include "ops/kernels.h"
#include "ops/provider.h"

namespace eng::cuda {
#define KERNEL(name, Args) \
    void name(const Args&) { fail(#name, "this binary was built without CUDA"); }
#include "ops/kernels.def"
#undef KERNEL
bool vsr_pool_fits(const VsrPoolArgs&) { return false; }
void vsr_pool(const VsrPoolArgs&) { fail("vsr_pool", "this binary was built without CUDA"); }
void require_cudnn_conv() { fail("cudnn", "--conv cudnn: this binary was built without CUDA"); }
void require_cudnn_attention() { fail("cudnn", "--attention cudnn: this binary was built without CUDA"); }
}  // namespace eng::cuda
