// GEMM, rung 5: TMA and wgmma. The kernel is the engine's Hopper kernel, ops/cuda/gemm_hopper.cu.
//
// Idea         one instruction of four warps multiplies 64 x 16 by 16 x 256 straight from shared memory; one thread of a
//              warpgroup of its own asks the copy engine for whole tiles, and mbarriers say when a stage is full or used.
//              Registers hold accumulators and nothing else; blocks stay and walk over tiles, so that the copies for the
//              next tile run under the epilogue of this one.
// Traffic      as rung 4 from global memory, with 256 columns a tile: a quarter less. No fragment loads at all.
// Bottleneck   predicted: the epilogue, which with k <= 768 is as long as a quarter of the multiplications and does not
//              overlap with those of the same block. Next: two tiles in turn per block, tiles of 192 columns.
#include "bench/ladder/ladder.h"
#include "ops/cuda/gemm_kernels.h"

namespace eng::ladder {

void gemm_wgmma(const GemmArgs& g) { cuda::run_gemm_kernel(cuda::GemmKernel::hopper, g); }

}  // namespace eng::ladder
