// Attention backward of sequences that share rows, where each has few queries, bf16, head width 64: the prompts of a text look at the
// tokens of every image that the text meets.
//
//   k, v of a warp's 16 rows      q, dy (arriving) of 8 or 16 queries      their block (16 x 8 N)
//   p = exp2(k q^T - lse)         dp = v dy^T                              ds = p (dp - delta)
//
// Work split   a block owns up to 208 keys of a head, 16 a warp, and goes through the sequences that touch them. Blocks are cut so that
//              each has an image, where images lie side by side and are equally long.
//              1. Each warp makes its block of p and ds, adds to the gradient of its rows, which stays in registers
//                 (dk += ds q, dv += p dy), and puts ds into shared memory.
//              2. Four warps multiply that of all warps with the keys, 16 columns each: dq^T = k^T ds. It is what these keys add to the
//                 sequence's queries, and goes to memory as a partial sum in f32.
//              A second kernel, a block for each query, adds up what the blocks left for it.
// Overlap      the next sequence's rows arrive while one is worked on.
// delta        sum of dy y, by attention_delta; there are few queries.
// Traffic      k, v, dk, dv once. Partial sums: 256 bytes a query, sequence and head, written and read. 145 KB through shared memory a
//              sequence and head: 0.6 us. 10 nq nk 64 FLOP, nq padded to 8 N.
// Registers    124 to 128 (N = 2: 135 to 162), sums 64, no spills: one block a multiprocessor.
// Numerics     f32 scores and sums; p and ds are rounded to bf16 as operands, partial sums are not.
// Determinism  a key has one owner, a partial sum one writer; both are added up in the order of the list. No atomics.
// Limits       not causal; at most 16 queries a sequence. Scratch memory has room for partial sums of two blocks a sequence
//              (more if it is longer than a block). Where no small divisor of all rows is an image, blocks have parts of two
//              images and half of their warps wait. What is not finite in a row of the block spoils the queries' gradients of
//              every sequence there, as 0 x NaN.
#include "ops/cuda/attention_pairs.h"

#include <algorithm>

#include "ops/cuda/chip.h"

namespace eng::cuda {
namespace {

// A block's thread at work on one sequence after another.
template <int N>
struct Worker {
    const AttentionBwd& a;
    const PairPlan& plan;
    const PairSmem<N> m;
    const int head, first, rows, warp, lane;
    Sums keys = {}, values = {};  // gradients of the warp's 16 rows

    PTX_INLINE Part part(const Seq& s) const { return part_of(s, first, rows, plan.rows); }

    PTX_INLINE void fetch_own() const {
        copy_rows(m.k(), a.k, head, first, 0, rows, m.padded);
        copy_rows(m.v(), a.v, head, first, 0, rows, m.padded);
    }
    PTX_INLINE float2 fetch(const Seq& s, int buffer) const {
#pragma unroll 1  // fewer addresses that would be kept in registers
        for (int i = 0; i < 2; ++i) copy_rows(m.shorts(buffer, i), i ? a.dy : a.q, head, i ? s.o : s.q, 0, s.nq, 8 * N);
        cp_async_commit();
        return query_sums(s);
    }
    // lse and delta of the query that is the thread's.
    PTX_INLINE float2 query_sums(const Seq& s) const {
        const int mine = int(threadIdx.x);
        if (mine >= s.nq) return {INFINITY, 0};
        const std::int64_t o = (std::int64_t(s.o) + mine) * a.heads + head;
        return {ptr<float>(a.lse)[o], plan.delta[o]};
    }
    PTX_INLINE void keep_sums(const float2& x) const {
        if (int(threadIdx.x) < 8 * N) m.queries()[threadIdx.x] = x;
    }

