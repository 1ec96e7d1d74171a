// Attention, one (sequence, head) at a time: scores, softmax and products run on small f32 tiles that stay in cache.
//
//      k^T [D,nk]        v [nk,D]          The tiles are copied once per (sequence, head), rows padded to full
//   q  s = q k^T   ->  p = softmax(s)      vectors; `product` then runs 8 rows x 2 vectors in registers.
//   [nq,nk]            o = p v [nq,D]
//
// Packed equals one by one bit for bit: nothing here depends on the other sequences of a batch.
#include <cmath>
#include <limits>

#include "ops/cpu/math.h"
#include "ops/cpu/store.h"

namespace eng::cpu {
namespace {

template <class A> struct Lanes;
template <> struct Lanes<float> { typedef float type __attribute__((vector_size(64), aligned(4), may_alias)); };
template <> struct Lanes<double> { typedef double type __attribute__((vector_size(64), aligned(8), may_alias)); };

template <class A> constexpr std::int64_t kLanes = 64 / std::int64_t(sizeof(A));
template <class A> std::int64_t padded(std::int64_t n) { return (n + kLanes<A> - 1) / kLanes<A> * kLanes<A>; }

// c[R, V vectors] = a b, a element (m,k) at a[m*am + k*ak].
template <int R, int V, class A>
void product_tile(std::int64_t K, const A* a, std::int64_t am, std::int64_t ak, const A* b, std::int64_t ldb, A* c, std::int64_t ldc) {
    using Vec = typename Lanes<A>::type;
    Vec sum[R][V] = {};
    for (std::int64_t k = 0; k < K; ++k)
        for (int v = 0; v < V; ++v) {
            const Vec x = *reinterpret_cast<const Vec*>(b + k * ldb + v * kLanes<A>);
            for (int r = 0; r < R; ++r) sum[r][v] += a[r * am + k * ak] * x;
        }
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) *reinterpret_cast<Vec*>(c + r * ldc + v * kLanes<A>) = sum[r][v];
}
// All rows of V vectors of columns, R at a time and the rest by half as many: b's columns stay in L1.
template <int R, int V, class A>
void product_columns(std::int64_t M, std::int64_t K, const A* a, std::int64_t am, std::int64_t ak, const A* b, std::int64_t ldb, A* c, std::int64_t ldc) {
    std::int64_t m = 0;
    for (; m + R <= M; m += R) product_tile<R, V>(K, a + m * am, am, ak, b, ldb, c + m * ldc, ldc);
    if constexpr (R > 1) product_columns<R / 2, V>(M - m, K, a + m * am, am, ak, b, ldb, c + m * ldc, ldc);
}
// c[M, N] = a b; N is whole vectors.
template <class A>
void product(std::int64_t M, std::int64_t N, std::int64_t K, const A* a, std::int64_t am, std::int64_t ak, const A* b, std::int64_t ldb, A* c, std::int64_t ldc) {
    std::int64_t n = 0;
    for (; n + 2 * kLanes<A> <= N; n += 2 * kLanes<A>) product_columns<8, 2>(M, K, a, am, ak, b + n, ldb, c + n, ldc);
    if (n < N) product_columns<8, 1>(M, K, a, am, ak, b + n, ldb, c + n, ldc);
}

template <class A> struct Tile {  // [rows][ld], reused from call to call
    std::vector<A> data;
    std::int64_t ld = 0;
    void shape(std::int64_t rows, std::int64_t cols) {  // each row's last vector becomes 0, and with it what pads the row
        ld = std::max(kLanes<A>, padded<A>(cols));
        data.resize(std::size_t(rows * ld));
        for (std::int64_t r = 0; r < rows; ++r) *reinterpret_cast<typename Lanes<A>::type*>(row(r) + ld - kLanes<A>) = typename Lanes<A>::type{};
    }
    A* row(std::int64_t r) { return data.data() + r * ld; }
    void zero() { std::fill(data.begin(), data.end(), A(0)); }
};

template <class T, class A>
void load(Tile<A>& tile, const View& v, std::int64_t first, std::int64_t n, std::int64_t col, std::int64_t D) {
    tile.shape(n, D);
    for (std::int64_t r = 0; r < n; ++r) {
        const T* x = row<T>(v, first + r) + col;
        A* to = tile.row(r);
#pragma omp simd
        for (std::int64_t d = 0; d < D; ++d) to[d] = A(x[d]);
    }
}
template <class T, class A>
void load_transposed(Tile<A>& tile, const View& v, std::int64_t first, std::int64_t n, std::int64_t col, std::int64_t D) {
    tile.shape(D, n);
    for (std::int64_t r = 0; r < n; ++r) {
        const T* x = row<T>(v, first + r) + col;
        A* to = tile.row(0) + r;
        for (std::int64_t d = 0; d < D; ++d) to[d * tile.ld] = A(x[d]);
    }
}

// out rows [first, first+n), columns of head h (+)= tile
template <class T, class A>
void put(const Out& o, std::int64_t first, std::int64_t n, std::int64_t col, std::int64_t D, Tile<A>& tile) {
    if (o.mode == Mode::skip) return;
    for (std::int64_t r = 0; r < n; ++r) {
        T* y = row<T>(o, first + r) + col;
        const A* x = tile.row(r);
        if (o.mode == Mode::accumulate)
#pragma omp simd
            for (std::int64_t d = 0; d < D; ++d) store(y[d], A(y[d]) + x[d]);
        else
#pragma omp simd
            for (std::int64_t d = 0; d < D; ++d) store(y[d], x[d]);
    }
}

struct Seq { std::int64_t q, nq, o, k, nk; };
Seq sequence(const AttentionSeqs& s, std::int64_t b) {
    const auto i32 = [&](const View& v) { return std::int64_t(ptr<std::int32_t>(v)[b]); };
    return {i32(s.q_begin), i32(s.q_len), i32(s.o_begin), i32(s.k_begin), i32(s.k_len)};
}

template <class A> struct Scratch { Tile<A> q, k, v, s, o, dp, dk, dv; };

// Rows of s become softmax(scale s); keys behind a causal query get 0. lse[i] = log sum exp. Loops run over whole vectors.
template <class A>
void softmax_rows(Tile<A>& s, const Seq& q, double scale, bool causal, A* lse, std::int64_t lse_pitch) {
    const int ld = int(s.ld);
    for (std::int64_t i = 0; i < q.nq; ++i) {
        A* p = s.row(i);
        const int n = int(causal ? std::min(q.nk, i + 1) : q.nk);
        A hi = A(scale) * p[0], sum = 0;
#pragma omp simd reduction(max : hi)
        for (int j = 0; j < ld; ++j) {
            p[j] = j < n ? A(scale) * p[j] : -std::numeric_limits<A>::infinity();
            hi = p[j] > hi ? p[j] : hi;
        }
#pragma omp simd reduction(+ : sum)
        for (int j = 0; j < ld; ++j) sum += (p[j] = exp_(p[j] - hi));
        const A r = A(1) / sum;
#pragma omp simd
        for (int j = 0; j < ld; ++j) p[j] = j < n ? r * p[j] : A(0);
        if (lse) lse[i * lse_pitch] = hi + std::log(sum);
    }
}

template <class T, class A>
void forward_one(const AttentionFwd& a, const Seq& s, int h, std::int64_t D, Scratch<A>& t) {
    load<T>(t.q, a.q, s.q, s.nq, h * D, D);
    load_transposed<T>(t.k, a.k, s.k, s.nk, h * D, D);
    load<T>(t.v, a.v, s.k, s.nk, h * D, D);
    t.s.shape(s.nq, s.nk);
    product(s.nq, t.s.ld, D, t.q.row(0), t.q.ld, std::int64_t(1), t.k.row(0), t.k.ld, t.s.row(0), t.s.ld);
    softmax_rows(t.s, s, a.scale, a.causal, ptr<A>(a.lse) + s.o * a.heads + h, std::int64_t(a.heads));
    t.o.shape(s.nq, D);
    product(s.nq, t.o.ld, s.nk, t.s.row(0), t.s.ld, std::int64_t(1), t.v.row(0), t.v.ld, t.o.row(0), t.o.ld);
    put<T>(a.y, s.o, s.nq, h * D, D, t.o);
}

// p = exp(scale q k^T - lse) again, then dp = dy v^T, ds = scale p (dp - delta), dq = ds k, dk = ds^T q, dv = p^T dy.
// Leaves dq in t.o, dk in t.dk, dv in t.dv.
template <class T, class A>
void backward_one(const AttentionBwd& a, const Seq& s, int h, std::int64_t D, Scratch<A>& t) {
    load<T>(t.q, a.q, s.q, s.nq, h * D, D);
    load_transposed<T>(t.k, a.k, s.k, s.nk, h * D, D);
    t.s.shape(s.nq, s.nk);
    product(s.nq, t.s.ld, D, t.q.row(0), t.q.ld, std::int64_t(1), t.k.row(0), t.k.ld, t.s.row(0), t.s.ld);
    for (std::int64_t i = 0; i < s.nq; ++i) {
        const A lse = ptr<A>(a.lse)[(s.o + i) * a.heads + h];
        const int n = int(a.causal ? std::min(s.nk, i + 1) : s.nk);
        A* p = t.s.row(i);
#pragma omp simd
        for (int j = 0; j < int(t.s.ld); ++j) p[j] = j < n ? exp_(A(a.scale) * p[j] - lse) : A(0);
    }
    Tile<A>& dy = t.v;  // first v^T for dp, then dy itself for dv
    Tile<A>& dyq = t.o;
    load<T>(dyq, a.dy, s.o, s.nq, h * D, D);
    load_transposed<T>(dy, a.v, s.k, s.nk, h * D, D);
    t.dp.shape(s.nq, s.nk);
    product(s.nq, t.dp.ld, D, dyq.row(0), dyq.ld, std::int64_t(1), dy.row(0), dy.ld, t.dp.row(0), t.dp.ld);
    t.dv.shape(s.nk, D);
    product(s.nk, t.dv.ld, s.nq, t.s.row(0), std::int64_t(1), t.s.ld, dyq.row(0), dyq.ld, t.dv.row(0), t.dv.ld);
    for (std::int64_t i = 0; i < s.nq; ++i) {
        A delta = 0;
        const T* y = row<T>(a.y, s.o + i) + h * D;
        const A* g = dyq.row(i);
#pragma omp simd reduction(+ : delta)
        for (std::int64_t d = 0; d < D; ++d) delta += g[d] * A(y[d]);
        A *dp = t.dp.row(i), *p = t.s.row(i);
#pragma omp simd
        for (std::int64_t j = 0; j < t.dp.ld; ++j) dp[j] = A(a.scale) * p[j] * (dp[j] - delta);
    }
    t.dk.shape(s.nk, D);
    product(s.nk, t.dk.ld, s.nq, t.dp.row(0), std::int64_t(1), t.dp.ld, t.q.row(0), t.q.ld, t.dk.row(0), t.dk.ld);
    load<T>(t.k, a.k, s.k, s.nk, h * D, D);
    t.o.shape(s.nq, D);
    product(s.nq, t.o.ld, s.nk, t.dp.row(0), t.dp.ld, std::int64_t(1), t.k.row(0), t.k.ld, t.o.row(0), t.o.ld);
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
                    load<T>(t.q, a.q, s.q, s.nq, h * D, D);
                    load_transposed<T>(t.k, a.k, s.k, s.nk, h * D, D);
                    t.s.shape(s.nq, s.nk);
                    product(s.nq, t.s.ld, D, t.q.row(0), t.q.ld, std::int64_t(1), t.k.row(0), t.k.ld, t.s.row(0), t.s.ld);
                    softmax_rows<A>(t.s, s, a.scale, false, nullptr, 0);
                    for (std::int64_t r = 0; r < s.nq; ++r)
                        for (std::int64_t j = 0; j < s.nk; ++j) row<A>(a.map, s.o + r)[j] += t.s.row(r)[j] / A(a.heads);
                }
            }
        });
    });
}

}  // namespace eng::cpu
