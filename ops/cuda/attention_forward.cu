// Attention forward on tensor cores, bf16, head width 64: y = softmax(scale q k^T) v, lse = log of the row sums.
//
// Work split   whole: a block of 4 warps (1 up to 80 rows) takes a (sequence, head) with all its keys; warps take turns at strips of 16
//              queries. few: as whole, for eight neighbours of a list that share their keys and have a strip each, a warp a sequence.
//              tiled: a block takes 64 queries of a (sequence, head), a strip a warp.
// Tiling       whole and few copy k and v of the head into shared memory once (at most 256 rows, 64 KB; 193 rows: 52 KB, beside
//              two strips a warp three blocks a multiprocessor) and need no barrier after that. tiled lets 64 keys at a time
//              pass through two buffers, one arriving while the other is used.
//
//                 q strip [16,64] in registers      per 64 keys: s = q k^T, running maximum and sum per row,
//                 k, v [.,64] in shared memory      y = y shrink + p v; p goes from accumulators to operands in registers
//
//              Keys that all rows see go 64 at a time without masks; what is left, and a causal strip's diagonal, 16 at a time with them.
// Traffic      4 nq nk 64 FLOP a head; whole reads q, k, v once and writes y once: 193 rows are 36 us of memory for 1536 heads, and as much of
//              ldmatrix and of issuing (330 instructions for 64 keys of a strip).
// Registers    147 to 167, no spills: 12 warps a multiprocessor. Every access to q, k, v and y moves 16 bytes.
// Numerics     f32 scores and sums, exp2; p is rounded to bf16 for p v. Keys out of sight count as -infinity.
// Determinism  a row has one owner, its sums run in the order of the keys: packed equals one by one bit for bit.
// Idea         online softmax after Milakov & Gimelshein (2018) and FlashAttention-2 (Dao, 2023), read, not copied.
#include "ops/cuda/attention_softmax.h"

