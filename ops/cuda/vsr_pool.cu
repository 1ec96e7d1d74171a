// VSR of every pair from folded tensors (ops/vsr.cpp), on Hopper in bf16: attention, LN5, feed-forward, LN6 and the maximum over
// an image's regions in one kernel. Of a pair nothing but its 512 results is ever written to memory.
//
//   S = q k^T per head   A = softmax(S)    x = A V          r = 1 / sqrt(mean x^2 + eps)
//   F = gamma5 r x + beta5 + b2 + W2 QuickGELU(r (A U) + c)       t = max over rows of LN6(F)
//
// Work split   persistent: a block of 384 threads takes two pairs of one text at a time. Warpgroup 0 only issues copies; warpgroups
//              1 and 2 have a pair each and walk its rows in tiles of 64, in step, so that both use what was copied.
// Tiling       512 columns of F for 64 rows are 256 registers a thread: too many. So a tile goes over the hidden layer twice, once
//              for each half of the columns, and computes it twice: A is but 64 deep, that costs 13 % more products.
//                 4 stages   q [2 x 64, 64], k [8, 64] of two heads     S, then A as operand fragments in registers
//                 2 stages   V [64, 256] of the halves 1 and 0          r; the second stays: it is where F's half 0 starts
//                 h stages   U [64, 64] and W2 [256, 64]                64 hidden units: A U -> QuickGELU in registers -> W2
//                 1 + h      V of half 1, then U and W2 again           F's half 1
//              A stage is 40 KB, there are three; F's half 0 waits in shared memory as bf16, as LN6's input is elsewhere.
// Traffic      2.5 MB of L2 per 128 rows against 1.0 GFLOP: half of what a 128 x 256 tile of a plain product needs per FLOP. Per pair
//              (192 rows, hidden 2048) 522 MFLOP and 200 KB of q; everything else is the text's and the weights'.
// Overlap      of the feed-forward the warpgroups take turns: a turn multiplies 64 hidden units by W2 and makes A U of the next 64, and
//              meanwhile the other takes powers (QuickGELU: one MUFU an element, 0.4 of the time that a turn's products take).
//                 group 1   U0   powers 0 | W2 0, U1 | powers 1 | W2 1, U2 | powers 2 | ...
//                 group 2   U0   powers 0            | W2 0, U1 | powers 1 | W2 1, U2 | ...
// Numerics     products exact, sums f32; A, hidden layer and half of F are rounded to bf16, QuickGELU's tanh is within 2^-11.
// Determinism  one owner per result; maxima do not depend on order.
// Limits       d = 512, 8 heads of 64, 8 slots, hidden a multiple of 64 that fits beside the rest in shared memory (4,800); sm_90a.
// Idea         A as the register operand of the next product and taking turns are FlashAttention-3's (Shah et al., 2024).
#include "ops/cuda/chip.h"
#include "ops/cuda/gemm.h"
#include "ops/cuda/vsr_pool.h"

namespace eng::cuda {
namespace {

constexpr unsigned kMaxima = 1, kTurn = 3;  // named barriers, one a warpgroup

// What a thread holds: rows lane / 4 and that + 8 of its warp's 16, of each eight columns 2 (lane % 4) and that + 1.
struct Consumer {
    Smem* s;
    const VsrPoolArgs& a;
    int group, warp, lane;
    RingAt<kStages> at;
    unsigned p[4][4];       // A, as fragments of four products
    float r[2];             // of LN5, for the two rows
    float mean[2], m2[2];   // of F's half 0: mean, sum of squares about it

