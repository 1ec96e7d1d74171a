// Attention backward for short sequences, bf16, head width 64: everything that a head needs lies in shared memory.
//
// Work split   a block of 8 warps (2 up to 80 rows, 1 up to 16) takes a (sequence, head). Warps take turns at one list: strips of 16 keys, of
//              which they make dk and dv, then strips of 16 queries, of which they make dq.
// Tiling       q, dy, k, v of the head in shared memory: 4 x 128 bytes a row; 193 rows: 108 KB, two blocks a multiprocessor.
//
//                 keys     p^T = exp2(k q^T - lse)   dp^T = v dy^T     dv += p^T dy    dk += ds^T q
//                 queries  p   = exp2(q k^T - lse)   dp   = dy v^T     dq += ds k          ds = p (dp - delta)
//
// Traffic      reads q, k, v, y, dy, lse once and writes dq, dk, dv once. Scores and dp are computed twice (14 nq nk 64 FLOP
//              in place of 10): that way no strip waits for another and nothing but the inputs is ever shared.
// Registers    128 (8 warps; causal 176), 168 (2 warps, 1 warp), no spills. q, k, v, dy arrive 16 bytes a copy.
// Numerics     f32 scores and sums; p and ds are rounded to bf16 as operands. delta = sum of dy y, in f32.
// Determinism  a gradient row has one owner, its sums run in the order of the other side's rows. No atomics.
#include "ops/cuda/attention_mma.h"

namespace eng::cuda {
namespace {

constexpr int kMaxRows = 256;
struct Head {  // in shared memory: row sums at fixed places, then the matrices, rows padded to whole strips
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

template <bool CAUSAL>
PTX_INLINE void key_strip(const Head& m, const AttentionBwd& a, const Seq& s, int key, int head, float scale, int lane) {
    Rows k, v;
    Sums dk = {}, dv = {};
    load_rows(k, m.k, key, lane);
    load_rows(v, m.v, key, lane);
    for (int query = CAUSAL ? key : 0; query < s.nq; query += 16) {
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
    put_rows(a.dk, s.k + key, s.nk - key, head, dk, scale * kLn2, lane);
    put_rows(a.dv, s.k + key, s.nk - key, head, dv, 1, lane);
}

template <bool CAUSAL>
PTX_INLINE void query_strip(const Head& m, const AttentionBwd& a, const Seq& s, int query, int head, float scale, int lane) {
    Rows q, dy;
    Sums dq = {};
    load_rows(q, m.q, query, lane);
    load_rows(dy, m.dy, query, lane);
    const int i = query + lane / 4;
    const float lse[2] = {m.lse[i], m.lse[i + 8]}, delta[2] = {m.delta[i], m.delta[i + 8]};
    const int end = CAUSAL ? min(s.nk, query + 16) : s.nk;
    for (int key = 0; key < end; key += 16) {
        Block p, ds;
        score_block(p, q, m.k, key, lane);
        score_block(ds, dy, m.v, key, lane);
        backward_block(p, ds, scale, lane, [&](int h, int c) {
            return Term{lse[h], delta[h], key + c < end && !(CAUSAL && key + c > i + 8 * h)};
        });
        add_block(dq, ds, m.k, key, lane);
    }
    put_rows(a.dq, s.q + query, s.nq - query, head, dq, scale * kLn2, lane);
}

// Blocks a multiprocessor: as many as leave every lane the registers it needs.
template <bool CAUSAL, int WARPS>
__global__ __launch_bounds__(WARPS * 32, WARPS == 8 ? CAUSAL ? 1 : 2 : 12 / WARPS) void backward_whole_kernel(AttentionBwd a, float scale, int rows_q, int rows_k) {
    in_turn();
    GPU_DYN_SHARED(unsigned char, smem);
    constexpr int threads = WARPS * 32;
    const Head m(smem, rows_q, rows_k);
    const int unit = int(blockIdx.x / a.heads), warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = int(blockIdx.x % a.heads);
    const Seq s = seq_at(a.seqs, unit);
    const int padded_q = (s.nq + 15) / 16 * 16, padded_k = (s.nk + 15) / 16 * 16;
    load_head(m.dy, a.dy, s.o, s.nq, padded_q, head, threadIdx.x, threads);
    load_head(m.q, a.q, s.q, s.nq, padded_q, head, threadIdx.x, threads);
    load_head(m.k, a.k, s.k, s.nk, padded_k, head, threadIdx.x, threads);
    load_head(m.v, a.v, s.k, s.nk, padded_k, head, threadIdx.x, threads);
    cp_async_commit();
    constexpr int at_once = WARPS == 2 ? 6 : 4;
    Deltas<threads, at_once> deltas;
    deltas.ask(a, s, head, 0);
    for (int r = threadIdx.x; r < padded_q; r += threads) m.lse[r] = r < s.nq ? ptr<float>(a.lse)[std::int64_t(s.o + r) * a.heads + head] * kLog2e : INFINITY;
    cp_async_wait<0>();
    deltas.keep(m, s, 0, padded_q);  // of the chunks of dy that this very thread has copied
#pragma unroll 1
    for (int r = at_once * threads / 8; r < padded_q; r += at_once * threads / 8) deltas.ask(a, s, head, r), deltas.keep(m, s, r, padded_q);
    __syncthreads();  // matrices and row sums are there; from here on nobody writes shared memory
    // Strips of keys, then of queries; which warps have one more differs between blocks: a quarter of the multiprocessor has every fourth warp.
    const int keys = a.dk.mode != Mode::skip || a.dv.mode != Mode::skip ? padded_k / 16 : 0, queries = a.dq.mode != Mode::skip ? padded_q / 16 : 0;
    int i = (warp + unit) % WARPS;
    for (; i < keys; i += WARPS) key_strip<CAUSAL>(m, a, s, i * 16, head, scale, lane);
    for (; i < keys + queries; i += WARPS) query_strip<CAUSAL>(m, a, s, (i - keys) * 16, head, scale, lane);
}

template <bool CAUSAL, int WARPS>
void run(const AttentionBwd& a, int rows_q, int rows_k) {
    const Launch at{dim3(unsigned(a.seqs.q_begin.numel() * a.heads)), dim3(WARPS * 32), Head::bytes(rows_q, rows_k)};
    launch<backward_whole_kernel<CAUSAL, WARPS>>(at, a, float(a.scale) * kLog2e, rows_q, rows_k);  // exp2 in place of exp
}
template <bool CAUSAL>
void run(const AttentionBwd& a) {
    const int rows_q = (a.seqs.max_q + 15) / 16 * 16, rows_k = (a.seqs.max_k + 15) / 16 * 16;
    const int longest = std::max(rows_q, rows_k);
    if (longest <= 16) run<CAUSAL, 1>(a, rows_q, rows_k);
    else longest <= 80 ? run<CAUSAL, 2>(a, rows_q, rows_k) : run<CAUSAL, 8>(a, rows_q, rows_k);
}

}  // namespace

void attention_whole(const AttentionBwd& a) { a.causal ? run<true>(a) : run<false>(a); }

}  // namespace eng::cuda
