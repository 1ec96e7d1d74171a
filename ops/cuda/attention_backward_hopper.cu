// Attention backward by wgmma, bf16, head width 64: dq, dk, dv of sequences of 81 to 256 rows in which every query sees every key, everything that
// a head needs in shared memory; what is shorter or left over is multiplied as attention_backward_whole.cu does it.
//
// Work split   a block of one warpgroup takes a (sequence, head): its tiles of 64 keys in turn, then its tiles of 64 queries, then each warp
//              strips of 16 of what is left (193 = 3 64 + 1: one of keys, one of queries, two warps).
// Tiling       q, dy, k, v of the head in shared memory, 4 x 128 bytes a row; 193 rows: 106 KB, two blocks a multiprocessor: one copies
//              while the other multiplies. A tile's own rows are register operands, the other side's are read where they lie.
//
//                 keys     per 64 queries  p^T = exp2(k q^T - lse)   dp^T = v dy^T     dv += p^T dy    dk += ds^T q
//                 queries  per 64 keys     p   = exp2(q k^T - lse)   dp   = dy v^T     dq += ds k          ds = p (dp - delta)
//
//              Powers are taken while dp is multiplied, differences while dv is.
// Traffic      reads q, k, v, y, dy, lse once and writes dq, dk, dv once: 304 MB for 1536 heads of 193 rows, 72 us. 14 nq nk 64 FLOP in place of
//              10, as in attention_backward_whole.cu: no tile waits for another. By mma.sync ldmatrix alone is 125 us; wgmma reads each
//              operand once for 64 rows.
// Registers    222 of the 255 that two blocks a multiprocessor leave, no spills. 252 instructions for 64 queries of a tile of keys, 203 for 64
//              keys of a tile of queries.
// Numerics     as attention_backward_whole.cu.
// Determinism  a gradient row has one owner, its sums run in the order of the other side's rows. No atomics.
// Idea         register operands from accumulators: FlashAttention-3 (Shah et al., 2024), read, not copied.
#include "ops/cuda/attention_head.h"
#include "ops/cuda/attention_tiles.h"

namespace eng::cuda {
namespace {

// Asks for s = rows . x^T and dp = others . dx^T of 64 rows x and dx of the other side, each a group of its own: powers need s alone.
PTX_INLINE void ask_scores(Tile& s, Tile& dp, const Rows& rows, const Rows& others, const bf16* x, const bf16* dx) {
    wgmma_fence();
    score_tile(s, rows, x);
    wgmma_commit();
    score_tile(dp, others, dx);
    wgmma_commit();
}

// p^T of a tile of keys: a column is a query, of which this lane has two in each eight.
PTX_INLINE void powers(Tile& p, const float* lse, float scale, int lane) {
#pragma unroll
    for (int j = 0; j < kTile / 8; ++j) {
        const float2 l = *reinterpret_cast<const float2*>(lse + 8 * j + lane % 4 * 2);
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            float* x = &p[j / 2][j % 2][2 * h];
            x[0] = exp2_approx(fmaf(x[0], scale, -l.x)), x[1] = exp2_approx(fmaf(x[1], scale, -l.y));
        }
    }
}
// dp -> ds = p (dp - delta), likewise.
PTX_INLINE void differences(Tile& dp, const Tile& p, const float* delta, int lane) {
#pragma unroll
    for (int j = 0; j < kTile / 8; ++j) {
        const float2 d = *reinterpret_cast<const float2*>(delta + 8 * j + lane % 4 * 2);
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            float* x = &dp[j / 2][j % 2][2 * h];
            const float* y = &p[j / 2][j % 2][2 * h];
            x[0] = y[0] * (x[0] - d.x), x[1] = y[1] * (x[1] - d.y);
        }
    }
}

// 64 keys; this warp's strip of them begins at `key`.
PTX_INLINE void key_tile(const Head& m, const AttentionBwd& a, const Seq& s, int key, int head, float scale, int lane) {
    Rows k, v;
    Sums dk = {}, dv = {};
    load_rows(k, m.k, key, lane);
    load_rows(v, m.v, key, lane);
    const int whole = s.nq / kTile * kTile;
    Tile p, ds;
    TileRows p_rows, ds_rows;
#pragma unroll 1
    for (int query = 0; query < whole; query += kTile) {
        ask_scores(p, ds, k, v, m.q + query * kD, m.dy + query * kD);
        wgmma_wait<1>();  // scores are there
        powers(p, m.lse + query, scale, lane);
        pack_tile(p_rows, p);
        wgmma_fence();
        add_tile(dv, p_rows, m.dy + query * kD);
        wgmma_commit();
        wgmma_wait<1>();  // dp is there
        differences(ds, p, m.delta + query, lane);
        pack_tile(ds_rows, ds);
        wgmma_fence();
        add_tile(dk, ds_rows, m.q + query * kD);
        wgmma_commit();
    }
    wgmma_wait<0>();
    see_queries<false>(dk, dv, k, v, m, s, key, whole, scale, lane);
    put_keys(a, s, key, head, dk, dv, scale, lane);
}

