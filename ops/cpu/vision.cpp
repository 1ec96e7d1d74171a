// Batch norm, ReLU, average pooling and the attention pool's tokens, over rows that are pixels with channels innermost.
//
// Traffic   each reads its inputs and writes its outputs once; batch norm in training reads x three times (mean, variance,
//           result), because E[x^2]-E[x]^2 cancels where |mean| >> deviation.
// Numerics  statistics in double, in a fixed number of partial sums: the same bits for any number of threads.
#include <cmath>

#include "ops/cpu/store.h"

namespace eng::cpu {
namespace {

// Per channel: sum of f(x, channel) over all rows.
template <class T, class F>
std::vector<double> channel_sums(const View& x, F&& f) {
    std::vector<double> total;
    chunked_sums<double>(x.rows, x.cols, total, [&](std::int64_t b, std::int64_t e, double* part) {
        for (std::int64_t n = b; n < e; ++n)
            for (std::int64_t c = 0; c < x.cols; ++c) part[c] += f(double(acc_t<T>(row<T>(x, n)[c])), c);
    });
    return total;
}

template <class T>
void statistics_of(const BatchNormFwd& a) {
    using A = acc_t<T>;
    const std::int64_t N = a.x.rows, C = a.x.cols;
    A *mean = ptr<A>(a.mean), *rstd = ptr<A>(a.rstd), *running_mean = ptr<A>(a.running_mean), *running_var = ptr<A>(a.running_var);
    if (!a.train) {
        for (std::int64_t c = 0; c < C; ++c) mean[c] = running_mean[c], rstd[c] = A(1 / std::sqrt(double(running_var[c]) + double(a.eps)));
        return;
    }
    std::vector<double> m = channel_sums<T>(a.x, [](double v, std::int64_t) { return v; });
    for (double& v : m) v /= double(N);
    const std::vector<double> sq = channel_sums<T>(a.x, [&](double v, std::int64_t c) { return (v - m[c]) * (v - m[c]); });
    for (std::int64_t c = 0; c < C; ++c) {
        mean[c] = A(m[c]), rstd[c] = A(1 / std::sqrt(sq[c] / double(N) + double(a.eps)));
        running_mean[c] += A(a.momentum) * (A(m[c]) - running_mean[c]);
        running_var[c] += A(a.momentum) * (A(sq[c] / double(N - 1)) - running_var[c]);
    }
}

}  // namespace

void batch_norm_forward(const BatchNormFwd& a) {
    dispatch_float(a.x.dtype, "batch_norm", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        statistics_of<T>(a);
        const std::int64_t C = a.x.cols;
        const A *mean = ptr<A>(a.mean), *rstd = ptr<A>(a.rstd);
        parallel_for(a.x.rows, row_grain(C), [&](std::int64_t b, std::int64_t e) {
            for (std::int64_t n = b; n < e; ++n) {
                const T* x = row<T>(a.x, n);
                T* y = row<T>(a.y, n);
#pragma omp simd
                for (std::int64_t c = 0; c < C; ++c) store(y[c], (A(x[c]) - mean[c]) * rstd[c] * A(ptr<T>(a.gamma)[c]) + A(ptr<T>(a.beta)[c]));
            }
        });
    });
}

// With xhat = (x - mean) rstd:  dbeta = sum dy,  dgamma = sum dy xhat,  dx = gamma rstd dy, and where the statistics are
// these rows' own, minus gamma rstd (dbeta + xhat dgamma) / N.
void batch_norm_backward(const BatchNormBwd& a) {
    dispatch_float(a.x.dtype, "batch_norm", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t N = a.x.rows, C = a.x.cols;
        const A *mean = ptr<A>(a.mean), *rstd = ptr<A>(a.rstd);
        const T* gamma = ptr<T>(a.gamma);
        std::vector<double> total;
        chunked_sums<double>(N, 2 * C, total, [&](std::int64_t b, std::int64_t e, double* part) {
            for (std::int64_t n = b; n < e; ++n)
                for (std::int64_t c = 0; c < C; ++c) {
                    const double dy = double(acc_t<T>(row<T>(a.dy, n)[c]));
                    part[c] += dy * double((A(row<T>(a.x, n)[c]) - mean[c]) * rstd[c]);
                    part[C + c] += dy;
                }
        });
        emit(a.dgamma, 0, C, [&](std::int64_t c) { return A(total[c]); });
        emit(a.dbeta, 0, C, [&](std::int64_t c) { return A(total[C + c]); });
        const A share = a.train ? A(1) / A(N) : A(0);
        emit_parallel(a.dx, a.x.numel(), [&](std::int64_t i) {
            const std::int64_t c = i % C;
            const A xhat = (A(ptr<T>(a.x)[i]) - mean[c]) * rstd[c];
            return A(gamma[c]) * rstd[c] * (A(ptr<T>(a.dy)[i]) - share * (A(total[C + c]) + xhat * A(total[c])));
        });
    });
}

