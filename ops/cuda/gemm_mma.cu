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
// Registers    64 (tile of 64) to 119 (tile of 128), no spills; LDGSTS.128, LDSM.x4, HMMA.16816, STG.128.
// Numerics     products exact, f32 sums inside the tensor core, one rounding at the store.
// Limits       none: rows that are not whole 16 bytes are loaded 2 bytes at a time, at the same place of the pipeline.
#include "ops/cuda/chip.h"
#include "ops/cuda/gemm.h"
#include "ops/cuda/tile.h"

namespace eng::cuda {
namespace {

constexpr int kDepth = 32, kStages = 4;

// T x T of c by WARPS warps of WM x WN.
template <int T> struct Shape {
    static constexpr int warps = T == 128 ? 8 : 4, wm = T == 128 ? 64 : 32, wn = 32, threads = warps * 32;
    static constexpr int pitch = wn + 8;  // floats of a staged row: eight rows of an accumulator meet no bank twice
    struct Stage { bf16 a[T * kDepth], b[T * kDepth]; };
    union Smem {
        Stage stage[kStages];
        float out[warps][16 * pitch];
    };
};

template <int T, bool TA, bool TB>
PTX_INLINE void load_step(typename Shape<T>::Stage& s, const Product& p, TileAt at, int k0, int k_end, bool whole_a, bool whole_b) {
    constexpr int threads = Shape<T>::threads;
    const auto* a = static_cast<const bf16*>(p.a);
    const auto* b = static_cast<const bf16*>(p.b);
    if constexpr (TA) load_tile<kDepth, T, threads>(s.a, a, k0, at.m * T, k_end, p.m, p.m, whole_a);
    else load_tile<T, kDepth, threads>(s.a, a, at.m * T, k0, p.m, k_end, p.k, whole_a);
    if constexpr (TB) load_tile<T, kDepth, threads>(s.b, b, at.n * T, k0, p.n, k_end, p.k, whole_b);
    else load_tile<kDepth, T, threads>(s.b, b, k0, at.n * T, k_end, p.n, p.n, whole_b);
}

template <int T, bool TA, bool TB, int M, int N>
PTX_INLINE void multiply_step(float (&acc)[M][N][4], const typename Shape<T>::Stage& s, int row, int col, int lane) {
#pragma unroll
    for (int k = 0; k < kDepth; k += 16) {
        unsigned fa[M][4], fb[N / 2][4];
        for (int i = 0; i < M; ++i) load_a<TA ? T : kDepth, TA>(fa[i], s.a, row + 16 * i, k, lane);
        for (int j = 0; j < N / 2; ++j) load_b<TB ? kDepth : T, !TB>(fb[j], s.b, col + 16 * j, k, lane);
        for (int i = 0; i < M; ++i)
            for (int j = 0; j < N; ++j) mma_m16n8k16_bf16(acc[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
    }
}

// 16 rows of a warp's accumulators through shared memory, so that a lane stores eight neighbouring columns.
template <int N>
PTX_INLINE void store_strip(const float (&acc)[N][4], float* out, const Epilogue& e, std::int64_t row, std::int64_t col, int lane) {
    constexpr int pitch = N * 8 + 8;
    for (int j = 0; j < N; ++j)
        for (int h = 0; h < 2; ++h) {
            const float2 pair = make_float2(acc[j][2 * h], acc[j][2 * h + 1]);
            *reinterpret_cast<float2*>(&out[(lane / 4 + 8 * h) * pitch + 8 * j + lane % 4 * 2]) = pair;
        }
    __syncwarp();  // the strip is whole
    for (int i = lane; i < 16 * N; i += 32) emit<8>(e, row + i / N, col + i % N * 8, out + i / N * pitch + i % N * 8);
    __syncwarp();  // the strip is read: the next one may overwrite it
}

template <int T, bool TA, bool TB>
__global__ __launch_bounds__(Shape<T>::threads) void gemm_mma_kernel(Product p, int tiles_m, int tiles_n, bool whole_a, bool whole_b) {
    in_turn();
    using S = Shape<T>;
    GPU_DYN_SHARED(typename S::Smem, s);
    const TileAt at = tile_at(int(blockIdx.x), tiles_m, tiles_n);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, across = T / S::wn;
    const int row = warp / across * S::wm, col = warp % across * S::wn;  // this warp's corner of the tile
    const int first = blockIdx.y * p.steps_per_split, k_end = min(p.k, (first + p.steps_per_split) * kDepth);
    const int steps = (k_end - first * kDepth + kDepth - 1) / kDepth;
    const auto load = [&](int step) {
        if (step < steps)
            load_step<T, TA, TB>(s->stage[step % kStages], p, at, (first + step) * kDepth, k_end, whole_a, whole_b);
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
        store_strip(acc[i], s->out[warp], e, std::int64_t(at.m) * T + row + 16 * i, std::int64_t(at.n) * T + col, lane);
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