// 64 queries; this warp's strip of them begins at `query`.
PTX_INLINE void query_tile(const Head& m, const AttentionBwd& a, const Seq& s, int query, int head, float scale, int lane) {
    Rows q, dy;
    Sums dq = {};
    load_rows(q, m.q, query, lane);
    load_rows(dy, m.dy, query, lane);
    const float lse[2] = {m.lse[query + lane / 4], m.lse[query + lane / 4 + 8]}, delta[2] = {m.delta[query + lane / 4], m.delta[query + lane / 4 + 8]};
    const int whole = s.nk / kTile * kTile;
    Tile p, ds;
    TileRows ds_rows;
#pragma unroll 1
    for (int key = 0; key < whole; key += kTile) {
        ask_scores(p, ds, q, dy, m.k + key * kD, m.v + key * kD);
        wgmma_wait<1>();  // scores are there
#pragma unroll
        for (int i = 0; i < kTile / 2; ++i) flat(p)[i] = exp2_approx(fmaf(flat(p)[i], scale, -lse[i / 2 % 2]));
        wgmma_wait<0>();  // dp is there
#pragma unroll
        for (int i = 0; i < kTile / 2; ++i) flat(ds)[i] = flat(p)[i] * (flat(ds)[i] - delta[i / 2 % 2]);
        pack_tile(ds_rows, ds);
        wgmma_fence();
        add_tile(dq, ds_rows, m.k + key * kD);
        wgmma_commit();
    }
    wgmma_wait<0>();
    see_keys<false>(dq, q, dy, m, s, query, whole, scale, lane);
    put_queries(a, s, query, head, dq, scale, lane);
}

__global__ __launch_bounds__(kGroup, 2) void backward_hopper_kernel(AttentionBwd a, float scale, int rows_q, int rows_k) {
    if constexpr (!FOR_HOPPER) return __trap();
    in_turn();
    GPU_DYN_SHARED(unsigned char, smem);
    const Head m(smem, rows_q, rows_k);
    const int unit = int(blockIdx.x / a.heads), warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = int(blockIdx.x % a.heads);
    const Seq s = seq_at(a.seqs, unit);
    fill<kGroup, 13>(m, a, s, head, rows_held(s.nq, s.nk), rows_held(s.nk, s.nq));
    fence_proxy_async();
    __syncthreads();  // matrices and row sums are there, for wgmma too; from here on nobody writes shared memory
    const bool keys = a.dk.mode != Mode::skip || a.dv.mode != Mode::skip, queries = a.dq.mode != Mode::skip;
    const int tiles_k = tiles_of(s.nk, s.nq), tiles_q = tiles_of(s.nq, s.nk);
#pragma unroll 1
    for (int i = 0; keys && i < tiles_k; ++i) key_tile(m, a, s, i * kTile + warp * 16, head, scale, lane);
#pragma unroll 1
    for (int i = 0; queries && i < tiles_q; ++i) query_tile(m, a, s, i * kTile + warp * 16, head, scale, lane);
    // Strips that no tile has, of keys, then of queries, beginning with another warp in each sequence.
    const int strips_k = keys ? strips_beside(tiles_k, s.nk) : 0, strips_q = queries ? strips_beside(tiles_q, s.nq) : 0;
    int i = (warp + unit) % 4;
    for (; i < strips_k; i += 4) key_strip<false, 2>(m, a, s, tiles_k * kTile + i * 16, head, scale, lane);
    for (; i < strips_k + strips_q; i += 4) query_strip<false, 2>(m, a, s, tiles_q * kTile + (i - strips_k) * 16, head, scale, lane);
}

}  // namespace

void attention_hopper(const AttentionBwd& a) {
    const int rows_q = rows_held(a.seqs.max_q, kMaxRows), rows_k = rows_held(a.seqs.max_k, kMaxRows);
    const Launch at{dim3(unsigned(a.seqs.q_begin.numel() * a.heads)), dim3(kGroup), Head::bytes(rows_q, rows_k)};
    launch<backward_hopper_kernel>(at, a, float(a.scale) * kLog2e, rows_q, rows_k);  // exp2 in place of exp
}

}  // namespace eng::cuda
