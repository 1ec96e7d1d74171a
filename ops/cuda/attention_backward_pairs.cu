// Attention backward of sequences that share rows, where one side of each is a few rows, bf16, head width 64: an image's rows and
// the prompts of every text that the image meets. The long side is the queries or the keys; the code is the same.
//
//   long side   a warp's 16 rows      8 or 16 short rows     their block (16 x 8 N)
//   queries     q, dy (arriving)      k, v (arriving)        p = exp2(q k^T - lse)   dp = dy v^T    ds = p (dp - delta)
//   keys        k, v                  q, dy (arriving)       p = exp2(k q^T - lse)   dp = v dy^T    ds = p (dp - delta)
//
// Work split   a block owns up to 192 (keys: 208) rows of the long side of a head, 16 a warp, and goes through the sequences that
//              touch them. Blocks are cut so that each has an image, where images lie side by side and are equally long.
//              1. Each warp makes its block of p and ds, adds to the gradient of its rows, which stays in registers
//                 (dq += ds k, or dk += ds q and dv += p dy), and puts p and ds into shared memory.
//              2. Eight warps (keys: four) multiply those of all warps with the long rows, 16 columns each: dk^T = q^T ds and
//                 dv^T = dy^T p, or dq^T = k^T ds. It is what this sequence's rows here add to the short side's gradient,
//                 and goes to memory as a partial sum in f32.
//              A second kernel, a block for each short row, adds up what the sequences left for it.
// Overlap      the next sequence's rows arrive while one is worked on: 25 KB in flight a block, two blocks a multiprocessor.
// delta        sum of dy y = sum over keys of p dp. Where the keys are the short side they are all at hand, and y is never
//              read. Else attention_delta has made it; there are few queries then.
// Traffic      long queries: dy once, 25 KB a sequence and head of 192 rows, q and dq once. Long keys: k, v, dk, dv once. Partial
//              sums: 512 (keys: 256) bytes a short row, sequence and head, written and read. 190 KB (keys: 145) through
//              shared memory a sequence and head: 0.85 us, and the 25 KB take 0.75. 10 nq nk 64 FLOP, nk (nq) padded to 8 N.
// Registers    long queries 80 (N = 2: 134), long keys 128 (158), sums 64, no spills: two blocks a multiprocessor (else one).
// Numerics     f32 scores and sums; p and ds are rounded to bf16 as operands, partial sums are not.
// Determinism  a long row has one owner, a partial sum one writer; both are added up in the order of the list. No atomics.
// Limits       not causal; the shorter side has at most 16 rows. Scratch memory has room for partial sums of two blocks a sequence
//              (more if it is longer than a block). Where no small divisor of all rows is an image, blocks have parts of two
//              images and half of their warps wait. What is not finite in a row of the block spoils the short gradients of
//              every sequence there, as 0 x NaN.
#include "ops/cuda/attention_pairs.h"

#include <algorithm>

#include "ops/cuda/chip.h"

namespace eng::cuda {
namespace {

// A block's thread at work on one sequence after another.
template <bool KEYS, int N>
struct Worker {
    const AttentionBwd& a;
    const PairPlan& plan;
    const PairSmem<KEYS, N> m;
    const int head, first, rows, warp, lane;
    Sums sum = {}, values = {};  // gradients of the warp's 16 rows: dk or dq, dv

    PTX_INLINE Part part(const Seq& s) const { return part_of<KEYS>(s, first, rows, plan.rows); }

