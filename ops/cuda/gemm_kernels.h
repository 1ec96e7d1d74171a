#pragma once
// The kernels behind cuda::gemm by name, for tests and benchmarks: plain host declarations, no CUDA header.
#include "ops/kernels.h"

namespace eng::cuda {

enum class GemmKernel { simt, mma, hopper };  // f32, bf16 | bf16, sm_80 and later | bf16, sm_90a

bool can_run(GemmKernel kernel, const GemmArgs& g);  // dtype, alignment, card
// How a product is cut; 0: as the kernel chooses.
struct Tiles {
    int width = 0;   // of hopper's tiles: 256, 192 or 128 columns
    int peers = 0;   // of hopper: 2 blocks share what both multiply with, or 1
    int splits = 0;  // of k
};
// As cuda::gemm, but by this kernel, cut like this; an error if it cannot.
void run_gemm_kernel(GemmKernel kernel, const GemmArgs& g, Tiles tiles = {});
void run_gemm_two(const GemmTwoArgs& g, Tiles tiles);  // as cuda::gemm_two, cut like this where both are made at once

}  // namespace eng::cuda
