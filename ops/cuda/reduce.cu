// Sums: of everything (sum, dot), over the rows of a matrix (row_sum), along each row (row_dot).
//
// Work split   sum and dot: up to 512 blocks stride over the elements, four vectors a thread at a time, and leave a partial each, one
//              block adds those.
//              row_sum: see column_sums.h. row_dot: a warp per row.
// Traffic      each operand once; 1 or 2 FLOPs an element: bound by memory.
// Numerics     f32 sums, in many short chains rather than one long one.
// Determinism  no atomics; who adds what depends on the sizes alone, never on timing or on the GPU.
// Limits       any size; f32 and bf16; zero rows sum to zero.
#include "ops/cuda/column_sums.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = 256, kMostBlocks = 512;

template <class T, int V> __global__ void __launch_bounds__(kThreads) dot_kernel(View a, View b, float* partial) {
    in_turn();
    const std::int64_t n = a.numel(), stride = std::int64_t(gridDim.x) * kThreads * V;
    float s = 0;
    std::int64_t i = (std::int64_t(blockIdx.x) * kThreads + threadIdx.x) * V;
    const auto add = [&](auto steps) {  // asked for together: one load at a time leaves memory idle for a third of its latency
        constexpr int S = decltype(steps)::value;
        Vec<float, V> x[S], y[S];
#pragma unroll
        for (int k = 0; k < S; ++k) {
            x[k] = read<V>(ptr<T>(a) + i + k * stride);
            if (b.p) y[k] = read<V>(ptr<T>(b) + i + k * stride);
        }
#pragma unroll
        for (int k = 0; k < S; ++k)
            for (int j = 0; j < V; ++j) s += b.p ? x[k][j] * y[k][j] : x[k][j];
        i += S * stride;
    };
    while (i + 3 * stride + V <= n) add(std::integral_constant<int, 4>{});
    while (i + V <= n) add(std::integral_constant<int, 1>{});
    for (; i < n; ++i) s += float(ptr<T>(a)[i]) * (b.p ? float(ptr<T>(b)[i]) : 1.f);  // the last few, in one thread
    s = block_sum<kThreads>(s);
    if (threadIdx.x == 0) partial[blockIdx.x] = s;
}
__global__ void __launch_bounds__(kThreads) add_partials_kernel(const float* partial, int count, float scale, Out y) {
    in_turn();
    float s = 0;
    for (int i = threadIdx.x; i < count; i += kThreads) s += partial[i];
    s = block_sum<kThreads>(s);
    if (threadIdx.x == 0) emit(y, 0, s * scale);
}

void sum_up(const char* where, const View& a, const View& b, float scale, const Out& y) {
    if (y.mode == Mode::skip) return;
    const unsigned most = ceil_div(a.numel(), kThreads * 16), blocks = most < kMostBlocks ? most : kMostBlocks;
    const Scratch partial(blocks * sizeof(float));
    dispatch(a.dtype, in_fours(4, {&a, &b}), where, [&](auto tag, auto v) {
        launch<dot_kernel<decltype(tag), v>>({blocks, kThreads}, a, b, partial.as<float>());
    });
    launch<add_partials_kernel>({1, kThreads}, partial.as<float>(), int(blocks), scale, y);
}

template <class T> __global__ void __launch_bounds__(kColumns * kRowLanes) row_sum_kernel(RowSumArgs a, float* partial) {
    in_turn();
    sum_chunk<1>(a.x.rows, a.x.cols, partial, [&](std::int64_t n, std::int64_t c, float (&s)[1]) { s[0] += float(row<T>(a.x, n)[c]); });
}

template <class T, int V> __global__ void __launch_bounds__(kWarps * 32) row_dot_kernel(RowDotArgs a) {
    in_turn();
    const std::int64_t n = warp_row();
    if (n >= a.a.rows) return;
    float s = 0;
    for_columns<V>(a.a.cols, [&](std::int64_t c) {
        const Vec<float, V> x = read<V>(row<T>(a.a, n) + c), y = read<V>(row<T>(a.b, n) + c);
#pragma unroll
        for (int j = 0; j < V; ++j) s += x[j] * y[j];
    });
    s = warp_sum(s);
    if (lane() == 0) emit(a.y, n, s);
}

}  // namespace

void sum(const SumArgs& a) { sum_up("sum", a.x, View{}, float(a.s), a.y); }
void dot(const DotArgs& a) { sum_up("dot", a.a, a.b, 1.f, a.y); }

void row_sum(const RowSumArgs& a) {
    if (a.y.mode == Mode::skip) return;
    const int chunks = row_chunks(a.x.rows);
    const Scratch partial(std::size_t(chunks) * std::size_t(a.x.cols) * sizeof(float));
    dispatch(a.x.dtype, "row_sum", [&](auto tag) {
        launch<row_sum_kernel<decltype(tag)>>(chunk_grid(a.x.rows, a.x.cols), a, partial.as<float>());
    });
    add_chunks(partial.as<float>(), chunks, a.x.cols, a.y);
}

void row_dot(const RowDotArgs& a) {
    if (a.y.mode == Mode::skip) return;
    dispatch(a.a.dtype, in_fours(a.a.cols, {&a.a, &a.b}), "row_dot", [&](auto tag, auto v) {
        launch<row_dot_kernel<decltype(tag), v>>(warp_per_row(a.a.rows), a);
    });
}

}  // namespace eng::cuda
