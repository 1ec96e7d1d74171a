#pragma once
// Attention on tensor cores in blocks of 16 x 16 scores, head width 64. A warp holds 16 rows of one side (queries or keys)
// as A operands in registers; rows of the other side lie in shared memory and serve twice: as columns of a score block
// (s = rows . tile^T) and, transposed by ldmatrix, as what the block multiplies (acc += s . tile).
//
// Of a 16 x 16 block a lane holds rows lane/4 and lane/4 + 8 (h = 0, 1) and columns 8 j + 2 (lane % 4) + e: s[j][2 h + e].
#include "ops/cuda/attention.h"
#include "ops/cuda/tile.h"

namespace eng::cuda {

constexpr int kD = 64, kStrip = 16 * kD;  // elements of 16 rows
constexpr int kTile = 64;                 // rows of the other side at a time

using Rows = unsigned[kD / 16][4];      // 16 rows x 64 columns, A operands of four products
using Sums = float[kD / 8][4];          // 16 x 64 accumulators
using Block = float[2][4];              // 16 x 16 scores

// Where a lane's address for ldmatrix lies inside 16 rows, for columns 0..15; columns 16 d.. are at the same offset XOR
// 16 d, because chunks are permuted by XOR and 16 rows are a multiple of that pattern. `along`: rows are the 16 rows of
// an A operand or the k of a transposed B operand; else they are the columns of a B operand.
PTX_INLINE int lane_offset(bool along, int lane) {
    return along ? chunk_at<kD>(lane % 16, lane / 16) : chunk_at<kD>(lane / 16 * 8 + lane % 8, lane / 8 % 2);
}
// `tile` and the row or column of a block are multiples of 16 rows.
PTX_INLINE void load_rows(Rows& r, const bf16* tile, int row, int lane) {
    const int at = lane_offset(true, lane);
#pragma unroll
    for (int d = 0; d < kD / 16; ++d) ldmatrix_x4(r[d], tile + row * kD + (at ^ 16 * d));
}
// s = rows . tile[col .. col+15]^T
PTX_INLINE void score_block(Block& s, const Rows& rows, const bf16* tile, int col, int lane) {
    const int at = lane_offset(false, lane);
#pragma unroll
    for (int j = 0; j < 2; ++j)
        for (int e = 0; e < 4; ++e) s[j][e] = 0;
#pragma unroll
    for (int d = 0; d < kD / 16; ++d) {
        unsigned f[4];
        ldmatrix_x4(f, tile + col * kD + (at ^ 16 * d));
        mma_m16n8k16_bf16(s[0], rows[d], f[0], f[1]);
        mma_m16n8k16_bf16(s[1], rows[d], f[2], f[3]);
    }
}
// A block rounded to bf16, as the A operand of a product over its columns.
PTX_INLINE void pack_block(unsigned (&a)[4], const Block& s) {
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] = pack_bf16(s[i / 2][i % 2 * 2], s[i / 2][i % 2 * 2 + 1]);
}
// acc += s . tile[row .. row+15], s rounded to bf16
PTX_INLINE void add_block(Sums& acc, const Block& s, const bf16* tile, int row, int lane) {
    unsigned a[4];
    pack_block(a, s);
    const int at = lane_offset(true, lane);
#pragma unroll
    for (int d = 0; d < kD / 16; ++d) {
        unsigned f[4];
        ldmatrix_x4_trans(f, tile + row * kD + (at ^ 16 * d));
        mma_m16n8k16_bf16(acc[2 * d], a, f[0], f[1]);
        mma_m16n8k16_bf16(acc[2 * d + 1], a, f[2], f[3]);
    }
}

// Rows first .. first+n of a head into a tile, zeroes up to `total` rows; by `threads` threads, of which this is `t`.
PTX_INLINE void load_head(bf16* tile, const View& v, std::int64_t first, int n, int total, int head, int t, int threads) {
    const int c = t % (kD / 8), rows = threads / (kD / 8);
    const bf16 *none = ptr<bf16>(v) + head * kD + c * 8, *x = none + (first + t / (kD / 8)) * v.pitch;
    const std::int64_t step = rows * v.pitch;
#pragma unroll 4
    for (int r = t / (kD / 8); r < total; r += rows, x += step) cp_async16(tile + chunk_at<kD>(r, c), r < n ? x : none, r < n ? 16 : 0);
}

// What backward needs of an element: its row sum in powers of two, delta, and whether query sees key.
struct Term { float lse, delta; bool visible; };
// s -> p = exp2(scale s - lse), dp -> ds = p (dp - delta); at(h, column of the block) gives the element's Term.
template <class F>
PTX_INLINE void backward_block(Block& s, Block& dp, float scale, int lane, F&& at) {
#pragma unroll
    for (int j = 0; j < 2; ++j)
        for (int h = 0; h < 2; ++h)
            for (int e = 0; e < 2; ++e) {
                const Term t = at(h, 8 * j + lane % 4 * 2 + e);
                const float p = t.visible ? exp2_approx(s[j][2 * h + e] * scale - t.lse) : 0.0f;
                s[j][2 * h + e] = p, dp[j][2 * h + e] = p * (dp[j][2 * h + e] - t.delta);
            }
}

// (+)= scale acc, 16 rows of a head from `first`; those at or past `rows` are dropped. Pairs of bf16, 16 bytes a quad.
PTX_INLINE void put_rows(const Out& o, std::int64_t first, int rows, int head, const Sums& acc, float scale, int lane) {
    if (o.mode == Mode::skip) return;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int r = lane / 4 + 8 * h;
        if (r >= rows) continue;
        auto* y = reinterpret_cast<unsigned*>(ptr<bf16>(o) + (first + r) * o.pitch + head * kD) + lane % 4;
#pragma unroll
        for (int d = 0; d < kD / 8; ++d) {
            float x[2] = {acc[d][2 * h] * scale, acc[d][2 * h + 1] * scale};
            if (o.mode == Mode::accumulate) {
                const float2 old = unpack_bf16(y[4 * d]);
                x[0] += old.x, x[1] += old.y;
            }
            y[4 * d] = pack_bf16(x[0], x[1]);
        }
    }
}

}  // namespace eng::cuda