namespace eng::cuda {
namespace {

template <int WARPS>
__global__ __launch_bounds__(WARPS * 32, 12 / WARPS) void forward_whole_kernel(AttentionFwd a, float scale, int rows) {
    in_turn();
    GPU_DYN_SHARED(bf16, smem);  // a strip per warp, k [rows][64], v [rows][64]
    const int unit = int(blockIdx.x / a.heads), warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = int(blockIdx.x % a.heads);
    const Seq s = seq_at(a.seqs, unit);
    bf16 *strip = smem + warp * 2 * kStrip, *k = smem + WARPS * 2 * kStrip, *v = k + rows * kD;
    const int padded = (s.nk + 15) / 16 * 16;
    int query = (warp + unit) % WARPS * 16;  // the warps that have a strip more lie in other quarters of the multiprocessor in other blocks
    if (query < s.nq) fetch_queries(strip, a, s, query, head, lane);
    load_head(k, a.k, s.k, s.nk, padded, head, threadIdx.x, WARPS * 32);
    load_head(v, a.v, s.k, s.nk, padded, head, threadIdx.x, WARPS * 32);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();  // keys, values and the first queries are there
    for (; query < s.nq; query += WARPS * 16) {
        Rows q;
        Softmax t;
        load_rows(q, strip, 0, lane);
        __syncwarp();  // every lane has them: the next ones may come
        if (query + WARPS * 16 < s.nq) fetch_queries(strip, a, s, query + WARPS * 16, head, lane);
        cp_async_commit();
        attend_all(t, q, k, v, 0, a.causal ? min(s.nk, query + 16) : s.nk, query, a.causal, scale, lane);
        store_strip(a, s, query, head, t, strip + kStrip, lane);
        cp_async_wait<0>();
        __syncwarp();  // the next queries are there for every lane
    }
}

// Sequences of at most 16 queries that share rows: the prompts of a text look at every image that it meets. Neighbours in the list mostly have the
// same keys: a block takes kFew of them, copies each run's keys once, and a warp takes a sequence.
constexpr int kFew = 8, kFewWarps = 4;  // as many strips a warp
__global__ __launch_bounds__(kFewWarps * 32, 3) void forward_few_kernel(AttentionFwd a, float scale, int rows) {
    in_turn();
    GPU_DYN_SHARED(bf16, smem);  // two strips per warp, k [rows][64], v [rows][64]
    const int unit = int(blockIdx.x / a.heads), warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = int(blockIdx.x % a.heads);
    const int *begin = ptr<int>(a.seqs.k_begin), *len = ptr<int>(a.seqs.k_len);
    bf16 *strip = smem + warp * 2 * kStrip, *k = smem + kFewWarps * 2 * kStrip, *v = k + rows * kD;
    const int last = min((unit + 1) * kFew, int(a.seqs.q_begin.numel()));
    for (int first = unit * kFew, end; first < last; first = end) {
        const int k0 = begin[first], nk = len[first], padded = (nk + 15) / 16 * 16;
        for (end = first + 1; end < last && begin[end] == k0 && len[end] == nk;) ++end;
        __syncthreads();  // the keys before are read
        load_head(k, a.k, k0, nk, padded, head, threadIdx.x, kFewWarps * 32);
        load_head(v, a.v, k0, nk, padded, head, threadIdx.x, kFewWarps * 32);
        for (int i = first + warp, own = 0; i < end; i += kFewWarps, ++own) fetch_queries(strip + own * kStrip, a, seq_at(a.seqs, i), 0, head, lane);
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();  // keys, values and queries are there
#pragma unroll 1
        for (int i = first + warp, own = 0; i < end; i += kFewWarps, ++own) {
            Rows q;
            Softmax t;
            load_rows(q, strip + own * kStrip, 0, lane);
            attend_all(t, q, k, v, 0, nk, 0, false, scale, lane);
            store_strip(a, seq_at(a.seqs, i), 0, head, t, strip + own * kStrip, lane);
        }
    }
}

constexpr int kTiledWarps = kTile / 16, kThreads = kTiledWarps * 32;

struct TiledSmem { bf16 strip[kTiledWarps][kStrip], k[2][kTile * kD], v[2][kTile * kD]; };

__global__ __launch_bounds__(kThreads, 3) void forward_tiled_kernel(AttentionFwd a, float scale) {
    in_turn();
    GPU_DYN_SHARED(TiledSmem, m);
    const Place at = place_of<kTile>(blockIdx.x, a.heads, a.seqs.max_q);
    const Seq s = seq_at(a.seqs, at.b);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, query = at.tile * kTile + warp * 16;
    if (at.tile * kTile >= s.nq) return;
    const auto load = [&](int tile) {
        const int first = tile * kTile, n = min(kTile, s.nk - first);
        if (n > 0) load_head(m->k[tile % 2], a.k, s.k + first, n, kTile, at.head, threadIdx.x, kThreads);
        if (n > 0) load_head(m->v[tile % 2], a.v, s.k + first, n, kTile, at.head, threadIdx.x, kThreads);
        cp_async_commit();
    };
    Rows q;
    Softmax t;
    fetch_queries(m->strip[warp], a, s, query, at.head, lane);
    cp_async_commit();
    cp_async_wait<0>();
    __syncwarp();  // the strip is there for every lane
    load_rows(q, m->strip[warp], 0, lane);
    const int end = a.causal ? min(s.nk, query + 16) : s.nk, last = a.causal ? min(s.nk, (at.tile + 1) * kTile) : s.nk;
    load(0);
    for (int tile = 0; tile * kTile < last; ++tile) {
        load(tile + 1);
        cp_async_wait<1>();
        __syncthreads();  // this tile is there for everyone
        if (tile * kTile < end)
            attend_all(t, q, m->k[tile % 2], m->v[tile % 2], tile * kTile, min(end, (tile + 1) * kTile), query, a.causal, scale, lane);
        __syncthreads();  // its buffers are used up: the tile after next goes there
    }
    store_strip(a, s, query, at.head, t, m->strip[warp], lane);
}

template <int WARPS>
void run_whole(const AttentionFwd& a) {
    const int rows = (a.seqs.max_k + 15) / 16 * 16;
    const std::size_t smem = std::size_t(WARPS * 2 * kStrip + 2 * rows * kD) * sizeof(bf16);
    launch<forward_whole_kernel<WARPS>>({dim3(unsigned(a.seqs.q_begin.numel() * a.heads)), dim3(WARPS * 32), smem}, a, float(a.scale) * kLog2e, rows);
}

void run_few(const AttentionFwd& a) {
    const int rows = (a.seqs.max_k + 15) / 16 * 16;
    const std::size_t smem = std::size_t(kFewWarps * 2 * kStrip + 2 * rows * kD) * sizeof(bf16);
    launch<forward_few_kernel>({dim3(unsigned(ceil_div(a.seqs.q_begin.numel(), kFew) * a.heads)), dim3(kFewWarps * 32), smem}, a, float(a.scale) * kLog2e, rows);
}

}  // namespace

void attention_whole(const AttentionFwd& a) {
    if (a.seqs.shared && !a.causal && a.seqs.max_q <= 16) return run_few(a);
    std::max(a.seqs.max_q, a.seqs.max_k) <= kFewRows ? run_whole<1>(a) : run_whole<4>(a);
}
void attention_tiled(const AttentionFwd& a) {
    const std::int64_t blocks = std::int64_t(ceil_div(a.seqs.max_q, kTile)) * a.seqs.q_begin.numel() * a.heads;
    launch<forward_tiled_kernel>({dim3(unsigned(blocks)), dim3(kThreads), sizeof(TiledSmem)}, a, float(a.scale) * kLog2e);
}

}  // namespace eng::cuda
