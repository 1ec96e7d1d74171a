// Matrix product in bf16 on tensor cores, portable (sm_80 and later): mma.sync, ldmatrix, a cp.async pipeline.
//
// Work split   a block makes 128x128 of c (8 warps of 64x32) or, where tiles are few, 64x64 (4 warps of 32x32).
// Tiling       k in steps of 32 through a ring of four stages: three steps are on their way while one is multiplied.
//
//                k steps:   s        s+1      s+2      s+3
//                           multiply arriving arriving asked for      one barrier per step: it says both that step s
//                                                                     has arrived and that stage s-1 may be refilled
//
//              Operands lie in shared memory as they do in global memory; ldmatrix transposes on the way to registers,
//              so that NT, NN, TN and TT are one loop. Chunks are permuted (tile.h): no bank conflicts.
// Traffic      2 m n k FLOP; global reads 2 (m n k / 128) 2 bytes; shared reads 96 bytes per 2 * 64*32*16 / 64 FLOP a lane.
// Registers    78 to 80 (tile of 64), 124 to 128 (tile of 128), no spills; LDGSTS.128, LDSM.x4, HMMA.16816, STG.128.
// Numerics     products exact, f32 sums inside the tensor core, one rounding at the store.
// Limits       none: rows that are not whole 16 bytes are loaded 2 bytes at a time, at the same place of the pipeline.
#include "ops/cuda/chip.h"
#include "ops/cuda/gemm.h"
#include "ops/cuda/mma_tile.h"

namespace eng::cuda {
namespace {

template <int T, bool TA, bool TB>
__global__ __launch_bounds__(Shape<T>::threads, T == 64 ? 6 : 2) void gemm_mma_kernel(Product p, int tiles_m, int tiles_n, bool whole_a, bool whole_b) {
    in_turn();
    using S = Shape<T>;
    GPU_DYN_SHARED(typename S::Smem, s);
    const TileAt at = tile_at(int(blockIdx.x), tiles_m, tiles_n);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, across = T / S::wn;
    const int row = warp / across * S::wm, col = warp % across * S::wn;  // this warp's corner of the tile
    const int first = blockIdx.y * p.steps_per_split, steps = min((p.k + kDepth - 1) / kDepth - first, p.steps_per_split);
    const auto load = [&](int step) {
        if (step < steps)
            load_step<T, TA, TB>(s->stage[step % kStages], p, at, (first + step) * kDepth, min(p.k, (first + p.steps_per_split) * kDepth), whole_a, whole_b);
        cp_async_commit();  // an empty group at the end keeps the count right
    };

    float acc[S::wm / 16][S::wn / 8][4] = {};
    for (int step = 0; step < kStages - 1; ++step) load(step);
    for (int step = 0; step < steps; ++step) {
        cp_async_wait<kStages - 2>();
        __syncthreads();  // step has arrived for everyone; the stage of step - 1 is used up
        load(step + kStages - 1);
        multiply_step<T, TA, TB>(acc, s->stage[step % kStages], row, col, lane);
    }

    __syncthreads();  // the stages are used up: their memory now takes the accumulators
    Epilogue e = of_split(p.out, blockIdx.y);
    if constexpr (TA) e.gate = nullptr, e.act = nullptr;  // weight gradients have none
#pragma unroll
    for (int i = 0; i < S::wm / 16; ++i)
        store_strip(acc[i], s->out[warp], e, at.m * T + row + 16 * i, at.n * T + col, lane);
}

template <int T, bool TA, bool TB>
void run(Product p, int splits) {
    const int tiles_m = (p.m + T - 1) / T, tiles_n = (p.n + T - 1) / T;
    const std::int64_t tiles = std::int64_t(tiles_m) * tiles_n;
    const SplitK split(p, splits, tiles, kDepth);
    launch<gemm_mma_kernel<T, TA, TB>>({dim3(unsigned(tiles), unsigned(p.splits)), dim3(Shape<T>::threads), sizeof(typename Shape<T>::Smem)},
                                       p, tiles_m, tiles_n, whole_chunks(p.a, TA ? p.m : p.k), whole_chunks(p.b, TB ? p.k : p.n));
    split.sum();
}
template <int T>
void run(const Product& p, int splits) {
    p.ta ? p.tb ? run<T, true, true>(p, splits) : run<T, true, false>(p, splits)
         : p.tb ? run<T, false, true>(p, splits) : run<T, false, false>(p, splits);
}

}  // namespace

void gemm_mma(Product p, int splits) {
    const std::int64_t large = std::int64_t((p.m + 127) / 128) * ((p.n + 127) / 128);
    large >= chip().sms ? run<128>(p, splits) : run<64>(p, splits);
}

}  // namespace eng::cuda
