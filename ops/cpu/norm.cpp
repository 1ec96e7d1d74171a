// Layer norm and l2 normalisation over rows. Variance takes a second pass: E[x^2]-E[x]^2 cancels when |mean| >> std.
#include <cmath>

#include "ops/cpu/math.h"
#include "ops/cpu/store.h"

namespace eng::cpu {
namespace {
std::int64_t row_grain(std::int64_t cols) { return std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, cols)); }
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
                A sum = 0, sq = 0;
#pragma omp simd reduction(+ : sum)
                for (std::int64_t c = 0; c < C; ++c) sum += A(x[c]);
                const A mean = sum / A(C);
#pragma omp simd reduction(+ : sq)
                for (std::int64_t c = 0; c < C; ++c) sq += (A(x[c]) - mean) * (A(x[c]) - mean);
                const A rstd = A(1) / std::sqrt(sq / A(C) + A(a.eps));
                ptr<A>(a.mean)[n] = mean;
                ptr<A>(a.rstd)[n] = rstd;
#pragma omp simd
                for (std::int64_t c = 0; c < C; ++c) store(y[c], (A(x[c]) - mean) * rstd * A(gamma[c]) + A(beta[c]));
            }
        });
    });
}

// With xhat = (x-mean) rstd and g = dy gamma:  dx = rstd (g - mean(g) - xhat mean(g xhat)).  gamma belongs inside both
// means.  dgamma = sum_n dy xhat, dbeta = sum_n dy.
void layer_norm_backward(const LayerNormBwd& a) {
    dispatch_float(a.x.dtype, "layer_norm", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t C = a.x.cols;
        const T* gamma = ptr<T>(a.gamma);
        std::vector<A> total;
        chunked_sums<A>(a.x.rows, 2 * C, total, [&](std::int64_t b, std::int64_t e, A* part) {
            for (std::int64_t n = b; n < e; ++n) {
                const T *x = row<T>(a.x, n), *dy = row<T>(a.dy, n);
                const A mean = ptr<A>(a.mean)[n], rstd = ptr<A>(a.rstd)[n];
                A mg = 0, mgx = 0;
#pragma omp simd reduction(+ : mg, mgx)
                for (std::int64_t c = 0; c < C; ++c) {
                    const A xhat = (A(x[c]) - mean) * rstd, g = A(dy[c]) * A(gamma[c]);
                    mg += g;
                    mgx += g * xhat;
                    part[c] += A(dy[c]) * xhat;
                    part[C + c] += A(dy[c]);
                }
                mg /= A(C);
                mgx /= A(C);
                if (a.dx.mode != Mode::skip)
                    emit_range<T>(a.dx, n * C, (n + 1) * C, [&](std::int64_t i) {
                        const std::int64_t c = i - n * C;
                        return rstd * (A(dy[c]) * A(gamma[c]) - mg - (A(x[c]) - mean) * rstd * mgx);
                    });
            }
        });
        emit(a.dgamma, 0, C, [&](std::int64_t c) { return total[c]; });
        emit(a.dbeta, 0, C, [&](std::int64_t c) { return total[C + c]; });
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