void relu_forward(const ReluFwd& a) {
    dispatch_float(a.x.dtype, "relu", [&](auto tag) {
        using T = decltype(tag);
        emit_parallel(a.y, a.x.numel(), [&](std::int64_t i) { return ptr<T>(a.x)[i] < T(0) ? acc_t<T>(0) : acc_t<T>(ptr<T>(a.x)[i]); });  // NaN stays NaN
    });
}

void relu_backward(const ReluBwd& a) {
    dispatch_float(a.y.dtype, "relu", [&](auto tag) {
        using T = decltype(tag);
        emit_parallel(a.dx, a.y.numel(), [&](std::int64_t i) { return acc_t<T>(ptr<T>(a.y)[i]) > 0 ? acc_t<T>(ptr<T>(a.dy)[i]) : acc_t<T>(0); });
    });
}

void avg_pool_forward(const AvgPoolFwd& a) {
    const int k = a.kernel, oh = a.height / k, ow = a.width / k;
    dispatch_float(a.x.dtype, "avg_pool", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t C = a.x.cols;
        emit_parallel(a.y, a.y.numel(), [&](std::int64_t i) {
            const std::int64_t pixel = i / C, c = i % C, image = pixel / (oh * ow), y = pixel / ow % oh * k, x = pixel % ow * k;
            A sum = 0;
            for (int dy = 0; dy < k; ++dy)
                for (int dx = 0; dx < k; ++dx) sum += A(row<T>(a.x, (image * a.height + y + dy) * a.width + x + dx)[c]);
            return sum / A(k * k);
        });
    });
}

void avg_pool_backward(const AvgPoolBwd& a) {
    const int k = a.kernel, oh = a.height / k, ow = a.width / k;
    dispatch_float(a.dy.dtype, "avg_pool", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t C = a.dy.cols;
        emit_parallel(a.dx, a.dx.numel(), [&](std::int64_t i) {
            const std::int64_t pixel = i / C, c = i % C, image = pixel / (a.height * a.width), y = pixel / a.width % a.height / k, x = pixel % a.width / k;
            return y < oh && x < ow ? A(row<T>(a.dy, (image * oh + y) * ow + x)[c]) / A(k * k) : A(0);
        });
    });
}

void mean_positions_forward(const MeanPositionsFwd& a) {
    const std::int64_t P = a.pos.rows - 1, C = a.x.cols;
    dispatch_float(a.x.dtype, "mean_positions", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        emit_parallel(a.y, a.y.numel(), [&](std::int64_t i) {
            const std::int64_t token = i / C, c = i % C, image = token / (P + 1), p = token % (P + 1);
            const A pos = A(row<T>(a.pos, p)[c]);
            if (p > 0) return A(row<T>(a.x, image * P + p - 1)[c]) + pos;
            A sum = 0;
            for (std::int64_t j = 0; j < P; ++j) sum += A(row<T>(a.x, image * P + j)[c]);
            return sum / A(P) + pos;
        });
    });
}

void mean_positions_backward(const MeanPositionsBwd& a) {
    const std::int64_t P = a.positions, C = a.dy.cols, images = a.dy.rows / (P + 1);
    dispatch_float(a.dy.dtype, "mean_positions", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const auto dy = [&](std::int64_t image, std::int64_t token, std::int64_t c) { return A(row<T>(a.dy, image * (P + 1) + token)[c]); };
        emit_parallel(a.dx, a.dx.numel(), [&](std::int64_t i) {
            const std::int64_t image = i / C / P, p = i / C % P, c = i % C;
            return dy(image, 1 + p, c) + dy(image, 0, c) / A(P);
        });
        emit_parallel(a.dpos, a.dpos.numel(), [&](std::int64_t i) {
            A sum = 0;
            for (std::int64_t b = 0; b < images; ++b) sum += dy(b, i / C, i % C);
            return sum;
        });
    });
}

}  // namespace eng::cpu
