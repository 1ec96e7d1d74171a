#pragma once
// What attention_backward_pairs.cu is made of: which keys a block owns, which sequences touch them, what lies where in shared
// memory, and products of 16 keys with 8 or 16 queries (N = 1 or 2 times eight). Fragments as in attention_mma.h.
#include "ops/cuda/attention_mma.h"
#include "ops/cuda/chosen.h"

namespace eng::cuda {

constexpr int kShort = 16;  // most queries of a sequence
// Most keys that a block owns. 208 (an image's 193) are 13 warps of 128 registers, which is too few for N = 2.
template <int N> constexpr int kMost = N == 1 ? 208 : 192;

struct PairPlan {
    int rows;            // keys that a block owns
    int slots;           // blocks that a sequence can touch
    int queries;         // of the longest sequence
    float scale;         // of scores, in powers of two
    const float* delta;
    float* partial;      // [sequence][slot][head][query][dq 64]
};

// What a block owns of a sequence's keys: its own rows from .. to-1. It is the sequence's slot-th block.
struct Part { int from, to, slot; };
PTX_INLINE Part part_of(const Seq& s, int first, int rows, int step) {
    return {max(0, s.k - first), min(rows, s.k + s.nk - first), first / step - s.k / step};
}
PTX_INLINE int partial_at(const PairPlan& p, int sequence, int slot, int heads, int head, int row) {
    return ((sequence * p.slots + slot) * heads + head) * p.queries + row;
}

// Calls use(list, n) with the sequences that touch rows first .. first+rows-1 of a side.
template <int MOST, class F>
PTX_INLINE void for_touching(const AttentionSeqs& s, bool keys, int first, int rows, F&& use) {
    const int *begin = ptr<int>(keys ? s.k_begin : s.q_begin), *len = ptr<int>(keys ? s.k_len : s.q_len);
    for_chosen<MOST>(int(s.q_begin.numel()), [&](int i) {
        const int from = begin[i], to = from + len[i];
        return from < first + rows && to > first;
    }, use);
}

// In shared memory: k and v of the block, then q and dy of two sequences, blocks of ds, lse and delta of queries.
template <int N>
struct PairSmem {
    static constexpr int kStrips = 8 * N * kD;
    bf16* begin;
    int padded;  // rows of the block, in whole strips
    PTX_INLINE bf16* k() const { return begin; }
    PTX_INLINE bf16* v() const { return begin + padded * kD; }
    PTX_INLINE bf16* shorts(int buffer, int which) const { return begin + 2 * padded * kD + (2 * buffer + which) * kStrips; }  // q, dy
    PTX_INLINE bf16* blocks() const { return shorts(2, 0); }                                                                  // [N][row][8]
    PTX_INLINE float2* queries() const { return reinterpret_cast<float2*>(blocks() + N * padded * 8); }
    static std::size_t bytes(int padded) { return (std::size_t(padded) * (2 * kD + N * 8) + 4 * kStrips) * sizeof(bf16) + 8 * N * sizeof(float2); }
};

// Rows from .. to-1 of a tile of `total` rows, whose row 0 is row `at` of the matrix (and may be none); the others are zero.
PTX_INLINE void copy_rows(bf16* tile, const View& v, int head, int at, int from, int to, int total) {
    const int c = threadIdx.x % 8;
    const bf16* x = ptr<bf16>(v) + head * kD + c * 8;
    for (int r = threadIdx.x / 8; r < total; r += int(blockDim.x) / 8) {
        const bool inside = r >= from && r < to;
        cp_async16(tile + chunk_at<kD>(r, c), inside ? x + std::int64_t(at + r) * v.pitch : x, inside ? 16 : 0);
    }
}

// Eight short rows of a tile: chunk lane / 8 of row lane % 8; the other half of the columns is at the same offset XOR 32.
PTX_INLINE int short_offset(int lane) { return chunk_at<kD>(lane % 8, lane / 8); }
// s = rows . tile^T, 16 rows of the block
template <int N>
PTX_INLINE void scores(float (&s)[N][4], const bf16* rows, const bf16* tile, int lane) {
#pragma unroll
    for (int t = 0; t < N; ++t)
        for (int e = 0; e < 4; ++e) s[t][e] = 0;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        unsigned a[2][4], f[N][4];
#pragma unroll
        for (int d = 0; d < 2; ++d) ldmatrix_x4(a[d], rows + (lane_offset(true, lane) ^ (32 * half + 16 * d)));
#pragma unroll
        for (int t = 0; t < N; ++t) ldmatrix_x4(f[t], tile + t * 8 * kD + (short_offset(lane) ^ 32 * half));
#pragma unroll
        for (int t = 0; t < N; ++t) {
            mma_m16n8k16_bf16(s[t], a[0], f[t][0], f[t][1]);
            mma_m16n8k16_bf16(s[t], a[1], f[t][2], f[t][3]);
        }
    }
}
// A block as operand of 16 rows x 16 columns; with N = 1 the second eight are zero.
template <int N>
PTX_INLINE void round_block(unsigned (&a)[4], const float (&s)[N][4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] = i < 2 * N ? pack_bf16(s[i / 2 % N][i % 2 * 2], s[i / 2 % N][i % 2 * 2 + 1]) : 0;
}
// acc += a . tile
template <int N>
PTX_INLINE void add_short(Sums& acc, const unsigned (&a)[4], const bf16* tile, int lane) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        unsigned f[N][4];
#pragma unroll
        for (int t = 0; t < N; ++t) ldmatrix_x4_trans(f[t], tile + t * 8 * kD + (short_offset(lane) ^ 32 * half));
#pragma unroll
        for (int d = 0; d < 4; ++d) mma_m16n8k16_bf16(acc[4 * half + d], a, f[0][d], N == 2 ? f[N - 1][d] : 0);
    }
}
// The lane's elements of a block into blocks[N][row][8].
template <int N>
PTX_INLINE void keep_block(bf16* blocks, int padded, int row, const unsigned (&a)[4], int lane) {
#pragma unroll
    for (int i = 0; i < 2 * N; ++i)
        *reinterpret_cast<unsigned*>(blocks + (i / 2 * padded + row + lane / 4 + i % 2 * 8) * 8 + lane % 4 * 2) = a[i];
}

}  // namespace eng::cuda