    PTX_INLINE const Stage& arrived() const { return arrived(at); }
    PTX_INLINE const Stage& arrived(RingAt<kStages> at) const {
        mbar_wait(&s->full[at.stage], at.round);
        return s->stage[at.stage];
    }
    PTX_INLINE const Stage& after() const {  // the one behind it
        RingAt<kStages> next = at;
        next.next();
        return arrived(next);
    }
    PTX_INLINE void release() {
        if (lane == 0) mbar_arrive(&s->empty[at.stage]);
        at.next();
    }
    // The products of the two warpgroups take turns, one and the other, from the begin of the kernel to its end.
    PTX_INLINE void take_turn() const { named_barrier_sync(kTurn + group, 256); }
    PTX_INLINE void pass_turn() const { named_barrier_arrive(kTurn + (group ^ 1), 256); }
    PTX_INLINE int column(int j) const { return 8 * j + lane % 4 * 2; }
    // The warp's maxima of two columns, of each 64 those at column(lane / 4): no other lane's.
    PTX_INLINE float2* best(int col) const { return reinterpret_cast<float2*>(&s->best[group * 4 + warp][col]); }
};

PTX_INLINE float2 two(const float* x, int col) { return *reinterpret_cast<const float2*>(x + col); }

// Softmax of one row over the slots of a head, two of which each lane of a quad has.
PTX_INLINE unsigned softmax_pair(float x0, float x1, int slot, int taken, float scale) {
    x0 = slot < taken ? x0 : -INFINITY, x1 = slot + 1 < taken ? x1 : -INFINITY;
    const float top = quad_max(fmaxf(x0, x1));
    const float e0 = exp2_approx((x0 - top) * scale), e1 = exp2_approx((x1 - top) * scale), sum = quad_sum(e0 + e1);
    return pack_bf16(__fdividef(e0, sum), __fdividef(e1, sum));
}

// Scores of the eight heads, then A, whose softmaxes wait for shuffles together. Column (h, slot) of A is 8 h + slot: two heads are one fragment.
PTX_INLINE void look(Consumer& t, int taken) {
    float x[kHeads][4];
#pragma unroll
    for (int h = 0; h < kHeads; h += 2) {
        const Stage& st = t.arrived();
        wgmma_fence();
#pragma unroll
        for (int k = 0; k < 4; ++k)
#pragma unroll
            for (int i = 0; i < 2; ++i)
                wgmma_bf16<8, Major::k, Major::k>(x[h + i], wgmma_desc(st.big + (2 * i + t.group) * kBox, 16, k * 32), wgmma_desc(st.small + i * kSlots * 64, 16, k * 32), k > 0);
        wgmma_commit();
        wgmma_wait<0>();
        t.release();
    }
#pragma unroll
    for (int h = 0; h < kHeads; ++h)
#pragma unroll
        for (int i = 0; i < 2; ++i) t.p[h / 2][h % 2 * 2 + i] = softmax_pair(x[h][2 * i], x[h][2 * i + 1], t.lane % 4 * 2, taken, t.a.scale * kLog2e);
}

// acc = A V of one half of the columns.
PTX_INLINE void values(Consumer& t, float (&acc)[kHalf / 2]) {
    const Stage& st = t.arrived();
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; ++k) wgmma_bf16<kHalf, Major::mn>(acc, t.p[k], wgmma_desc(st.big, kBox * 2, k * 2048), k > 0);
    wgmma_commit();
    wgmma_wait<0>();
    t.release();
}
PTX_INLINE void add_squares(const float (&acc)[kHalf / 2], float (&squares)[2]) {
#pragma unroll
    for (int j = 0; j < kHalf / 2; ++j) squares[j / 2 % 2] += acc[j] * acc[j];
}

// acc: from x to where F starts.
PTX_INLINE void start(const Consumer& t, float (&acc)[kHalf / 2], int half) {
#pragma unroll
    for (int j = 0; j < kHalf / 8; ++j) {
        const float2 gain = two(t.s->gain, half * kHalf + t.column(j)), offset = two(t.s->offset, half * kHalf + t.column(j));
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            float &x = acc[4 * j + 2 * i], &y = acc[4 * j + 2 * i + 1];
            x = x * t.r[i] * gain.x + offset.x, y = y * t.r[i] * gain.y + offset.y;
        }
    }
}

// x sigmoid(1.702 x), by 2 sigmoid(z) = 1 + tanh(z / 2)
PTX_INLINE float quick_gelu_fast(float x) { return x * (0.5f + 0.5f * tanh_approx(0.851f * x)); }

// x = A U, the products of 64 hidden units.
PTX_INLINE void look_up(const Consumer& t, float (&x)[32], const Stage& st) {
#pragma unroll
    for (int k = 0; k < 4; ++k) wgmma_bf16<64, Major::mn>(x, t.p[k], wgmma_desc(st.small, 16, k * 2048), k > 0);
}

// acc += QuickGELU(r (A U) + c) W2^T, 64 hidden units at a time. The next units' A U goes with these units' product with W2, so that a
// warpgroup either multiplies or takes powers.
PTX_INLINE void feed_forward(Consumer& t, float (&acc)[kHalf / 2], int chunks) {
    float x[32];
    const Stage& first = t.arrived();
    wgmma_fence();
    look_up(t, x, first);
    wgmma_commit();
    wgmma_wait<0>();
    for (int chunk = 0; chunk < chunks; ++chunk) {
        unsigned h[4][4];
#pragma unroll
        for (int j = 0; j < 8; ++j) {
            const float2 c = two(t.s->c, chunk * 64 + t.column(j));
#pragma unroll
            for (int i = 0; i < 2; ++i)
                h[j / 2][j % 2 * 2 + i] = pack_bf16(quick_gelu_fast(x[4 * j + 2 * i] * t.r[i] + c.x), quick_gelu_fast(x[4 * j + 2 * i + 1] * t.r[i] + c.y));
        }
        const Stage &st = t.s->stage[t.at.stage], &next = chunk + 1 < chunks ? t.after() : st;  // behind the last come no units: the last again
        t.take_turn();
        wgmma_fence();
#pragma unroll
        for (int k = 0; k < 4; ++k) wgmma_bf16<kHalf, Major::k>(acc, h[k], wgmma_desc(st.big, 16, k * 32), true);
        look_up(t, x, next);
        wgmma_commit();
        t.pass_turn();
        wgmma_wait<0>();
        t.release();
    }
}

