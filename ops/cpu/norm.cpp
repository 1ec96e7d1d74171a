// Layer norm, also with the max over rows behind it, and l2 normalisation over rows. Variance takes a second pass: E[x^2]-E[x]^2 cancels when |mean| >> std.
#include <cmath>
#include <limits>

#include "ops/cpu/math.h"
#include "ops/cpu/store.h"

namespace eng::cpu {
namespace {

template <class A> struct Stats { A mean, rstd; };
template <class A, class T>
Stats<A> stats_of(const T* x, std::int64_t C, float eps) {
    A sum = 0, sq = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t c = 0; c < C; ++c) sum += A(x[c]);
    const A mean = sum / A(C);
#pragma omp simd reduction(+ : sq)
    for (std::int64_t c = 0; c < C; ++c) sq += (A(x[c]) - mean) * (A(x[c]) - mean);
    return {mean, A(1) / std::sqrt(sq / A(C) + A(eps))};
}

// With xhat = (x-mean) rstd and g = dy gamma:  dx = rstd (g - mean(g) - xhat mean(g xhat)).  gamma belongs inside both
// means.  dgamma = sum_n dy xhat, dbeta = sum_n dy.  dy_of(n)(c) is dy.
template <class T, class DyOf>
void layer_norm_backward_of(const LayerNormBwd& a, DyOf&& dy_of) {
    using A = acc_t<T>;
    const std::int64_t C = a.x.cols;
    const T* gamma = ptr<T>(a.gamma);
    std::vector<A> total;
    chunked_sums<A>(a.x.rows, 2 * C, total, [&](std::int64_t b, std::int64_t e, A* part) {
        for (std::int64_t n = b; n < e; ++n) {
            const T* x = row<T>(a.x, n);
            const auto dy = dy_of(n);
            const A mean = ptr<A>(a.mean)[n], rstd = ptr<A>(a.rstd)[n];
            A mg = 0, mgx = 0;
#pragma omp simd reduction(+ : mg, mgx)
            for (std::int64_t c = 0; c < C; ++c) {
                const A xhat = (A(x[c]) - mean) * rstd, d = dy(c), g = d * A(gamma[c]);
                mg += g;
                mgx += g * xhat;
                part[c] += d * xhat;
                part[C + c] += d;
            }
            mg /= A(C);
            mgx /= A(C);
            if (a.dx.mode != Mode::skip)
                emit_range<T>(a.dx, n * C, (n + 1) * C, [&](std::int64_t i) {
                    const std::int64_t c = i - n * C;
                    return rstd * (dy(c) * A(gamma[c]) - mg - (A(x[c]) - mean) * rstd * mgx);
                });
        }
    });
    emit(a.dgamma, 0, C, [&](std::int64_t c) { return total[c]; });
    emit(a.dbeta, 0, C, [&](std::int64_t c) { return total[C + c]; });
}

}  // namespace

void layer_norm_forward(const LayerNormFwd& a) {
    dispatch_float(a.x.dtype, "layer_norm", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t C = a.x.cols;
        const T *gamma = ptr<T>(a.gamma), *beta = ptr<T>(a.beta);
        parallel_for(a.x.rows, row_grain(C), [&](std::int64_t b, std::int64_t e) {
            for (std::int64_t n = b; n < e; ++n) {
                const T* x = row<T>(a.x, n);
                T* y = row<T>(a.y, n);
                const auto [mean, rstd] = stats_of<A>(x, C, a.eps);
                ptr<A>(a.mean)[n] = mean, ptr<A>(a.rstd)[n] = rstd;
#pragma omp simd
                for (std::int64_t c = 0; c < C; ++c) store(y[c], (A(x[c]) - mean) * rstd * A(gamma[c]) + A(beta[c]));
            }
        });
    });
}