    PTX_INLINE void fetch_own() const {
        copy_rows(m.mine(), KEYS ? a.k : a.q, head, first, 0, rows, m.padded);
        if (KEYS) copy_rows(m.second(0), a.v, head, first, 0, rows, m.padded);
    }
    PTX_INLINE float2 fetch(const Seq& s, int buffer) const {
        const Part p = part(s);
        if (!KEYS) copy_rows(m.second(buffer), a.dy, head, s.o + first - s.q, p.from, p.to, m.padded);
#pragma unroll 1  // fewer addresses that would be kept in registers
        for (int i = 0; i < 2; ++i) {
            const View& x = KEYS ? (i ? a.dy : a.q) : i ? a.v : a.k;
            copy_rows(m.shorts(buffer, i), x, head, KEYS && i ? s.o : short_begin<KEYS>(s), 0, short_rows<KEYS>(s), 8 * N);
        }
        cp_async_commit();
        return query_sums(s);
    }
    // lse and delta (long keys) of the query that is the thread's: a short row, or one of the block.
    PTX_INLINE float2 query_sums(const Seq& s) const {
        const Part p = part(s);
        const int mine = int(threadIdx.x), query = KEYS ? mine : first + mine - s.q;
        if (KEYS ? mine >= s.nq : mine < p.from || mine >= p.to) return {INFINITY, 0};
        const std::int64_t o = (std::int64_t(s.o) + query) * a.heads + head;
        return {ptr<float>(a.lse)[o], KEYS ? plan.delta[o] : 0};
    }
    PTX_INLINE void keep_sums(const float2& x) const {
        if (int(threadIdx.x) < (KEYS ? 8 * N : m.padded)) m.queries()[threadIdx.x] = x;
    }

    // s -> p, dp -> ds
    PTX_INLINE void soften(float (&p)[N][4], float (&ds)[N][4], const Part& mine, int short_rows) const {
        float delta[2] = {};
#pragma unroll
        for (int i = 0; i < 4 * N; ++i) {
            const int h = i / 2 % 2, col = i / 4 * 8 + lane % 4 * 2 + i % 2, row = warp * 16 + lane / 4 + 8 * h;
            // Short keys that are not there: their rows are zero, but exp2(-lse) may be infinite.
            const bool visible = KEYS ? row >= mine.from && row < mine.to : col < short_rows;
            const float2 query = m.queries()[KEYS ? col : row];
            float &x = p[i / 4][i % 4], &dx = ds[i / 4][i % 4];
            x = visible ? exp2_approx(x * plan.scale - query.x * kLog2e) : 0;
            KEYS ? dx = x * (dx - query.y) : delta[h] += x * dx;
        }
        if (KEYS) return;
        delta[0] = quad_sum(delta[0]), delta[1] = quad_sum(delta[1]);
#pragma unroll
        for (int i = 0; i < 4 * N; ++i) ds[i / 4][i % 4] = p[i / 4][i % 4] * (ds[i / 4][i % 4] - delta[i / 2 % 2]);
    }
    PTX_INLINE void long_side(const Seq& s, int buffer) {
        const Part mine = part(s);
        if (warp * 16 >= mine.to || warp * 16 + 16 <= mine.from) return;
        float p[N][4], ds[N][4];
        scores<N>(p, m.mine() + warp * kStrip, m.shorts(buffer, 0), lane);
        scores<N>(ds, m.second(KEYS ? 0 : buffer) + warp * kStrip, m.shorts(buffer, 1), lane);
        soften(p, ds, mine, s.nk);
        unsigned rp[4], rds[4];
        round_block<N>(rp, p), round_block<N>(rds, ds);
        keep_block<N>(m.blocks(0), m.padded, warp * 16, rds, lane);
        if (!KEYS) keep_block<N>(m.blocks(1), m.padded, warp * 16, rp, lane);
        add_short<N>(sum, rds, m.shorts(buffer, 0), lane);
        if (KEYS) add_short<N>(values, rp, m.shorts(buffer, 1), lane);
    }

