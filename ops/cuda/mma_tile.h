#pragma once
// A tile of a bf16 product on mma.sync: the stages in shared memory that feed it, a step of k, and the way out. gemm_mma.cu says how
// the stages follow each other.
#include "ops/cuda/gemm.h"
#include "ops/cuda/tile.h"

namespace eng::cuda {

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

// SUMS: b_sums becomes the sums over k of b, the same in each of its rows, a product with ones; by warps that want it.
template <int T, bool TA, bool TB, bool SUMS = false, int M, int N>
PTX_INLINE void multiply_step(float (&acc)[M][N][4], const typename Shape<T>::Stage& s, int row, int col, int lane, float (*b_sums)[4] = nullptr, bool wanted = false) {
#pragma unroll
    for (int k = 0; k < kDepth; k += 16) {
        unsigned fa[M][4], fb[N / 2][4];
        for (int i = 0; i < M; ++i) load_a<TA ? T : kDepth, TA>(fa[i], s.a, row + 16 * i, k, lane);
        for (int j = 0; j < N / 2; ++j) load_b<TB ? kDepth : T, !TB>(fb[j], s.b, col + 16 * j, k, lane);
        for (int i = 0; i < M; ++i)
            for (int j = 0; j < N; ++j) mma_m16n8k16_bf16(acc[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
        if constexpr (SUMS)
            if (wanted) {
                constexpr unsigned one = 0x3f803f80;  // two, in bf16
                const unsigned ones[4] = {one, one, one, one};
                for (int j = 0; j < N; ++j) mma_m16n8k16_bf16(b_sums[j], ones, fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
            }
    }
}

// 16 rows of a warp's accumulators through shared memory, so that a lane stores eight neighbouring columns.
template <int N>
PTX_INLINE void store_strip(const float (&acc)[N][4], float* out, const Epilogue& e, int row, int col, int lane) {
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

}  // namespace eng::cuda
