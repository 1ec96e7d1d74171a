// GEMM, rung 4: tensor cores. The kernel is the engine's portable kernel, ops/cuda/gemm_mma.cu.
//
// Idea         mma.sync multiplies 16 x 16 by 16 x 8 in one warp instruction. Operands reach its register layout by ldmatrix,
//              out of tiles whose 16-byte chunks are permuted so that no bank is met twice; cp.async brings three tiles
//              ahead without passing through registers.
// Traffic      a warp makes 64 x 32 of c: 96 operand rows from shared memory for 2048 multiply-adds a k. Global as rung 3.
// Bottleneck   on Hopper, issue slots and shared memory: every warp loads its own fragments and keeps its own pipeline, and
//              mma.sync reaches about two thirds of the tensor cores' rate. Next rung: let them read shared memory themselves.
#include "bench/ladder/ladder.h"
#include "ops/cuda/gemm_kernels.h"

namespace eng::ladder {

void gemm_mma(const GemmArgs& g) { cuda::run_gemm_kernel(cuda::GemmKernel::mma, g); }

}  // namespace eng::ladder
