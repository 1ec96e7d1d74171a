// GEMM, rung 5: TMA and wgmma. The kernel is the engine's Hopper kernel, ops/cuda/gemm_hopper.cu.
//
// Idea         one instruction of four warps multiplies 64 x 16 by 16 x 256 straight from shared memory; one thread of a
//              warpgroup of its own asks the copy engine for whole tiles, and mbarriers say when a stage is full or used.
//              Registers hold accumulators and nothing else; blocks stay and walk over tiles, so that the copies for the
//              next tile run under the epilogue of this one.
// Traffic      as rung 4 from global memory, with 256 columns a tile: a quarter less. No fragment loads at all.
//              With 192 columns or fewer there are registers for two tiles: one is stored while the next is multiplied.
// Bottleneck   predicted: L2, from which 128 x 256 tiles at full rate read 9.2 TB/s, and narrower ones more. With 256 columns
//              also the epilogue, as long as a quarter of the multiplications if k <= 768. Next: copies for two blocks at once.
#include "bench/ladder/ladder.h"
#include "ops/cuda/gemm_kernels.h"

namespace eng::ladder {

void gemm_wgmma(const GemmArgs& g) { cuda::run_gemm_kernel(cuda::GemmKernel::hopper, g); }

}  // namespace eng::ladder
