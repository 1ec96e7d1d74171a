#pragma once
// What the attention kernels share: sequences as the device sees them, and who owns which rows of a gradient.
#include "ops/cuda/attention_kernels.h"
#include "ops/cuda/kernel.h"
#include "ops/cuda/ptx.h"

namespace eng::cuda {

// Sequences of up to so many rows are for a warp or two a head: of larger blocks most warps would have no strip of 16.
constexpr int kFewRows = 80;

struct Seq { int q, nq, o, k, nk; };  // rows of q, of y, of k and v
PTX_INLINE Seq seq_at(const AttentionSeqs& s, int b) {
    return {ptr<int>(s.q_begin)[b], ptr<int>(s.q_len)[b], ptr<int>(s.o_begin)[b], ptr<int>(s.k_begin)[b], ptr<int>(s.k_len)[b]};
}

// Without atomics a gradient row has one writer: a block owns R rows of one side (queries or keys) of one head and adds
// up what every sequence that contains them contributes, in the order of the list. Where no row is shared, that is the
// b-th sequence alone, and the rows are counted from its beginning; else all sequences that touch rows tile*R.. .
struct Owner {
    int first, rows;  // rows of the matrix that belong to the block; rows <= 0: nothing to do
    int b;            // the only sequence, or -1: look for them
};
// Blocks (tile, b) of sequences, or (tile, 0) of the matrix.
template <int R>
PTX_INLINE Owner owner_of(const AttentionSeqs& s, bool keys, std::int64_t matrix_rows, int tile, int b) {
    if (s.shared) return {tile * R, int(matrix_rows) - tile * R, -1};
    const Seq q = seq_at(s, b);
    return {(keys ? q.k : q.q) + tile * R, (keys ? q.nk : q.nq) - tile * R, b};
}

// Calls visit(sequence) for the owner's sequences. All threads of the block take part; visit may contain barriers.
template <int R, int THREADS, class F>
PTX_INLINE void for_owned(const AttentionSeqs& s, bool keys, const Owner& o, F&& visit) {
    GPU_SHARED(touching, unsigned[THREADS / 32]);
    const int begin = o.b >= 0 ? o.b : 0, end = o.b >= 0 ? o.b + 1 : int(s.q_begin.numel());
    for (int base = begin; base < end; base += THREADS) {
        bool touches = false;
        if (base + int(threadIdx.x) < end) {
            const Seq q = seq_at(s, base + threadIdx.x);
            const int from = keys ? q.k : q.q, to = from + (keys ? q.nk : q.nq);
            touches = from < o.first + R && to > o.first;
        }
        const unsigned votes = __ballot_sync(kAllLanes, touches);
        if (threadIdx.x % 32 == 0) touching[threadIdx.x / 32] = votes;
        __syncthreads();  // the list of this stretch is complete
        for (int w = 0; w < THREADS / 32; ++w)
            for (unsigned left = touching[w]; left; left &= left - 1) visit(seq_at(s, base + w * 32 + __ffs(int(left)) - 1));
        __syncthreads();  // the list is read: the next stretch overwrites it
    }
}
// Blocks that cover one side: tiles of its longest sequence for each sequence, or tiles of the matrix.
template <int R>
inline std::int64_t owners(const AttentionSeqs& s, std::int64_t matrix_rows, int longest) {
    return s.shared ? ceil_div(matrix_rows, R) : std::int64_t(ceil_div(longest, R)) * s.q_begin.numel();
}

// Block x of a launch over `units` x heads: heads fastest, so that neighbours share the rows of q, k and v in L2.
struct Place { int head, tile, b; };
template <int R>
PTX_INLINE Place place_of(unsigned block, int heads, int longest) {
    const int tiles = (longest + R - 1) / R, unit = int(block / heads);
    return {int(block % heads), unit % tiles, unit / tiles};
}

void attention_any(const AttentionFwd& a);
void attention_any(const AttentionBwd& a);
void attention_tiled(const AttentionFwd& a);
void attention_tiled(const AttentionBwd& a);
void attention_whole(const AttentionFwd& a);
void attention_whole(const AttentionBwd& a);
void attention_hopper(const AttentionFwd& a);
void attention_hopper(const AttentionBwd& a);
void attention_pairs(const AttentionBwd& a);
bool pairs_fit(const AttentionSeqs& s);  // rows are shared, and queries few enough

// delta[o, h] = sum over the head's columns of dy y: what softmax's backward subtracts. [y.rows, heads] of f32.
void attention_delta(const AttentionBwd& a, float* delta);
// Zeroes gradient rows outside of every sequence, which no block owns.
void clear_rows(const Out& o);

}  // namespace eng::cuda