    // s -> p, dp -> ds
    PTX_INLINE void soften(float (&p)[N][4], float (&ds)[N][4], const Part& mine) const {
#pragma unroll
        for (int i = 0; i < 4 * N; ++i) {
            const int h = i / 2 % 2, col = i / 4 * 8 + lane % 4 * 2 + i % 2, row = warp * 16 + lane / 4 + 8 * h;
            const float2 query = m.queries()[col];
            float &x = p[i / 4][i % 4], &dx = ds[i / 4][i % 4];
            x = row >= mine.from && row < mine.to ? exp2_approx(x * plan.scale - query.x * kLog2e) : 0;
            dx = x * (dx - query.y);
        }
    }
    PTX_INLINE void long_side(const Seq& s, int buffer) {
        const Part mine = part(s);
        if (warp * 16 >= mine.to || warp * 16 + 16 <= mine.from) return;
        float p[N][4], ds[N][4];
        scores<N>(p, m.k() + warp * kStrip, m.shorts(buffer, 0), lane);
        scores<N>(ds, m.v() + warp * kStrip, m.shorts(buffer, 1), lane);
        soften(p, ds, mine);
        unsigned rp[4], rds[4];
        round_block<N>(rp, p), round_block<N>(rds, ds);
        keep_block<N>(m.blocks(), m.padded, warp * 16, rds, lane);
        add_short<N>(keys, rds, m.shorts(buffer, 0), lane);
        add_short<N>(values, rp, m.shorts(buffer, 1), lane);
    }