void layer_norm_backward(const LayerNormBwd& a) {
    dispatch_float(a.x.dtype, "layer_norm", [&](auto tag) {
        using T = decltype(tag);
        layer_norm_backward_of<T>(a, [&](std::int64_t n) { return [dy = row<T>(a.dy, n)](std::int64_t c) { return acc_t<T>(dy[c]); }; });
    });
}

void layer_norm_max_forward(const LayerNormMaxFwd& a) {
    dispatch_float(a.x.dtype, "layer_norm_max", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t C = a.x.cols, rows = a.x.rows / a.y.rows;
        const T *gamma = ptr<T>(a.gamma), *beta = ptr<T>(a.beta);
        parallel_for(a.y.rows, 1, [&](std::int64_t b, std::int64_t e) {
            std::vector<A> most(static_cast<std::size_t>(C));
            for (std::int64_t s = b; s < e; ++s) {
                auto* at = row<std::int32_t>(a.argmax, s);
                A* best = most.data();
                std::fill_n(best, C, -std::numeric_limits<A>::infinity());
                std::fill_n(at, C, std::int32_t(s * rows));
                for (std::int64_t n = s * rows; n < (s + 1) * rows; ++n) {
                    const T* x = row<T>(a.x, n);
                    const auto [mean, rstd] = stats_of<A>(x, C, a.eps);
                    ptr<A>(a.mean)[n] = mean, ptr<A>(a.rstd)[n] = rstd;
#pragma omp simd
                    for (std::int64_t c = 0; c < C; ++c) {
                        const A v = (A(x[c]) - mean) * rstd * A(gamma[c]) + A(beta[c]);
                        const bool wins = beats(v, best[c]);
                        best[c] = wins ? v : best[c], at[c] = wins ? std::int32_t(n) : at[c];
                    }
                }
                for (std::int64_t c = 0; c < C; ++c) store(row<T>(a.y, s)[c], best[c]);
            }
        });
    });
}

void layer_norm_max_backward(const LayerNormMaxBwd& a) {
    dispatch_float(a.norm.x.dtype, "layer_norm_max", [&](auto tag) {
        using T = decltype(tag);
        const std::int64_t rows = a.norm.x.rows / a.argmax.rows;
        layer_norm_backward_of<T>(a.norm, [&](std::int64_t n) {
            return [dy = row<T>(a.norm.dy, n / rows), at = row<std::int32_t>(a.argmax, n / rows), n = std::int32_t(n)](std::int64_t c) { return at[c] == n ? acc_t<T>(dy[c]) : acc_t<T>(0); };
        });
    });
}

void l2_normalize_forward(const L2NormalizeFwd& a) {
    dispatch_float(a.x.dtype, "l2_normalize", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t C = a.x.cols;
        parallel_for(a.x.rows, row_grain(C), [&](std::int64_t b, std::int64_t e) {
            for (std::int64_t n = b; n < e; ++n) {
                const T* x = row<T>(a.x, n);
                const A sq = dot<T, A>(x, x, C), r = sq > 0 ? A(1) / std::sqrt(sq) : (sq == 0 ? A(0) : sq);
                ptr<A>(a.rnorm)[n] = r;
                for (std::int64_t c = 0; c < C; ++c) store(row<T>(a.y, n)[c], A(x[c]) * r);
            }
        });
    });
}

// dx = (dy - y (y.dy)) / |x|
void l2_normalize_backward(const L2NormalizeBwd& a) {
    dispatch_float(a.y.dtype, "l2_normalize", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t C = a.y.cols;
        parallel_for(a.y.rows, row_grain(C), [&](std::int64_t b, std::int64_t e) {
            for (std::int64_t n = b; n < e; ++n) {
                const T *y = row<T>(a.y, n), *dy = row<T>(a.dy, n);
                const A along = dot<T, A>(y, dy, C), r = ptr<A>(a.rnorm)[n];
                emit_range<T>(a.dx, n * C, (n + 1) * C, [&](std::int64_t i) { return r * (A(dy[i - n * C]) - A(y[i - n * C]) * along); });
            }
        });
    });
}

}  // namespace eng::cpu
