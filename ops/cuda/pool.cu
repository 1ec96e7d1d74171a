// Max-pool over the rows of each segment:  y[b,c] = max x[r,c],  argmax[b,c] = the first row that reaches it.
//
// Work split   a thread per (segment, column); neighbours hold neighbouring columns, so a warp reads whole lines.
// Traffic      forward reads x once; backward writes one element of dx per (segment, column), after clearing dx.
// Determinism  the first of equal rows wins; segments share no rows, so each element of dx has at most one writer.
// Limits       segments are not empty; f32 and bf16. NaN wins over every number.
#include "ops/cuda/kernel.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = 128;

template <class T> __global__ void __launch_bounds__(kThreads) segment_max_kernel(SegmentMaxFwd a) {
    in_turn();
    const std::int64_t c = std::int64_t(blockIdx.y) * kThreads + threadIdx.x, s = blockIdx.x;
    if (c >= a.y.cols) return;
    const int first = ptr<std::int32_t>(a.begin)[s], end = first + ptr<std::int32_t>(a.len)[s];
    float best = float(row<T>(a.x, first)[c]);
    int at = first;
    for (int r = first + 1; r < end; ++r) {
        const float x = float(row<T>(a.x, r)[c]);
        if (beats(x, best)) best = x, at = r;
    }
    emit(a.y, s * a.y.cols + c, best);
    ptr<std::int32_t>(a.argmax)[s * a.y.cols + c] = at;
}

template <class T> __global__ void __launch_bounds__(kThreads) segment_max_backward_kernel(SegmentMaxBwd a) {
    in_turn();
    const std::int64_t c = std::int64_t(blockIdx.y) * kThreads + threadIdx.x, s = blockIdx.x;
    if (c >= a.dy.cols) return;
    Out dx = a.dx;
    dx.mode = Mode::accumulate;  // what is not a maximum was cleared, or keeps its gradient
    emit(dx, std::int64_t(row<std::int32_t>(a.argmax, s)[c]) * dx.cols + c, float(row<T>(a.dy, s)[c]));
}

Launch grid(std::int64_t segments, std::int64_t cols) { return {{unsigned(segments), ceil_div(cols, kThreads)}, kThreads}; }

}  // namespace

void segment_max_forward(const SegmentMaxFwd& a) {
    dispatch(a.x.dtype, "segment_max", [&](auto tag) { launch<segment_max_kernel<decltype(tag)>>(grid(a.y.rows, a.y.cols), a); });
}

void segment_max_backward(const SegmentMaxBwd& a) {
    if (a.dx.mode == Mode::skip) return;
    if (a.dx.mode == Mode::write) CUDA_CHECK(cudaMemsetAsync(a.dx.p, 0, std::size_t(a.dx.numel()) * size_of(a.dx.dtype), stream()));
    dispatch(a.dy.dtype, "segment_max", [&](auto tag) {
        launch<segment_max_backward_kernel<decltype(tag)>>(grid(a.dy.rows, a.dy.cols), a);
    });
}

}  // namespace eng::cuda
