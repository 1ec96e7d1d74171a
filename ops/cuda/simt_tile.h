#pragma once
// A tile of a product on the ordinary cores: the two operands k-major in shared memory, a step of k, and the way out. gemm_simt.cu has
// the picture.
#include "ops/cuda/gemm.h"

namespace eng::cuda {

constexpr int kDepth = 16, kThreads = 256;  // of k in a step; of a block

template <int T> struct alignas(16) SimtTile { float a[kDepth][T + 4], b[kDepth][T + 4]; };  // + 4: transposing stores spread over banks

// T x 16 of an operand into registers. `major`: k is the fast index of the stored matrix; zero outside of it.
template <int T, class E>
PTX_INLINE void fetch(float (&r)[T * kDepth / kThreads], const E* x, bool major, int row0, int k0, int rows, int k, int pitch) {
    for (int i = 0; i < T * kDepth / kThreads; ++i) {
        const int at = threadIdx.x + i * kThreads;
        const int row = row0 + (major ? at / kDepth : at % T), kk = k0 + (major ? at % kDepth : at / T);
        const bool inside = row < rows && kk < k;
        r[i] = inside ? float(x[major ? std::int64_t(row) * pitch + kk : std::int64_t(kk) * pitch + row]) : 0.0f;
    }
}
template <int T>
PTX_INLINE void put(float (&tile)[kDepth][T + 4], const float (&r)[T * kDepth / kThreads], bool major) {
    for (int i = 0; i < T * kDepth / kThreads; ++i) {
        const int at = threadIdx.x + i * kThreads;
        tile[major ? at % kDepth : at / T][major ? at / kDepth : at % T] = r[i];
    }
}
// A thread's P values of one k: groups of four, T/2 apart.
template <int T, int P>
PTX_INLINE void pick(float (&v)[P], const float (&row)[T + 4], int which) {
    for (int h = 0; h < P / 4; ++h) {
        const float4 f = *reinterpret_cast<const float4*>(&row[h * (T / 2) + which * 4]);
        v[4 * h] = f.x, v[4 * h + 1] = f.y, v[4 * h + 2] = f.z, v[4 * h + 3] = f.w;
    }
}
template <int T, int P>
PTX_INLINE void multiply_step(float (&acc)[P][P], const SimtTile<T>& s, int y, int x) {
#pragma unroll
    for (int kk = 0; kk < kDepth; ++kk) {
        float va[P], vb[P];
        pick<T>(va, s.a[kk], y);
        pick<T>(vb, s.b[kk], x);
        for (int i = 0; i < P; ++i)
            for (int j = 0; j < P; ++j) acc[i][j] += va[i] * vb[j];
    }
}
template <int T, int P>
PTX_INLINE void store_tile(const float (&acc)[P][P], const Epilogue& e, int row0, int col0, int y, int x) {
#pragma unroll
    for (int i = 0; i < P; ++i)
#pragma unroll
        for (int h = 0; h < P / 4; ++h) {
            const int row = row0 + i / 4 * (T / 2) + y * 4 + i % 4, col = col0 + h * (T / 2) + x * 4;
            if (row >= e.m || col >= e.n) continue;
            float v[4] = {acc[i][4 * h], acc[i][4 * h + 1], acc[i][4 * h + 2], acc[i][4 * h + 3]};
            if (e.wide) {
                emit_wide(e, e.at(row, col), col, v);
                continue;
            }
            for (int j = 0; j < 4; ++j)
                if (col + j < e.n) emit1(e, e.at(row, col) + j, col + j, v[j]);
        }
}

}  // namespace eng::cuda
