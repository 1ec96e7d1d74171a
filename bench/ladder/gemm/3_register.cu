// GEMM, rung 3: register tiles. The kernel is the engine's f32 kernel, ops/cuda/gemm_simt.cu.
//
// Idea         a thread makes 8 x 8 of c. For one k it reads 8 values of a and 8 of b from shared memory (four float4) and
//              does 64 multiply-adds with them; the next tile travels from global memory to registers meanwhile.
// Traffic      shared loads per multiply-add fall from 2 to 1/4; global loads by another 4 (tiles of 128).
// Bottleneck   the multiply-add units themselves: ordinary cores do 2 FLOP a lane and clock. Next rung: tensor cores.
#include "bench/ladder/ladder.h"
#include "ops/cuda/gemm_kernels.h"

namespace eng::ladder {

void gemm_register(const GemmArgs& g) { cuda::run_gemm_kernel(cuda::GemmKernel::simt, g); }

}  // namespace eng::ladder