    // Sixteen columns from `column` of k^T . blocks over the sequence's rows; strips take turns at two sums.
    PTX_INLINE void over_rows(float (&x)[N][4], int column, const Part& p) const {
        float odd[N][4] = {};
        for (int t = 0; t < N; ++t)
            for (int e = 0; e < 4; ++e) x[t][e] = 0;
#pragma unroll 1
        for (int r = p.from / 16 * 16; r < p.to; r += 32) {
            const bool two = r + 16 < p.to;
            unsigned b[N][4], f[4];
#pragma unroll
            for (int t = 0; t < N; ++t) ldmatrix_x4_trans(b[t], m.blocks() + (t * m.padded + r + (two ? lane : lane % 16)) * 8);
            load_a<kD, true>(f, m.k() + r * kD, column, 0, lane);
#pragma unroll
            for (int t = 0; t < N; ++t) mma_m16n8k16_bf16(x[t], f, b[t][0], b[t][1]);
            if (!two) break;
            load_a<kD, true>(f, m.k() + (r + 16) * kD, column, 0, lane);
#pragma unroll
            for (int t = 0; t < N; ++t) mma_m16n8k16_bf16(odd[t], f, b[t][2], b[t][3]);
        }
        for (int t = 0; t < N; ++t)
            for (int e = 0; e < 4; ++e) x[t][e] += odd[t][e];
    }
    PTX_INLINE void short_side(int sequence, const Seq& s) const {
        if (a.dq.mode == Mode::skip) return;
        const Part mine = part(s);
        for (int i = warp; i < 4; i += int(blockDim.x) / 32) {
            float x[N][4];
            over_rows(x, i * 16, mine);
            float* to = plan.partial + partial_at(plan, sequence, mine.slot, a.heads, head, 0) * std::int64_t(kD) + i * 16 + lane / 4;
#pragma unroll
            for (int e = 0; e < 4 * N; ++e) {
                const int j = e / 4 * 8 + lane % 4 * 2 + e % 2;
                if (j < s.nq) to[j * kD + e / 2 % 2 * 8] = x[e / 4][e % 4];
            }
        }
    }
};

template <int N>
__global__ __launch_bounds__(kMost<N> * 2) void pairs_kernel(AttentionBwd a, PairPlan plan) {
    in_turn();
    GPU_DYN_SHARED(bf16, smem);
    const int first = int(blockIdx.x / a.heads) * plan.rows, rows = min(plan.rows, int(a.k.rows) - first);
    Worker<N> w{a, plan, {smem, int(blockDim.x) / 2}, int(blockIdx.x % a.heads), first, rows, int(threadIdx.x / 32), int(threadIdx.x % 32)};
    for_touching<kMost<N> * 2>(a.seqs, true, first, rows, [&](const int* list, int n) {
        if (!n) return;
        w.fetch_own();
        float2 sums = w.fetch(seq_at(a.seqs, list[0]), 0);
        for (int i = 0; i < n; ++i) {
            w.keep_sums(sums);
            cp_async_wait<0>();
            __syncthreads();  // this sequence's rows are there; those of the last one and its blocks are read
            if (i + 1 < n) sums = w.fetch(seq_at(a.seqs, list[i + 1]), (i + 1) % 2);
            w.long_side(seq_at(a.seqs, list[i]), i % 2);
            __syncthreads();  // blocks are complete
            w.short_side(list[i], seq_at(a.seqs, list[i]));
        }
    });
    const int own = first + w.warp * 16, left = rows - w.warp * 16;
    put_rows(a.dk, own, left, w.head, w.keys, float(a.scale), w.lane);
    put_rows(a.dv, own, left, w.head, w.values, 1, w.lane);
}

// A block for a query and 1024 of its columns, four a thread.
constexpr int kAdders = 256, kAhead = 4;
__global__ __launch_bounds__(kAdders) void add_pairs_kernel(AttentionBwd a, PairPlan plan) {
    in_turn();
    const int row = int(blockIdx.x), i = int(blockIdx.y * kAdders + threadIdx.x) * 4, head = i / kD, column = i % kD;
    const bool wanted = head < a.heads;
    Vec<float, 4> sum = {};
    const auto add = [&](const Vec<float, 4>& x) { for (int e = 0; e < 4; ++e) sum[e] += x[e]; };
    for_touching<kAdders>(a.seqs, false, row, 1, [&](const int* list, int n) {
        if (!wanted) return;
        for (int at = 0; at < n; at += kAhead) {
            Vec<float, 4> x[kAhead];
            const float* from[kAhead];
            int owners[kAhead];
#pragma unroll
            for (int u = 0; u < kAhead; ++u) {
                if (at + u >= n) break;
                const Seq s = seq_at(a.seqs, list[at + u]);
                owners[u] = (s.k + s.nk - 1) / plan.rows - s.k / plan.rows + 1;
                from[u] = plan.partial + partial_at(plan, list[at + u], 0, a.heads, head, row - s.q) * std::int64_t(kD) + column;
                x[u] = read<4>(from[u]);
            }
#pragma unroll
            for (int u = 0; u < kAhead; ++u) {
                if (at + u >= n) break;
                add(x[u]);
                for (int slot = 1; slot < owners[u]; ++slot) add(read<4>(from[u] + partial_at(plan, 0, slot, a.heads, 0, 0) * std::int64_t(kD)));
            }
        }
    });
    if (!wanted) return;
    for (int e = 0; e < 4; ++e) sum[e] *= float(a.scale);
    emit<4>(a.dq, row * a.dq.pitch + i, sum);
}

// A block's rows: where there is one, a divisor of all rows, so that each block has one of the equally long images.
int rows_of_owner(std::int64_t all, int longest, int most) {
    for (int rows = std::max(longest, 1); rows <= most; ++rows)
        if (all % rows == 0) return rows;
    return most;
}

template <int N>
void run(const AttentionBwd& a) {
    const int longest = a.seqs.max_k, n = int(a.seqs.q_begin.numel());
    const bool wants_queries = a.dq.mode != Mode::skip;
    PairPlan plan{rows_of_owner(a.k.rows, longest, kMost<N>), 0, a.seqs.max_q, float(a.scale) * kLog2e, nullptr, nullptr};
    plan.slots = (longest + plan.rows - 2) / plan.rows + 1;
    const std::int64_t sums = std::int64_t(n) * plan.slots * a.heads * plan.queries;
    ENG_CHECK(sums < std::int64_t(1) << 31, "attention", sums, " partial sums of queries are too many");
    const Scratch delta(std::size_t(a.y.rows) * a.heads * sizeof(float)), partial(wants_queries ? std::size_t(sums) * kD * sizeof(float) : 1);
    attention_delta(a, delta.as<float>());
    plan.delta = delta.as<float>(), plan.partial = partial.as<float>();
    const unsigned strips = ceil_div(plan.rows, 16);
    launch<pairs_kernel<N>>({dim3(ceil_div(a.k.rows, plan.rows) * a.heads), dim3(strips * 32), PairSmem<N>::bytes(int(strips) * 16)}, a, plan);
    if (wants_queries) launch<add_pairs_kernel>({dim3(unsigned(a.q.rows), ceil_div(a.heads * kD, kAdders * 4)), dim3(kAdders)}, a, plan);
}

}  // namespace

bool pairs_fit(const AttentionSeqs& s) { return s.shared && s.max_q > 0 && s.max_q <= kShort; }  // 0: nobody has said
void attention_pairs(const AttentionBwd& a) { a.seqs.max_q <= 8 ? run<1>(a) : run<2>(a); }

}  // namespace eng::cuda
