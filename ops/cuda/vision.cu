// Average pooling, and the tokens of the attention pool: a picture's mean before its pixels, positions added.
//
//   avg_pool         y[b, oy, ox] = mean of x over a window of k x k; windows do not overlap, what fills none is dropped
//   mean positions   y[b, 0] = mean over p of x[b,p] + pos[0];   y[b, 1+p] = x[b,p] + pos[1+p]
//
// Work split   a thread per four neighbouring channels (or one) of an output; neighbours of a warp are neighbours in memory.
// Traffic      inputs and outputs once each (the mean reads its picture once more); 1 to 2 FLOPs an element.
// Numerics     f32, one rounding. Determinism: one owner per element, sums in order.
// Limits       fewer than 2^31 pixels; f32 and bf16.
#include "ops/cuda/kernel.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = 256;

// The first of the V elements that this thread owns.
template <int V> __device__ __forceinline__ std::int64_t element() { return (std::int64_t(blockIdx.x) * kThreads + threadIdx.x) * V; }
template <int V> __device__ __forceinline__ void add_to(Vec<float, V>& sum, const Vec<float, V>& x, float s = 1.f) {
#pragma unroll
    for (int j = 0; j < V; ++j) sum[j] += s * x[j];
}

template <class T, int V> __global__ void __launch_bounds__(kThreads) avg_pool_forward_kernel(AvgPoolFwd a, float share) {
    in_turn();
    const std::int64_t i = element<V>(), pixel = i / a.y.cols, c = i % a.y.cols;
    if (pixel >= a.y.rows) return;
    const int k = a.kernel, oh = a.height / k, ow = a.width / k, at = int(pixel);
    const std::int64_t first = (at / (oh * ow) * a.height + at / ow % oh * k) * a.width + at % ow * k;
    Vec<float, V> sum{};
    for (int y = 0; y < k; ++y)
        for (int x = 0; x < k; ++x) add_to<V>(sum, read<V>(row<T>(a.x, first + y * a.width + x) + c));
    for (int j = 0; j < V; ++j) sum[j] *= share;
    emit<V>(a.y, i, sum);
}

template <class T, int V> __global__ void __launch_bounds__(kThreads) avg_pool_backward_kernel(AvgPoolBwd a) {
    in_turn();
    const std::int64_t i = element<V>(), pixel = i / a.dx.cols, c = i % a.dx.cols;
    if (pixel >= a.dx.rows) return;
    const int k = a.kernel, oh = a.height / k, ow = a.width / k, at = int(pixel), oy = at / a.width % a.height / k, ox = at % a.width / k;
    Vec<float, V> dx{};
    if (oy < oh && ox < ow) add_to<V>(dx, read<V>(row<T>(a.dy, (at / (a.height * a.width) * oh + oy) * ow + ox) + c), 1.f / float(k * k));
    emit<V>(a.dx, i, dx);
}

template <class T, int V> __global__ void __launch_bounds__(kThreads) mean_positions_forward_kernel(MeanPositionsFwd a) {
    in_turn();
    const std::int64_t i = element<V>(), token = i / a.y.cols, c = i % a.y.cols, L = a.pos.rows, P = L - 1;
    if (token >= a.y.rows) return;
    const std::int64_t image = token / L, p = token % L;
    Vec<float, V> y{};
    for (std::int64_t j = p ? p - 1 : 0; j < (p ? p : P); ++j) add_to<V>(y, read<V>(row<T>(a.x, image * P + j) + c));
    if (!p)
        for (int j = 0; j < V; ++j) y[j] /= float(P);
    add_to<V>(y, read<V>(row<T>(a.pos, p) + c));
    emit<V>(a.y, i, y);
}

template <class T, int V> __global__ void __launch_bounds__(kThreads) mean_positions_dx_kernel(MeanPositionsBwd a) {
    in_turn();
    const std::int64_t i = element<V>(), r = i / a.dx.cols, c = i % a.dx.cols, P = a.positions, image = r / P;
    if (r >= a.dx.rows) return;
    Vec<float, V> dx = read<V>(row<T>(a.dy, r + image + 1) + c);
    add_to<V>(dx, read<V>(row<T>(a.dy, image * (P + 1)) + c), 1.f / float(P));
    emit<V>(a.dx, i, dx);
}

template <class T, int V> __global__ void __launch_bounds__(kThreads) mean_positions_dpos_kernel(MeanPositionsBwd a) {
    in_turn();
    const std::int64_t i = element<V>(), size = a.dpos.numel();
    if (i >= size) return;
    Vec<float, V> sum{};
    for (std::int64_t image = 0; image < a.dy.numel() / size; ++image) add_to<V>(sum, read<V>(ptr<T>(a.dy) + image * size + i));
    emit<V>(a.dpos, i, sum);
}

}  // namespace

void avg_pool_forward(const AvgPoolFwd& a) {
    dispatch(a.x.dtype, in_fours(a.x.cols, {&a.x, &a.y}), "avg_pool", [&](auto tag, auto v) {
        launch<avg_pool_forward_kernel<decltype(tag), v>>({ceil_div(a.y.numel(), kThreads * v), kThreads}, a, 1.f / float(a.kernel * a.kernel));
    });
}

void avg_pool_backward(const AvgPoolBwd& a) {
    if (a.dx.mode == Mode::skip) return;
    dispatch(a.dy.dtype, in_fours(a.dx.cols, {&a.dy, &a.dx}), "avg_pool", [&](auto tag, auto v) {
        launch<avg_pool_backward_kernel<decltype(tag), v>>({ceil_div(a.dx.numel(), kThreads * v), kThreads}, a);
    });
}

void mean_positions_forward(const MeanPositionsFwd& a) {
    dispatch(a.x.dtype, in_fours(a.x.cols, {&a.x, &a.pos, &a.y}), "add_mean_and_positions", [&](auto tag, auto v) {
        launch<mean_positions_forward_kernel<decltype(tag), v>>({ceil_div(a.y.numel(), kThreads * v), kThreads}, a);
    });
}

void mean_positions_backward(const MeanPositionsBwd& a) {
    const auto run = [&](const Out& o, auto&& kernel) {
        if (o.mode != Mode::skip) dispatch(a.dy.dtype, in_fours(a.dy.cols, {&a.dy, &o}), "add_mean_and_positions", kernel);
    };
    run(a.dx, [&](auto tag, auto v) {
        launch<mean_positions_dx_kernel<decltype(tag), v>>({ceil_div(a.dx.numel(), kThreads * v), kThreads}, a);
    });
    run(a.dpos, [&](auto tag, auto v) {
        launch<mean_positions_dpos_kernel<decltype(tag), v>>({ceil_div(a.dpos.numel(), kThreads * v), kThreads}, a);
    });
}

}  // namespace eng::cuda