// Mean of each row over this half, and the sum of squares about it.
PTX_INLINE void moments(const float (&acc)[kHalf / 2], float (&mean)[2], float (&m2)[2]) {
    float sum[2] = {};
#pragma unroll
    for (int j = 0; j < kHalf / 2; ++j) sum[j / 2 % 2] += acc[j];
#pragma unroll
    for (int i = 0; i < 2; ++i) mean[i] = quad_sum(sum[i]) / kHalf, m2[i] = 0;
#pragma unroll
    for (int j = 0; j < kHalf / 2; ++j) m2[j / 2 % 2] += (acc[j] - mean[j / 2 % 2]) * (acc[j] - mean[j / 2 % 2]);
#pragma unroll
    for (int i = 0; i < 2; ++i) m2[i] = quad_sum(m2[i]);
}

PTX_INLINE float2 max_nan2(float2 a, float2 b) { return make_float2(max_nan(a.x, b.x), max_nan(a.y, b.y)); }

// The warp's maxima of 64 columns of LN6(F) from `col` on; f(j, i): what this thread has of F in row i of columns column(j), column(j) + 1.
// Eight lanes share a column's rows. They halve the columns and the rows each has maxima of, until two columns of all 16 rows are left: a
// third of the shuffles that each column's own maximum would take, and one visit of shared memory instead of eight.
template <typename Rows>
PTX_INLINE void pool(const Consumer& t, int col, const float (&mean)[2], const float (&rstd)[2], const bool (&inside)[2], Rows&& f) {
    float2 top[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) {
        const float2 gamma = two(t.s->gamma6, col + t.column(j)), beta = two(t.s->beta6, col + t.column(j));
        top[j] = make_float2(-INFINITY, -INFINITY);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const float2 y = f(j, i), z = make_float2((y.x - mean[i]) * rstd[i] * gamma.x + beta.x, (y.y - mean[i]) * rstd[i] * gamma.y + beta.y);
            top[j] = max_nan2(top[j], inside[i] ? z : make_float2(-INFINITY, -INFINITY));
        }
    }
#pragma unroll
    for (int n = 4; n > 0; n /= 2) {
        const bool upper = t.lane & 4 * n;
#pragma unroll
        for (int j = 0; j < n; ++j) {
            const float2 own = upper ? top[j + n] : top[j], other = upper ? top[j] : top[j + n];
            top[j] = max_nan2(own, make_float2(__shfl_xor_sync(kAllLanes, other.x, 4 * n), __shfl_xor_sync(kAllLanes, other.y, 4 * n)));
        }
    }
    float2* best = t.best(col + t.column(t.lane / 4));
    *best = max_nan2(*best, top[0]);
}

