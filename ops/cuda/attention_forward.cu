// Attention forward on tensor cores, bf16, head width 64: y = softmax(scale q k^T) v, lse = log of the row sums.
//
// Work split   whole: a block of 4 warps (1 for a few rows) takes a (sequence, head) with all its keys; warps take turns at strips of 16
//              queries. tiled: a block takes 64 queries of a (sequence, head), a strip a warp.
// Tiling       whole copies k and v of the head into shared memory once (at most 256 rows, 64 KB; 193 rows: 52 KB, four
//              blocks a multiprocessor) and needs no barrier after that. tiled lets 64 keys at a time pass through two
//              buffers, one arriving while the other is used.
//
//                 q strip [16,64] in registers      per 64 keys: s = q k^T, running maximum and sum per row,
//                 k, v [.,64] in shared memory      y = y shrink + p v; p goes from accumulators to operands in registers
//
// Traffic      4 nq nk 64 FLOP a head; whole reads q, k, v once and writes y once: bound by memory below ~200 keys.
// Registers    160, no spills: 12 warps a multiprocessor. Every access to q, k, v and y moves 16 bytes.
// Numerics     f32 scores and sums, exp2; p is rounded to bf16 for p v. Keys out of sight count as -infinity.
// Determinism  a row has one owner, its sums run in the order of the keys: packed equals one by one bit for bit.
// Idea         online softmax after Milakov & Gimelshein (2018) and FlashAttention-2 (Dao, 2023), read, not copied.
#include "ops/cuda/attention_mma.h"

