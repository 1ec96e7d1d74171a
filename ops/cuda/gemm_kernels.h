#pragma once
// The kernels behind cuda::gemm by name, for tests and benchmarks: plain host declarations, no CUDA header.
#include "ops/kernels.h"

namespace eng::cuda {

enum class GemmKernel { simt, mma, hopper };  // f32, bf16 | bf16, sm_80 and later | bf16, sm_90a

bool can_run(GemmKernel kernel, const GemmArgs& g);  // dtype, alignment, card
// As cuda::gemm, but by this kernel, with k cut into `splits` and, of hopper, tiles of 256, 192 or 128 columns (0: as the
// kernel chooses); an error if it cannot.
void run_gemm_kernel(GemmKernel kernel, const GemmArgs& g, int splits = 0, int width = 0);

}  // namespace eng::cuda