// A tile of 64 rows; `rows` of the image are left from its first on.
PTX_INLINE void consume_tile(Consumer& t, int taken, int rows, int chunks) {
    float acc[kHalf / 2], squares[2] = {};
    look(t, taken);
    values(t, acc), add_squares(acc, squares);
    values(t, acc), add_squares(acc, squares);
#pragma unroll
    for (int i = 0; i < 2; ++i) t.r[i] = rsqrtf(quad_sum(squares[i]) / kC + t.a.eps);
    start(t, acc, 0);
    feed_forward(t, acc, chunks);
    moments(acc, t.mean, t.m2);
    unsigned(*stash)[128] = t.s->stash[t.group];
#pragma unroll
    for (int j = 0; j < kHalf / 4; ++j) stash[j][threadIdx.x % 128] = pack_bf16(acc[2 * j], acc[2 * j + 1]);
    values(t, acc);
    start(t, acc, 1);
    feed_forward(t, acc, chunks);

    float mean[2], m2[2], rstd[2];
    moments(acc, mean, m2);
    bool inside[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {  // both halves together (Chan et al., 1983)
        const float apart = mean[i] - t.mean[i];
        mean[i] = 0.5f * (mean[i] + t.mean[i]);
        rstd[i] = rsqrtf((m2[i] + t.m2[i] + apart * apart * (kHalf / 2)) / kC + t.a.eps);
        inside[i] = t.warp * 16 + t.lane / 4 + 8 * i < rows;
    }
#pragma unroll
    for (int at = 0; at < kHalf / 8; at += 8) {
        pool(t, kHalf + 8 * at, mean, rstd, inside, [&](int j, int i) { return make_float2(acc[4 * (at + j) + 2 * i], acc[4 * (at + j) + 2 * i + 1]); });
        pool(t, 8 * at, mean, rstd, inside, [&](int j, int i) { return unpack_bf16(stash[2 * (at + j) + i][threadIdx.x % 128]); });
    }
}

PTX_INLINE void consume(Smem* s, const VsrPoolArgs& a, int units) {
    Consumer t{s, a, int(threadIdx.x) / 128 - 1, int(threadIdx.x) / 32 % 4, int(threadIdx.x) % 32, {}, {}, {}, {}, {}};
    const int chunks = int(a.u.cols) / 64;
    if (t.group == 1) t.pass_turn();  // the other begins
    for (int n = blockIdx.x; n < units; n += gridDim.x) {
        const Unit u = unit_at(a, n);
        const Place own = place(a, n, t.group);
        for (int c = t.column(t.lane / 4); c < kC; c += 64) *t.best(c) = make_float2(-INFINITY, -INFINITY);
        for (int tile = 0; tile < u.tiles; ++tile) consume_tile(t, u.prompts, own.len - tile * 64, chunks);
        named_barrier_sync(kMaxima + t.group, 128);  // the four warps have their maxima
        const int col = int(threadIdx.x) % 128 * 4;
        Vec<float, 4> top = *reinterpret_cast<const Vec<float, 4>*>(&s->best[t.group * 4][col]);
        for (int w = 1; w < 4; ++w)
            for (int i = 0; i < 4; ++i) top[i] = max_nan(top[i], s->best[t.group * 4 + w][col + i]);
        if (own.pair >= 0) emit<4>(a.t, std::int64_t(own.pair) * kC + col, top);
        named_barrier_sync(kMaxima + t.group, 128);  // they are read: the next unit may begin
    }
    if (t.group == 0) t.take_turn();  // which nobody needs, so that no barrier is left half full
}

// What every tile needs of the weights, as f32.
PTX_INLINE void keep_vectors(Smem* s, const VsrPoolArgs& a) {
    for (int i = threadIdx.x; i < int(a.c.cols); i += kThreads) s->c[i] = read_one(a.c, i);
    for (int i = threadIdx.x; i < kC; i += kThreads) {
        s->gain[i] = a.residual ? read_one(a.gamma5, i) : 0.f;
        s->offset[i] = read_one(a.b2, i) + (a.residual ? read_one(a.beta5, i) : 0.f);
        s->gamma6[i] = read_one(a.gamma6, i), s->beta6[i] = read_one(a.beta6, i);
    }
}

__global__ __launch_bounds__(kThreads, 1) void vsr_pool_kernel(const __grid_constant__ Maps m, const __grid_constant__ VsrPoolArgs a) {
    if constexpr (!FOR_HOPPER) return __trap();
    GPU_DYN_SHARED(Smem, s);
    if (threadIdx.x == 0) {
        for (int i = 0; i < kStages; ++i) mbar_init(&s->full[i], 1), mbar_init(&s->empty[i], kPairs * 4);
        fence_mbar_init();
    }
    in_turn();  // not before: so far no memory of the device
    keep_vectors(s, a);
    __syncthreads();  // barriers and vectors exist for everyone
    const int units = int(a.units.rows);
    if (threadIdx.x < 128) {
        setmaxnreg_dec<40>();
        if (threadIdx.x == 0) produce(s, m, a, units);
    } else {
        setmaxnreg_inc<232>();
        consume(s, a, units);
    }
}

}  // namespace

bool vsr_pool_fits(const VsrPoolArgs& a) {
    const std::int64_t hidden = a.u.cols;
    return a.q.dtype == DType::bf16 && chip().hopper && hopper_was_built() && a.q.cols == kC && a.heads == kHeads && a.slots == kSlots &&
           hidden % 64 == 0 && hidden > 0 && smem_bytes(hidden) <= chip().smem;
}

void vsr_pool(const VsrPoolArgs& a) {
    ENG_CHECK(vsr_pool_fits(a), "vsr_pool", "q ", a.q.rows, "x", a.q.cols, " with ", a.heads, " heads, ", a.slots, " slots, ", a.u.cols, " hidden units");
    const auto map = [](const View& v, int box) { return make_tensor_map_bf16(static_cast<const bf16*>(v.p), int(v.rows), int(v.cols), box, 64); };
    const Maps m{map(a.q, 64), map(a.k, kSlots), map(a.v, 64), map(a.u, 64), map(a.w2, kHalf)};
    const unsigned blocks = unsigned(std::min<std::int64_t>(a.units.rows, chip().sms));
    launch<vsr_pool_kernel>({dim3(blocks), dim3(kThreads), smem_bytes(a.u.cols)}, m, a);
}

}  // namespace eng::cuda
