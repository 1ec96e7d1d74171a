#pragma once
// Attention's backward pass with a (sequence, head) in shared memory: what lies there, how it comes there, and what a warp makes of it,
// a strip of 16 keys or queries at a time. Who takes which strip is the kernel's business.
//
//    keys     p^T = exp2(k q^T - lse)   dp^T = v dy^T     dv += p^T dy    dk += ds^T q
//    queries  p   = exp2(q k^T - lse)   dp   = dy v^T     dq += ds k          ds = p (dp - delta)
#include "ops/cuda/attention_mma.h"

namespace eng::cuda {

constexpr int kMaxRows = 256;
struct Head {  // in shared memory: row sums at fixed places, then the matrices, rows padded to whole strips (attention_tiles.h: tiles)
    float *lse, *delta;  // lse in powers of two; +infinity behind the last query, so that p is 0 there
    bf16 *q, *dy, *k, *v;
    PTX_INLINE Head(unsigned char* smem, int rows_q, int rows_k) {
        lse = reinterpret_cast<float*>(smem), delta = lse + kMaxRows;
        q = reinterpret_cast<bf16*>(delta + kMaxRows), dy = q + rows_q * kD, k = dy + rows_q * kD, v = k + rows_k * kD;
    }
    static std::size_t bytes(int rows_q, int rows_k) { return 2 * kMaxRows * sizeof(float) + std::size_t(rows_q + rows_k) * 2 * kD * sizeof(bf16); }
};

// Eight lanes a row, 16 bytes of y and dy each; N rows a thread whose y is asked for at once, the first of them beside the copies.
template <int THREADS, int N> struct Deltas {
    Vec<bf16, 8> y[N];
    PTX_INLINE void ask(const AttentionBwd& a, const Seq& s, int head, int first) {
        const int r = first + int(threadIdx.x) / 8;
        const bf16* at = row<bf16>(a.y, s.o + r) + head * kD + threadIdx.x % 8 * 8;
#pragma unroll
        for (int u = 0; u < N; ++u)
            if (r + u * (THREADS / 8) < s.nq) y[u] = *reinterpret_cast<const Vec<bf16, 8>*>(at + u * (THREADS / 8) * a.y.pitch);
    }
    PTX_INLINE void keep(const Head& m, const Seq& s, int first, int padded) const {
#pragma unroll
        for (int u = 0; u < N; ++u) {
            const int r = first + int(threadIdx.x) / 8 + u * (THREADS / 8), c = threadIdx.x % 8;
            float sum = 0;
            if (r < s.nq) {
                const Vec<float, 8> w = read<8>(m.dy + chunk_at<kD>(r, c));
                for (int e = 0; e < 8; ++e) sum += float(y[u][e]) * w[e];
            }
            for (int d = 1; d < 8; d *= 2) sum += __shfl_xor_sync(kAllLanes, sum, d);
            if (c == 0 && r < padded) m.delta[r] = sum;
        }
    }
};

// Matrices and row sums of a (sequence, head), zero behind its last rows; the next barrier makes them visible.
template <int THREADS, int AT_ONCE>
PTX_INLINE void fill(const Head& m, const AttentionBwd& a, const Seq& s, int head, int padded_q, int padded_k) {
    load_head(m.dy, a.dy, s.o, s.nq, padded_q, head, threadIdx.x, THREADS);
    load_head(m.q, a.q, s.q, s.nq, padded_q, head, threadIdx.x, THREADS);
    load_head(m.k, a.k, s.k, s.nk, padded_k, head, threadIdx.x, THREADS);
    load_head(m.v, a.v, s.k, s.nk, padded_k, head, threadIdx.x, THREADS);
    cp_async_commit();
    Deltas<THREADS, AT_ONCE> deltas;
    deltas.ask(a, s, head, 0);
    for (int r = threadIdx.x; r < padded_q; r += THREADS) m.lse[r] = r < s.nq ? ptr<float>(a.lse)[std::int64_t(s.o + r) * a.heads + head] * kLog2e : INFINITY;
    cp_async_wait<0>();
    deltas.keep(m, s, 0, padded_q);  // of the chunks of dy that this very thread has copied
#pragma unroll 1
    for (int r = AT_ONCE * THREADS / 8; r < padded_q; r += AT_ONCE * THREADS / 8) deltas.ask(a, s, head, r), deltas.keep(m, s, r, padded_q);
}

// A strip of 16 keys, rows of k and v, and the queries from `query` on, 16 at a time; AT_ONCE of these under way, where there are registers.
template <bool CAUSAL, int AT_ONCE = 1>
PTX_INLINE void see_queries(Sums& dk, Sums& dv, const Rows& k, const Rows& v, const Head& m, const Seq& s, int key, int query, float scale, int lane) {
#pragma unroll AT_ONCE
    for (; query < s.nq; query += 16) {
        Block p, ds;
        score_block(p, k, m.q, query, lane);
        score_block(ds, v, m.dy, query, lane);
        backward_block(p, ds, scale, lane, [&](int h, int c) {
            const int i = query + c;
            return Term{m.lse[i], m.delta[i], !(CAUSAL && key + lane / 4 + 8 * h > i)};
        });
        add_block(dv, p, m.dy, query, lane);
        add_block(dk, ds, m.q, query, lane);
    }
}
// A strip of 16 queries, rows of q and dy, and the keys from `key` on, 16 at a time.
template <bool CAUSAL, int AT_ONCE = 1>
PTX_INLINE void see_keys(Sums& dq, const Rows& q, const Rows& dy, const Head& m, const Seq& s, int query, int key, float scale, int lane) {
    const int i = query + lane / 4;
    const float lse[2] = {m.lse[i], m.lse[i + 8]}, delta[2] = {m.delta[i], m.delta[i + 8]};
    const int end = CAUSAL ? min(s.nk, query + 16) : s.nk;
#pragma unroll AT_ONCE
    for (; key < end; key += 16) {
        Block p, ds;
        score_block(p, q, m.k, key, lane);
        score_block(ds, dy, m.v, key, lane);
        backward_block(p, ds, scale, lane, [&](int h, int c) {
            return Term{lse[h], delta[h], key + c < end && !(CAUSAL && key + c > i + 8 * h)};
        });
        add_block(dq, ds, m.k, key, lane);
    }
}

PTX_INLINE void put_keys(const AttentionBwd& a, const Seq& s, int key, int head, const Sums& dk, const Sums& dv, float scale, int lane) {
    put_rows(a.dk, s.k + key, s.nk - key, head, dk, scale * kLn2, lane);
    put_rows(a.dv, s.k + key, s.nk - key, head, dv, 1, lane);
}
PTX_INLINE void put_queries(const AttentionBwd& a, const Seq& s, int query, int head, const Sums& dq, float scale, int lane) {
    put_rows(a.dq, s.q + query, s.nq - query, head, dq, scale * kLn2, lane);
}

template <bool CAUSAL, int AT_ONCE = 1>
PTX_INLINE void key_strip(const Head& m, const AttentionBwd& a, const Seq& s, int key, int head, float scale, int lane) {
    Rows k, v;
    Sums dk = {}, dv = {};
    load_rows(k, m.k, key, lane);
    load_rows(v, m.v, key, lane);
    see_queries<CAUSAL, AT_ONCE>(dk, dv, k, v, m, s, key, CAUSAL ? key : 0, scale, lane);
    put_keys(a, s, key, head, dk, dv, scale, lane);
}
template <bool CAUSAL, int AT_ONCE = 1>
PTX_INLINE void query_strip(const Head& m, const AttentionBwd& a, const Seq& s, int query, int head, float scale, int lane) {
    Rows q, dy;
    Sums dq = {};
    load_rows(q, m.q, query, lane);
    load_rows(dy, m.dy, query, lane);
    see_keys<CAUSAL, AT_ONCE>(dq, q, dy, m, s, query, 0, scale, lane);
    put_queries(a, s, query, head, dq, scale, lane);
}

}  // namespace eng::cuda
