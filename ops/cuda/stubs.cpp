// Stands in for the CUDA kernels in a build without CUDA: every kernel exists, and says why it cannot run.
#include "ops/kernels.h"

namespace eng::cuda {
#define KERNEL(name, Args) \
    void name(const Args&) { fail(#name, "this binary was built without CUDA"); }
#include "ops/kernels.def"
#undef KERNEL
}  // namespace eng::cuda
