// Batch norm per channel, rows are pixels:  y = gamma (x - mean) rstd + beta
//
//      trained   mean, variance of these rows; the running ones move towards them (the variance unbiased)
//                dx = gamma rstd (dy - (dbeta + xhat dgamma) / N),   xhat = (x - mean) rstd
//      frozen    the running statistics;  dx = gamma rstd dy
//      both      dgamma = sum over rows of dy xhat,  dbeta = sum over rows of dy
//
// Work split   statistics and parameter gradients: column_sums.h. Element by element: a thread per four channels (or one).
// Traffic      forward x once (trained: three times) and y once; backward dy and x twice (dx alone, frozen: dy once) and dx
//              once. About 10 FLOPs an element: bound by memory.
// Numerics     f32; the variance takes a pass of its own, never E[x^2]-E[x]^2, which cancels where |mean| >> deviation.
// Determinism  no atomics; the order of sums depends on the number of rows alone.
// Limits       any size; f32 and bf16; statistics are f32.
#include "ops/cuda/column_sums.h"
#include "ops/cuda/cudnn.h"
#include "ops/provider.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = 256;

// Sums of x, or where `mean` is given of (x - mean)^2.
template <class T> __global__ void __launch_bounds__(kColumns * kRowLanes) channel_sums_kernel(View x, const float* mean, float* partial) {
    in_turn();
    sum_chunk<1>(x.rows, x.cols, partial, [&](std::int64_t n, std::int64_t c, float (&s)[1]) {
        const float v = float(row<T>(x, n)[c]), d = mean ? v - mean[c] : v;
        s[0] += mean ? d * d : v;
    });
}

__device__ float total_of(const float* partial, int chunks, std::int64_t pitch, std::int64_t c) {
    float total = 0;
    for (int k = 0; k < chunks; ++k) total += partial[k * pitch + c];
    return total;
}

__global__ void __launch_bounds__(kThreads) mean_kernel(BatchNormFwd a, const float* partial, int chunks) {
    in_turn();
    const std::int64_t c = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (c >= a.x.cols) return;
    const float mean = total_of(partial, chunks, a.x.cols, c) / float(a.x.rows), old = ptr<float>(a.running_mean)[c];
    ptr<float>(a.mean)[c] = mean;
    ptr<float>(a.running_mean)[c] = old + a.momentum * (mean - old);
}

__global__ void __launch_bounds__(kThreads) deviation_kernel(BatchNormFwd a, const float* partial, int chunks) {
    in_turn();
    const std::int64_t c = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (c >= a.x.cols) return;
    const float square = total_of(partial, chunks, a.x.cols, c), old = ptr<float>(a.running_var)[c];
    ptr<float>(a.rstd)[c] = 1.f / sqrtf(square / float(a.x.rows) + a.eps);
    ptr<float>(a.running_var)[c] = old + a.momentum * (square / float(a.x.rows - 1) - old);
}

__global__ void __launch_bounds__(kThreads) running_statistics_kernel(BatchNormFwd a) {
    in_turn();
    const std::int64_t c = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (c >= a.x.cols) return;
    ptr<float>(a.mean)[c] = ptr<float>(a.running_mean)[c];
    ptr<float>(a.rstd)[c] = 1.f / sqrtf(ptr<float>(a.running_var)[c] + a.eps);
}

template <class T, int V> __global__ void __launch_bounds__(kThreads) batch_norm_forward_kernel(BatchNormFwd a) {
    in_turn();
    const std::int64_t i = (std::int64_t(blockIdx.x) * kThreads + threadIdx.x) * V, c = i % a.x.cols;
    if (i >= a.x.numel()) return;
    const Vec<float, V> x = read<V>(ptr<T>(a.x) + i), gamma = read<V>(ptr<T>(a.gamma) + c), beta = read<V>(ptr<T>(a.beta) + c);
    const Vec<float, V> mean = read<V>(ptr<float>(a.mean) + c), rstd = read<V>(ptr<float>(a.rstd) + c);
    Vec<float, V> y;
    for (int j = 0; j < V; ++j) y[j] = (x[j] - mean[j]) * rstd[j] * gamma[j] + beta[j];
    emit<V>(a.y, i, y);
}

template <class T> __global__ void __launch_bounds__(kColumns * kRowLanes) batch_norm_affine_kernel(BatchNormBwd a, float* partial) {
    in_turn();
    sum_chunk<2>(a.x.rows, a.x.cols, partial, [&](std::int64_t n, std::int64_t c, float (&s)[2]) {
        const float dy = float(row<T>(a.dy, n)[c]);
        s[0] += dy * (float(row<T>(a.x, n)[c]) - ptr<float>(a.mean)[c]) * ptr<float>(a.rstd)[c];
        s[1] += dy;
    });
}

