// Attention, one (sequence, head) at a time, as small matrices of vectors whose lanes are 32 queries on the way forward, so that
// the softmax is a loop over rows, and 32 keys on the way back, so that their gradients are complete. A block of scores stays in cache.
//
//   forward    s = k q^T [nk,32]   p = exp(s - max)    y = p^T v / sum(p) [32,D]
//   backward   p = exp(q k^T - lse) [nq,32]   ds = p (dy v^T - delta)   dv = p^T dy, dk = ds^T q [32,D]   dq += ds k [nq,D]
//
// Packed equals one by one bit for bit: nothing here depends on the other sequences of a batch.
#include <cmath>
#include <limits>

#include "ops/cpu/attention_tiles.h"

namespace eng::cpu {
namespace {

struct Seq { std::int64_t q, nq, o, k, nk; };
Seq sequence(const AttentionSeqs& s, std::int64_t b) {
    const auto i32 = [&](const View& v) { return std::int64_t(ptr<std::int32_t>(v)[b]); };
    return {i32(s.q_begin), i32(s.q_len), i32(s.o_begin), i32(s.k_begin), i32(s.k_len)};
}

template <class A> struct Scratch { Tile<A> q, k, v, dy, across, s, dp, o, dk, dv; std::vector<A> delta; };

constexpr std::int64_t kBlock = 32;

// Calls f(first, n) for one block of n lanes after another.
template <class F>
void for_blocks(std::int64_t count, F&& f) {
    for (std::int64_t i = 0; i < count; i += kBlock) f(i, std::min(kBlock, count - i));
}
template <class A> struct Lane { // one number for each
    alignas(64) A at[kBlock] = {};
    Vec<A>& vec(std::int64_t c) { return *vectors(at + c); }
};

// s = exp(scale s - max) over the rows of each column.
template <class A>
void exponentials(Tile<A>& s, A scale, Lane<A>& max, Lane<A>& sum) {
    for (std::int64_t c = 0; c < s.ld; c += kLanes<A>) {
        Vec<A> hi = scale * s.vec(0, c), total = {};
        for (std::int64_t j = 1; j < s.rows; ++j) {
            const Vec<A> x = scale * s.vec(j, c);
            hi = x > hi ? x : hi;
        }
        for (std::int64_t j = 0; j < s.rows; ++j) total += s.vec(j, c) = exp_of_lanes(scale * s.vec(j, c) - hi);
        max.vec(c) = hi, sum.vec(c) = total;
    }
}

template <class T, class A>
void forward_one(const AttentionFwd& a, const Seq& s, int h, std::int64_t D, Scratch<A>& t) {
    load<T>(t.k, a.k, s.k, s.nk, h * D, D), load<T>(t.v, a.v, s.k, s.nk, h * D, D);
    for_blocks(s.nq, [&](std::int64_t first, std::int64_t n) {
        const std::int64_t keys = a.causal ? std::min(s.nk, first + n) : s.nk;
        // Of the keys from `first` on, key j is hidden from the j - first queries before it. Its value is multiplied by 0 for them:
        // a NaN there reaches the rest of the block.
        const auto hide = [&](A value) {
            for (std::int64_t j = first + 1; a.causal && j < keys; ++j) std::fill_n(t.s.row(j), j - first, value);
        };
        load<T>(t.q, a.q, s.q + first, n, h * D, D), transpose(t.across, t.q);
        t.s.shape(keys, n), t.o.shape(n, D);
        product(t.s, {0, keys}, t.k, t.across, D);
        hide(-std::numeric_limits<A>::infinity());
        Lane<A> max, sum;
        exponentials(t.s, A(a.scale), max, sum);
        hide(A(0));  // exp_ ends above it
        product_transposed(t.o, {0, n}, t.s, t.v, {0, keys});
        for (std::int64_t i = 0; i < n; ++i) {
            ptr<A>(a.lse)[(s.o + first + i) * a.heads + h] = max.at[i] + std::log(sum.at[i]);
            for (std::int64_t d = 0; d < t.o.ld; d += kLanes<A>) t.o.vec(i, d) *= A(1) / sum.at[i];
        }
        put<T>(a.y, s.o + first, n, h * D, D, t.o);
    });
}

// p = exp(scale q k^T - lse) again, then dp = dy v^T, ds = scale p (dp - delta), dq = ds k, dk = ds^T q, dv = p^T dy.
// Leaves dq in t.o, dk in t.dk, dv in t.dv.
template <class T, class A>
void backward_one(const AttentionBwd& a, const Seq& s, int h, std::int64_t D, Scratch<A>& t) {
    load<T>(t.q, a.q, s.q, s.nq, h * D, D), load<T>(t.dy, a.dy, s.o, s.nq, h * D, D);
    t.o.shape(s.nq, D), t.dk.shape(s.nk, D), t.dv.shape(s.nk, D);
    t.o.zero();
    t.delta.resize(std::size_t(s.nq));
    for (std::int64_t i = 0; i < s.nq; ++i) t.delta[i] = dot<A, A>(t.dy.row(i), row<T>(a.y, s.o + i) + h * D, D);
    for_blocks(s.nk, [&](std::int64_t first, std::int64_t n) {
        const std::int64_t begin = a.causal ? std::min(first, s.nq) : 0;
        const Rows seeing{begin, s.nq - begin};  // the queries that see any of these keys
        load<T>(t.k, a.k, s.k + first, n, h * D, D), transpose(t.across, t.k);
        t.s.shape(s.nq, n), t.dp.shape(s.nq, n);
        product(t.s, seeing, t.q, t.across, D);
        load<T>(t.v, a.v, s.k + first, n, h * D, D), transpose(t.across, t.v);
        product(t.dp, seeing, t.dy, t.across, D);
        for (std::int64_t i = begin; i < s.nq; ++i) {
            const A scale = A(a.scale), lse = ptr<A>(a.lse)[(s.o + i) * a.heads + h], delta = t.delta[i];
            for (std::int64_t c = 0; c < t.s.ld; c += kLanes<A>) {
                const Vec<A> p = exp_of_lanes(scale * t.s.vec(i, c) - lse);
                t.s.vec(i, c) = p;
                t.dp.vec(i, c) = scale * p * (t.dp.vec(i, c) - delta);
            }
            const std::int64_t seen = a.causal ? std::min(i + 1 - first, n) : n;
            std::fill(t.s.row(i) + seen, t.s.row(i) + n, A(0)), std::fill(t.dp.row(i) + seen, t.dp.row(i) + n, A(0));
        }
        product_transposed(t.dv, {first, n}, t.s, t.dy, seeing);
        product_transposed(t.dk, {first, n}, t.dp, t.q, seeing);
        product<true>(t.o, seeing, t.dp, t.k, n);
    });
}

// Rows that several sequences share are summed in f32 over the list, in its order; one head per thread.
template <class T, class A>
void backward_shared(const AttentionBwd& a, std::int64_t D, std::int64_t count) {
    parallel_for(a.heads, 1, [&](std::int64_t h0, std::int64_t h1) {
        Scratch<A> t;
        Tile<A> dq, dk, dv;
        const auto gather = [&](Tile<A>& sum, std::int64_t first, std::int64_t n, Tile<A>& part) {
            for (std::int64_t r = 0; r < n; ++r)
#pragma omp simd
                for (std::int64_t d = 0; d < D; ++d) sum.row(first + r)[d] += part.row(r)[d];
        };
        for (std::int64_t h = h0; h < h1; ++h) {
            dq.shape(a.q.rows, D), dk.shape(a.k.rows, D), dv.shape(a.v.rows, D);
            dq.zero(), dk.zero(), dv.zero();
            for (std::int64_t b = 0; b < count; ++b) {
                const Seq s = sequence(a.seqs, b);
                backward_one<T>(a, s, int(h), D, t);
                gather(dq, s.q, s.nq, t.o), gather(dk, s.k, s.nk, t.dk), gather(dv, s.k, s.nk, t.dv);
            }
            put<T>(a.dq, 0, a.q.rows, h * D, D, dq), put<T>(a.dk, 0, a.k.rows, h * D, D, dk), put<T>(a.dv, 0, a.v.rows, h * D, D, dv);
        }
    });
}

// Rows outside of every sequence get a zero gradient.
void clear(const Out& o) {
    if (o.mode != Mode::write) return;
    for (std::int64_t r = 0; r < o.rows; ++r)
        std::memset(static_cast<char*>(o.p) + std::size_t(r * o.pitch) * size_of(o.dtype), 0, std::size_t(o.cols) * size_of(o.dtype));
}

}  // namespace

void attention_forward(const AttentionFwd& a) {
    dispatch_float(a.q.dtype, "attention", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t D = a.q.cols / a.heads, count = a.seqs.q_begin.numel();
        parallel_for(count * a.heads, 1, [&](std::int64_t b, std::int64_t e) {
            Scratch<A> t;
            for (std::int64_t i = b; i < e; ++i) forward_one<T>(a, sequence(a.seqs, i / a.heads), int(i % a.heads), D, t);
        });
    });
}

