// Attention forward by wgmma, bf16, head width 64: y = softmax(scale q k^T) v, lse = log of the row sums. For sequences of 81 to 256 rows in
// which every query sees every key; what is shorter or left over is multiplied as attention_forward.cu does it.
//
// Work split   a block of one warpgroup takes a (sequence, head): its tiles of 64 queries in turn, then each warp a strip of 16 of what is
//              left (193 = 3 64 + 1: one strip, one warp, another one in the next sequence).
// Tiling       k and v of the head in shared memory, copied once (193 rows: 52 KB, beside two strips of queries a warp three blocks a
//              multiprocessor); q of a tile, scores and sums in registers.
//
//                 per 64 keys:  s = q k^T  4 wgmma    maximum, powers, sums     y = y shrink + p v  4 wgmma
//                               p v of these and s of the next 64 are waited for together; the one key left of 193 is a block of 16 by mma.sync
//
// Traffic      4 nq nk 64 FLOP a head; q, k, v are read once and y is written once: 36 us of memory for 1536 heads of 193 rows. By mma.sync each
//              strip of 16 fetches all keys and values by ldmatrix, 36 us of shared memory and as much of issuing; a wgmma fetches them once for 64.
// Registers    166 of the 168 that three blocks a multiprocessor leave, no spills. 243 instructions for 64 keys.
// Numerics     as attention_forward.cu.
// Determinism  a row has one owner, its sums run in the order of the keys; only a sequence's own length decides who multiplies.
// Idea         p from accumulators to the register operand of the next wgmma: FlashAttention-3 (Shah et al., 2024), read, not copied.
#include "ops/cuda/attention_softmax.h"
#include "ops/cuda/attention_tiles.h"

namespace eng::cuda {
namespace {

// Keys 0 .. 64 chunks - 1, all of which the warpgroup's queries see.
PTX_INLINE void attend_tiles(Softmax& t, const Rows& q, const bf16* k, const bf16* v, int chunks, float scale) {
    Tile s;
    TileRows p;
#pragma unroll 1
    for (int c = 0; c < chunks; ++c) {
        wgmma_fence();
        score_tile(s, q, k + c * kTile * kD);
        wgmma_commit();
        wgmma_wait<0>();  // these scores are there, and the sums of the keys before
        soften(t, s, scale);
        pack_tile(p, s);
        wgmma_fence();
        add_tile(t.out, p, v + c * kTile * kD);
        wgmma_commit();
    }
    wgmma_wait<0>();
}

__global__ __launch_bounds__(kGroup, 3) void forward_hopper_kernel(AttentionFwd a, float scale, int rows) {
    if constexpr (!FOR_HOPPER) return __trap();
    in_turn();
    GPU_DYN_SHARED(bf16, smem);  // k [rows][64], v [rows][64], two strips per warp
    const int unit = int(blockIdx.x / a.heads), warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = int(blockIdx.x % a.heads);
    const Seq s = seq_at(a.seqs, unit);
    bf16 *k = smem, *v = k + rows * kD, *strip = v + rows * kD + warp * 2 * kStrip;
    const int tiles = tiles_of(s.nq, s.nk), padded = (s.nk + 15) / 16 * 16;
    const int tiled = tiles * kTile, left = tiled + (warp + unit) % 4 * 16;  // this warp's first strip that no tile has
    const int end = max(tiled, s.nq);
    int query = tiles ? warp * 16 : left;
    fetch_queries(strip, a, s, query, head, lane);
    load_head(k, a.k, s.k, s.nk, padded, head, threadIdx.x, kGroup);
    load_head(v, a.v, s.k, s.nk, padded, head, threadIdx.x, kGroup);
    cp_async_commit();
    cp_async_wait<0>();
    fence_proxy_async();
    __syncthreads();  // keys, values and the first queries are there, for wgmma too
#pragma unroll 1
    for (int next; query < end; query = next) {
        Rows q;
        Softmax t;
        load_rows(q, strip, 0, lane);
        __syncwarp();  // every lane has them: the next ones may come
        next = query + kTile < tiled || query >= tiled ? query + kTile : left;
        if (next < end) fetch_queries(strip, a, s, next, head, lane);
        cp_async_commit();
        int k0 = 0;
        if (query < tiled) attend_tiles(t, q, k, v, s.nk / kTile, scale), k0 = s.nk / kTile * kTile;
        attend_all(t, q, k + k0 * kD, v + k0 * kD, k0, s.nk, query, false, scale, lane);
        store_strip(a, s, query, head, t, strip + kStrip, lane);
        cp_async_wait<0>();
        __syncwarp();  // the next queries are there for every lane
    }
}

}  // namespace

void attention_hopper(const AttentionFwd& a) {
    const int rows = (a.seqs.max_k + 15) / 16 * 16;
    const std::size_t smem = std::size_t(2 * rows * kD + 4 * 2 * kStrip) * sizeof(bf16);
    launch<forward_hopper_kernel>({dim3(unsigned(a.seqs.q_begin.numel() * a.heads)), dim3(kGroup), smem}, a, float(a.scale) * kLog2e, rows);
}

}  // namespace eng::cuda