namespace eng::cuda {
namespace {

constexpr int kTile = 64;

struct Softmax {  // of rows lane/4 and lane/4 + 8
    float top[2] = {-INFINITY, -INFINITY}, sum[2] = {};
    Sums out = {};
};

// Up to 64 keys from k0 on, tile rows 0.. . `end`: no row of the strip sees a key from there on.
PTX_INLINE void attend(Softmax& t, const Rows& q, const bf16* k, const bf16* v, int k0, int end, int query, bool causal, float scale, int lane) {
    Block s[4];
#pragma unroll
    for (int g = 0; g < 4; ++g) {
        if (k0 + 16 * g < end) score_block(s[g], q, k, 16 * g, lane);
#pragma unroll
        for (int j = 0; j < 2; ++j)
            for (int i = 0; i < 4; ++i) {
                const int key = k0 + 16 * g + 8 * j + lane % 4 * 2 + i % 2;
                s[g][j][i] = key < end && !(causal && key > query + i / 2 * 8) ? s[g][j][i] * scale : -INFINITY;
            }
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        float top = t.top[h], part = 0;
#pragma unroll
        for (int g = 0; g < 4; ++g)
            for (int j = 0; j < 2; ++j) top = fmaxf(top, fmaxf(s[g][j][2 * h], s[g][j][2 * h + 1]));
        top = quad_max(top);  // finite: every query sees the first key
        const float shrink = exp2_approx(t.top[h] - top);
#pragma unroll
        for (int g = 0; g < 4; ++g)
            for (int j = 0; j < 2; ++j)
                for (int e = 0; e < 2; ++e) part += s[g][j][2 * h + e] = exp2_approx(s[g][j][2 * h + e] - top);
        t.top[h] = top, t.sum[h] = t.sum[h] * shrink + part;
#pragma unroll
        for (int d = 0; d < kD / 8; ++d) t.out[d][2 * h] *= shrink, t.out[d][2 * h + 1] *= shrink;
    }
#pragma unroll
    for (int g = 0; g < 4; ++g)
        if (k0 + 16 * g < end) add_block(t.out, s[g], v, 16 * g, lane);
}

PTX_INLINE void load_queries(Rows& q, bf16* strip, const AttentionFwd& a, const Seq& s, int query, int head, int lane) {
    load_head(strip, a.q, s.q + query, s.nq - query, 16, head, lane, 32);
    cp_async_commit();
    cp_async_wait<0>();
    __syncwarp();  // the strip is there for every lane
    load_rows(q, strip, 0, lane);
}

// y and lse of a strip, through its corner of shared memory: a lane stores 16 bytes.
PTX_INLINE void store_strip(const AttentionFwd& a, const Seq& s, int query, int head, const Softmax& t, bf16* strip, int lane) {
    __syncwarp();  // every lane has taken its part of the queries
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int r = lane / 4 + 8 * h;
        const float sum = quad_sum(t.sum[h]), inverse = 1.0f / sum;
#pragma unroll
        for (int d = 0; d < kD / 8; ++d)
            *reinterpret_cast<unsigned*>(strip + chunk_at<kD>(r, d) + lane % 4 * 2) = pack_bf16(t.out[d][2 * h] * inverse, t.out[d][2 * h + 1] * inverse);
        if (lane % 4 == 0 && query + r < s.nq)
            ptr<float>(a.lse)[std::int64_t(s.o + query + r) * a.heads + head] = t.top[h] * kLn2 + logf(sum);
    }
    __syncwarp();  // the strip is whole
    for (int i = lane; i < kStrip / 8; i += 32) {
        const int r = i / 8, c = i % 8;
        if (query + r < s.nq)
            *reinterpret_cast<uint4*>(ptr<bf16>(a.y) + std::int64_t(s.o + query + r) * a.y.pitch + head * kD + c * 8) =
                *reinterpret_cast<const uint4*>(strip + chunk_at<kD>(r, c));
    }
    __syncwarp();  // the strip is read: the next queries may overwrite it
}

template <int WARPS>
__global__ __launch_bounds__(WARPS * 32, 12 / WARPS) void forward_whole_kernel(AttentionFwd a, float scale, int rows) {
    in_turn();
    GPU_DYN_SHARED(bf16, smem);  // a strip per warp, k [rows][64], v [rows][64]
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = int(blockIdx.x % a.heads);
    const Seq s = seq_at(a.seqs, int(blockIdx.x / a.heads));
    bf16 *strip = smem + warp * kStrip, *k = smem + WARPS * kStrip, *v = k + rows * kD;
    const int padded = (s.nk + 15) / 16 * 16;
    load_head(k, a.k, s.k, s.nk, padded, head, threadIdx.x, WARPS * 32);
    load_head(v, a.v, s.k, s.nk, padded, head, threadIdx.x, WARPS * 32);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();  // keys and values are there
    for (int query = warp * 16; query < s.nq; query += WARPS * 16) {
        Rows q;
        Softmax t;
        load_queries(q, strip, a, s, query, head, lane);
        const int end = a.causal ? min(s.nk, query + 16) : s.nk;
        for (int k0 = 0; k0 < end; k0 += kTile)
            attend(t, q, k + k0 * kD, v + k0 * kD, k0, end, query + lane / 4, a.causal, scale, lane);
        store_strip(a, s, query, head, t, strip, lane);
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
    load_queries(q, m->strip[warp], a, s, query, at.head, lane);
    const int end = a.causal ? min(s.nk, query + 16) : s.nk, last = a.causal ? min(s.nk, (at.tile + 1) * kTile) : s.nk;
    load(0);
    for (int tile = 0; tile * kTile < last; ++tile) {
        load(tile + 1);
        cp_async_wait<1>();
        __syncthreads();  // this tile is there for everyone
        if (tile * kTile < end)
            attend(t, q, m->k[tile % 2], m->v[tile % 2], tile * kTile, end, query + lane / 4, a.causal, scale, lane);
        __syncthreads();  // its buffers are used up: the tile after next goes there
    }
    store_strip(a, s, query, at.head, t, m->strip[warp], lane);
}

template <int WARPS>
void run_whole(const AttentionFwd& a) {
    const int rows = (a.seqs.max_k + 15) / 16 * 16;
    const std::size_t smem = std::size_t(WARPS * kStrip + 2 * rows * kD) * sizeof(bf16);
    launch<forward_whole_kernel<WARPS>>({dim3(unsigned(a.seqs.q_begin.numel() * a.heads)), dim3(WARPS * 32), smem}, a, float(a.scale) * kLog2e, rows);
}

}  // namespace

void attention_whole(const AttentionFwd& a) { a.seqs.max_q <= 16 && a.seqs.max_k <= 64 ? run_whole<1>(a) : run_whole<4>(a); }
void attention_tiled(const AttentionFwd& a) {
    const std::int64_t blocks = std::int64_t(ceil_div(a.seqs.max_q, kTile)) * a.seqs.q_begin.numel() * a.heads;
    launch<forward_tiled_kernel>({dim3(unsigned(blocks)), dim3(kThreads), sizeof(TiledSmem)}, a, float(a.scale) * kLog2e);
}

}  // namespace eng::cuda
