// Hopper's product cut as asked, for finding out how right the model is that chooses (ops/cuda/gemm_plan.h).
#include "bench/capi.h"
#include "ops/cuda/gemm_kernels.h"

extern "C" int scvd_gemm_tiles(const eng::GemmArgs* args, int width, int peers) {
    return scvd_bench::guarded([&] { eng::cuda::run_gemm_kernel(eng::cuda::GemmKernel::hopper, *args, {width, peers}); });
}