void attention_backward(const AttentionBwd& a) {
    dispatch_float(a.q.dtype, "attention", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t D = a.q.cols / a.heads, count = a.seqs.q_begin.numel();
        if (a.seqs.shared) return backward_shared<T, A>(a, D, count);
        clear(a.dq), clear(a.dk), clear(a.dv);
        parallel_for(count * a.heads, 1, [&](std::int64_t b, std::int64_t e) {
            Scratch<A> t;
            for (std::int64_t i = b; i < e; ++i) {
                const Seq s = sequence(a.seqs, i / a.heads);
                const std::int64_t col = i % a.heads * D;
                backward_one<T>(a, s, int(i % a.heads), D, t);
                put<T>(a.dq, s.q, s.nq, col, D, t.o), put<T>(a.dk, s.k, s.nk, col, D, t.dk), put<T>(a.dv, s.k, s.nk, col, D, t.dv);
            }
        });
    });
}

void attention_map(const AttentionMapArgs& a) {
    zero_if_write(a.map);
    dispatch_float(a.q.dtype, "attention_map", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t D = a.q.cols / a.heads, count = a.seqs.q_begin.numel();
        parallel_for(count, 1, [&](std::int64_t b, std::int64_t e) {
            Scratch<A> t;
            for (std::int64_t i = b; i < e; ++i) {
                const Seq s = sequence(a.seqs, i);
                for (int h = 0; h < a.heads; ++h) {
                    load<T>(t.k, a.k, s.k, s.nk, h * D, D);
                    for_blocks(s.nq, [&](std::int64_t first, std::int64_t n) {
                        load<T>(t.q, a.q, s.q + first, n, h * D, D), transpose(t.across, t.q);
                        t.s.shape(s.nk, n);
                        product(t.s, {0, s.nk}, t.k, t.across, D);
                        Lane<A> max, sum;
                        exponentials(t.s, A(a.scale), max, sum);
                        for (std::int64_t r = 0; r < n; ++r)
                            for (std::int64_t j = 0; j < s.nk; ++j) row<A>(a.map, s.o + first + r)[j] += t.s.row(j)[r] / (sum.at[r] * A(a.heads));
                    });
                }
            }
        });
    });
}

}  // namespace eng::cpu