// totals [2, C]: what dgamma and dbeta gain, kept for dx
__global__ void __launch_bounds__(kThreads) batch_norm_totals_kernel(BatchNormBwd a, const float* partial, int chunks, float* totals) {
    in_turn();
    const std::int64_t c = std::int64_t(blockIdx.x) * kThreads + threadIdx.x, C = a.x.cols;
    if (c >= C) return;
    const float dgamma = total_of(partial, chunks, 2 * C, c), dbeta = total_of(partial, chunks, 2 * C, C + c);
    totals[c] = dgamma, totals[C + c] = dbeta;
    emit(a.dgamma, c, dgamma);
    emit(a.dbeta, c, dbeta);
}

// totals: null where the statistics do not depend on x
template <class T, int V> __global__ void __launch_bounds__(kThreads) batch_norm_dx_kernel(BatchNormBwd a, const float* totals) {
    in_turn();
    const std::int64_t i = (std::int64_t(blockIdx.x) * kThreads + threadIdx.x) * V, C = a.x.cols, c = i % C;
    if (i >= a.x.numel()) return;
    Vec<float, V> g = read<V>(ptr<T>(a.dy) + i);
    const Vec<float, V> gamma = read<V>(ptr<T>(a.gamma) + c), rstd = read<V>(ptr<float>(a.rstd) + c);
    if (totals) {
        const Vec<float, V> x = read<V>(ptr<T>(a.x) + i), mean = read<V>(ptr<float>(a.mean) + c);
        const Vec<float, V> dgamma = read<V>(totals + c), dbeta = read<V>(totals + C + c);
        for (int j = 0; j < V; ++j) g[j] -= (dbeta[j] + (x[j] - mean[j]) * rstd[j] * dgamma[j]) / float(a.x.rows);
    }
    for (int j = 0; j < V; ++j) g[j] *= gamma[j] * rstd[j];
    emit<V>(a.dx, i, g);
}

Launch per_channel(const View& x) { return {ceil_div(x.cols, kThreads), kThreads}; }

void statistics(const BatchNormFwd& a) {
    if (!a.train) return launch<running_statistics_kernel>(per_channel(a.x), a);
    const int chunks = row_chunks(a.x.rows);
    const Scratch partial(std::size_t(chunks) * std::size_t(a.x.cols) * sizeof(float));
    dispatch(a.x.dtype, "batch_norm", [&](auto tag) {
        constexpr auto sums = channel_sums_kernel<decltype(tag)>;
        launch<sums>(chunk_grid(a.x.rows, a.x.cols), a.x, nullptr, partial.as<float>());
        launch<mean_kernel>(per_channel(a.x), a, partial.as<float>(), chunks);
        launch<sums>(chunk_grid(a.x.rows, a.x.cols), a.x, static_cast<const float*>(a.mean.p), partial.as<float>());
        launch<deviation_kernel>(per_channel(a.x), a, partial.as<float>(), chunks);
    });
}

}  // namespace

void batch_norm_forward(const BatchNormFwd& a) {
    if (a.train && conv_provider == Provider::cudnn) return cudnn::batch_norm_forward(a);
    statistics(a);
    dispatch(a.x.dtype, in_fours(a.x.cols, {&a.x, &a.gamma, &a.beta, &a.mean, &a.rstd, &a.y}), "batch_norm", [&](auto tag, auto v) {
        launch<batch_norm_forward_kernel<decltype(tag), v>>({ceil_div(a.x.numel(), kThreads * v), kThreads}, a);
    });
}

void batch_norm_backward(const BatchNormBwd& a) {
    if (a.train && conv_provider == Provider::cudnn) return cudnn::batch_norm_backward(a);
    const std::int64_t N = a.x.rows, C = a.x.cols;
    const bool wants_dx = a.dx.mode != Mode::skip, wants_affine = a.dgamma.mode != Mode::skip || a.dbeta.mode != Mode::skip;
    const Scratch totals(2 * std::size_t(C) * sizeof(float));
    if (wants_affine || (wants_dx && a.train)) {
        const int chunks = row_chunks(N);
        const Scratch partial(std::size_t(chunks) * 2 * std::size_t(C) * sizeof(float));
        dispatch(a.x.dtype, "batch_norm", [&](auto tag) {
            launch<batch_norm_affine_kernel<decltype(tag)>>(chunk_grid(N, C), a, partial.as<float>());
        });
        launch<batch_norm_totals_kernel>(per_channel(a.x), a, partial.as<float>(), chunks, totals.as<float>());
    }
    if (!wants_dx) return;
    const bool fours = in_fours(C, {&a.x, &a.dy, &a.gamma, &a.mean, &a.rstd, &a.dx});
    dispatch(a.x.dtype, fours, "batch_norm", [&](auto tag, auto v) {
        launch<batch_norm_dx_kernel<decltype(tag), v>>({ceil_div(a.x.numel(), kThreads * v), kThreads}, a, a.train ? totals.as<float>() : nullptr);
    });
}

}  // namespace eng::cuda