    // Sixteen columns from `column` of tile^T . blocks over the sequence's rows; strips take turns at two sums.
    PTX_INLINE void over_rows(float (&x)[N][4], const bf16* tile, const bf16* blocks, int column, const Part& p) const {
        float odd[N][4] = {};
        for (int t = 0; t < N; ++t)
            for (int e = 0; e < 4; ++e) x[t][e] = 0;
#pragma unroll 1
        for (int r = p.from / 16 * 16; r < p.to; r += 32) {
            const bool two = r + 16 < p.to;
            unsigned b[N][4], f[4];
#pragma unroll
            for (int t = 0; t < N; ++t) ldmatrix_x4_trans(b[t], blocks + (t * m.padded + r + (two ? lane : lane % 16)) * 8);
            load_a<kD, true>(f, tile + r * kD, column, 0, lane);
#pragma unroll
            for (int t = 0; t < N; ++t) mma_m16n8k16_bf16(x[t], f, b[t][0], b[t][1]);
            if (!two) break;
            load_a<kD, true>(f, tile + (r + 16) * kD, column, 0, lane);
#pragma unroll
            for (int t = 0; t < N; ++t) mma_m16n8k16_bf16(odd[t], f, b[t][2], b[t][3]);
        }
        for (int t = 0; t < N; ++t)
            for (int e = 0; e < 4; ++e) x[t][e] += odd[t][e];
    }
    PTX_INLINE void short_side(int sequence, const Seq& s, int buffer) const {
        constexpr int parts = PairSmem<KEYS, N>::kParts;
        const Part mine = part(s);
        for (int i = warp; i < 4 * parts; i += int(blockDim.x) / 32) {
            const int which = i / 4, column = i % 4 * 16;
            if ((KEYS ? a.dq : which ? a.dv : a.dk).mode == Mode::skip) continue;
            float x[N][4];
            over_rows(x, which ? m.second(buffer) : m.mine(), m.blocks(which), column, mine);
            float* to = plan.partial + partial_at(plan, sequence, mine.slot, a.heads, head, 0) * std::int64_t(parts * kD) + which * kD + column + lane / 4;
#pragma unroll
            for (int e = 0; e < 4 * N; ++e) {
                const int j = e / 4 * 8 + lane % 4 * 2 + e % 2;
                if (j < short_rows<KEYS>(s)) to[j * (parts * kD) + e / 2 % 2 * 8] = x[e / 4][e % 4];
            }
        }
    }
};

template <bool KEYS, int N>
__global__ __launch_bounds__(kMost<KEYS, N> * 2, KEYS || N == 2 ? 1 : 2) void pairs_kernel(AttentionBwd a, PairPlan plan) {
    in_turn();
    GPU_DYN_SHARED(bf16, smem);
    const int first = int(blockIdx.x / a.heads) * plan.rows, rows = min(plan.rows, int(KEYS ? a.k.rows : a.q.rows) - first);
    Worker<KEYS, N> w{a, plan, {smem, int(blockDim.x) / 2}, int(blockIdx.x % a.heads), first, rows, int(threadIdx.x / 32), int(threadIdx.x % 32)};
    for_touching<kMost<KEYS, N> * 2>(a.seqs, KEYS, first, rows, [&](const int* list, int n) {
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
            w.short_side(list[i], seq_at(a.seqs, list[i]), i % 2);
        }
    });
    const int own = first + w.warp * 16, left = rows - w.warp * 16;
    put_rows(KEYS ? a.dk : a.dq, own, left, w.head, w.sum, float(a.scale), w.lane);
    if (KEYS) put_rows(a.dv, own, left, w.head, w.values, 1, w.lane);
}

// A block for a short row and 1024 of its columns, of one gradient or of dk and dv beside each other; four columns a thread.
constexpr int kAdders = 256, kAhead = 4;
template <bool KEYS>
__global__ __launch_bounds__(kAdders) void add_pairs_kernel(AttentionBwd a, PairPlan plan) {
    in_turn();
    constexpr int parts = PairSmem<KEYS, 1>::kParts;
    const int row = int(blockIdx.x), i = int(blockIdx.y * kAdders + threadIdx.x) * 4, which = i / (a.heads * kD), head = i / kD % a.heads;
    const int column = which * kD + i % kD;
    const bool wanted = which < parts && (KEYS ? a.dq : which ? a.dv : a.dk).mode != Mode::skip;
    Vec<float, 4> sum = {};
    const auto add = [&](const Vec<float, 4>& x) { for (int e = 0; e < 4; ++e) sum[e] += x[e]; };
    for_touching<kAdders>(a.seqs, !KEYS, row, 1, [&](const int* list, int n) {
        if (!wanted) return;
        for (int at = 0; at < n; at += kAhead) {
            Vec<float, 4> x[kAhead];
            const float* from[kAhead];
            int owners[kAhead];
#pragma unroll
            for (int u = 0; u < kAhead; ++u) {
                if (at + u >= n) break;
                const Seq s = seq_at(a.seqs, list[at + u]);
                const int begin = long_begin<KEYS>(s), end = begin + long_rows<KEYS>(s);
                owners[u] = (end - 1) / plan.rows - begin / plan.rows + 1;
                from[u] = plan.partial + partial_at(plan, list[at + u], 0, a.heads, head, row - short_begin<KEYS>(s)) * std::int64_t(parts * kD) + column;
                x[u] = read<4>(from[u]);
            }
#pragma unroll
            for (int u = 0; u < kAhead; ++u) {
                if (at + u >= n) break;
                add(x[u]);
                for (int slot = 1; slot < owners[u]; ++slot) add(read<4>(from[u] + partial_at(plan, 0, slot, a.heads, 0, 0) * std::int64_t(parts * kD)));
            }
        }
    });
    if (!wanted) return;
    for (int e = 0; e < 4; ++e) sum[e] *= which ? 1.0f : float(a.scale);
    const auto put = [&](const Out& o) { emit<4>(o, row * o.pitch + head * kD + i % kD, sum); };
    KEYS ? put(a.dq) : which ? put(a.dv) : put(a.dk);
}

// A block's rows: where there is one, a divisor of all rows, so that each block has one of the equally long images.
int rows_of_owner(std::int64_t all, int longest, int most) {
    for (int rows = std::max(longest, 1); rows <= most; ++rows)
        if (all % rows == 0) return rows;
    return most;
}

template <bool KEYS, int N>
void run(const AttentionBwd& a) {
    constexpr int parts = PairSmem<KEYS, N>::kParts;
    const View &longs = KEYS ? a.k : a.q, &shorts = KEYS ? a.q : a.k;
    const int longest = KEYS ? a.seqs.max_k : a.seqs.max_q, n = int(a.seqs.q_begin.numel());
    const bool wants_short = KEYS ? a.dq.mode != Mode::skip : a.dk.mode != Mode::skip || a.dv.mode != Mode::skip;
    PairPlan plan{rows_of_owner(longs.rows, longest, kMost<KEYS, N>), 0, KEYS ? a.seqs.max_q : a.seqs.max_k, float(a.scale) * kLog2e, nullptr, nullptr};
    plan.slots = (longest + plan.rows - 2) / plan.rows + 1;
    const std::int64_t sums = std::int64_t(n) * plan.slots * a.heads * plan.short_rows;
    ENG_CHECK(sums < std::int64_t(1) << 31, "attention", sums, " partial sums of short rows are too many");
    const Scratch delta(KEYS ? std::size_t(a.y.rows) * a.heads * sizeof(float) : 1);
    const Scratch partial(wants_short ? std::size_t(sums) * parts * kD * sizeof(float) : 1);
    if (KEYS) attention_delta(a, delta.as<float>());
    plan.delta = delta.as<float>(), plan.partial = partial.as<float>();
    const unsigned strips = ceil_div(plan.rows, 16);
    launch<pairs_kernel<KEYS, N>>({dim3(ceil_div(longs.rows, plan.rows) * a.heads), dim3(strips * 32), PairSmem<KEYS, N>::bytes(int(strips) * 16)}, a, plan);
    if (wants_short) launch<add_pairs_kernel<KEYS>>({dim3(unsigned(shorts.rows), ceil_div(parts * a.heads * kD, kAdders * 4)), dim3(kAdders)}, a, plan);
}
template <bool KEYS>
void run(const AttentionBwd& a, int longest) { longest <= 8 ? run<KEYS, 1>(a) : run<KEYS, 2>(a); }

}  // namespace

bool pairs_fit(const AttentionSeqs& s) {
    constexpr std::size_t lists = 2 * kMost<true, 1> * (kLook + 1) * sizeof(int);
    const int shorter = std::min(s.max_q, s.max_k);  // 0: nobody has said
    return s.shared && shorter > 0 && shorter <= kShort && PairSmem<false, 2>::bytes(kMost<false, 2>) + lists <= chip().smem;
}
void attention_pairs(const AttentionBwd& a) {
    a.seqs.max_k >= a.seqs.max_q ? run<true>(a, a.seqs.max_q) : run<false>(a, a.seqs.max_k);
}

}  // namespace eng::cuda
