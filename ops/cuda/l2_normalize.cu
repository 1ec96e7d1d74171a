// l2 norm      y = x / |x|,  dx = (dy - y (y.dy)) / |x|        per row
//
// Work split   a warp per row, its lanes over the columns in vectors of four; a row is read again for each pass, from L1.
// Traffic      forward reads x and writes y, backward reads dy and y and writes dx: 2 and 3 N C elements, 3 and 6 FLOPs each: bound by memory.
// Determinism  no atomics: a row has one warp.
// Limits       any width and number of rows; f32 and bf16. A row of zeros has y = 0.
#include "ops/cuda/kernel.h"

namespace eng::cuda {
namespace {

template <class T, int V> __global__ void __launch_bounds__(kWarps * 32) l2_normalize_forward_kernel(L2NormalizeFwd a) {
    in_turn();
    const std::int64_t n = warp_row(), C = a.x.cols;
    if (n >= a.x.rows) return;
    float square = 0;
    for_columns<V>(C, [&](std::int64_t c) {
        const Vec<float, V> x = read<V>(row<T>(a.x, n) + c);
        for (int j = 0; j < V; ++j) square += x[j] * x[j];
    });
    square = warp_sum(square);
    const float r = square > 0 ? 1.f / sqrtf(square) : square == 0 ? 0.f : square;  // NaN stays NaN
    for_columns<V>(C, [&](std::int64_t c) {
        Vec<float, V> y = read<V>(row<T>(a.x, n) + c);
        for (int j = 0; j < V; ++j) y[j] *= r;
        emit<V>(a.y, n * C + c, y);
    });
    if (lane() == 0) ptr<float>(a.rnorm)[n] = r;
}

template <class T, int V> __global__ void __launch_bounds__(kWarps * 32) l2_normalize_backward_kernel(L2NormalizeBwd a) {
    in_turn();
    const std::int64_t n = warp_row(), C = a.y.cols;
    if (n >= a.y.rows) return;
    float along = 0;
    for_columns<V>(C, [&](std::int64_t c) {
        const Vec<float, V> y = read<V>(row<T>(a.y, n) + c), dy = read<V>(row<T>(a.dy, n) + c);
        for (int j = 0; j < V; ++j) along += y[j] * dy[j];
    });
    along = warp_sum(along);
    const float r = ptr<float>(a.rnorm)[n];
    for_columns<V>(C, [&](std::int64_t c) {
        const Vec<float, V> y = read<V>(row<T>(a.y, n) + c);
        Vec<float, V> dx = read<V>(row<T>(a.dy, n) + c);
        for (int j = 0; j < V; ++j) dx[j] = r * (dx[j] - y[j] * along);
        emit<V>(a.dx, n * C + c, dx);
    });
}

}  // namespace

void l2_normalize_forward(const L2NormalizeFwd& a) {
    dispatch(a.x.dtype, in_fours(a.x.cols, {&a.x, &a.y}), "l2_normalize", [&](auto tag, auto v) {
        launch<l2_normalize_forward_kernel<decltype(tag), v>>(warp_per_row(a.x.rows), a);
    });
}

void l2_normalize_backward(const L2NormalizeBwd& a) {
    if (a.dx.mode == Mode::skip) return;
    dispatch(a.y.dtype, in_fours(a.y.cols, {&a.y, &a.dy, &a.dx}), "l2_normalize", [&](auto tag, auto v) {
        launch<l2_normalize_backward_kernel<decltype(tag), v>>(warp_per_row(a.y.rows), a);
    });
}

}  // namespace eng::cuda
