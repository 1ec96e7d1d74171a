#pragma once
// Element access, and the one place where CPU kernels honour Mode and the dtype of an output.
#include <algorithm>
#include <vector>

#include "engine/parallel.h"
#include "ops/kernels.h"

namespace eng::cpu {

constexpr std::int64_t kGrain = 4096;  // elements worth a thread of their own
inline std::int64_t row_grain(std::int64_t cols) { return std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, cols)); }  // and rows of them

template <class T> T* ptr(const View& v) { return static_cast<T*>(v.p); }
template <class T> T* row(const View& v, std::int64_t r) { return ptr<T>(v) + r * v.pitch; }

// y = v, rounded. GCC vectorises no loop that assigns a whole bf16, which to it is a struct.
inline void store(float& y, float v) { y = v; }
inline void store(double& y, double v) { y = v; }
inline void store(bf16& y, float v) { y.bits = bf16(v).bits; }

// out[i] (+)= f(i) for i in [begin, end).
template <class T, class F>
void emit_range(const Out& o, std::int64_t begin, std::int64_t end, F&& f) {
    T* y = ptr<T>(o);
    if (o.mode == Mode::accumulate) {
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) store(y[i], acc_t<T>(y[i]) + acc_t<T>(f(i)));
    } else if (o.mode == Mode::write) {
#pragma omp simd
        for (std::int64_t i = begin; i < end; ++i) store(y[i], acc_t<T>(f(i)));
    }
}
// The same for an output whose dtype is only known at run time (parameter gradients are wider than activations).
template <class F>
void emit(const Out& o, std::int64_t begin, std::int64_t end, F&& f) {
    if (o.mode == Mode::skip) return;
    dispatch_float(o.dtype, "store", [&](auto tag) { emit_range<decltype(tag)>(o, begin, end, f); });
}
template <class F>
void emit_parallel(const Out& o, std::int64_t n, F&& f) {
    if (o.mode == Mode::skip) return;
    dispatch_float(o.dtype, "store", [&](auto tag) {
        parallel_for(n, kGrain, [&](std::int64_t b, std::int64_t e) { emit_range<decltype(tag)>(o, b, e, f); });
    });
}
// A kernel that only adds to some elements starts from zero unless it accumulates.
inline void zero_if_write(const Out& o) {
    if (o.mode == Mode::write) std::memset(o.p, 0, std::size_t(o.rows * o.pitch) * size_of(o.dtype));
}

// Rows are split into a fixed number of chunks whatever the number of threads, each with its own partial sums, and
// the partials are added in order: parameter gradients have the same bits on 1 core and on 64.
template <class A, class Body>
void chunked_sums(std::int64_t rows, std::int64_t width, std::vector<A>& total, Body&& body) {
    const std::int64_t chunks = rows < 64 ? 1 : 16;
    std::vector<A> partial(std::size_t(chunks * width), A(0));
    parallel_for(chunks, 1, [&](std::int64_t b, std::int64_t e) {
        for (std::int64_t c = b; c < e; ++c) body(rows * c / chunks, rows * (c + 1) / chunks, partial.data() + c * width);
    });
    total.assign(std::size_t(width), A(0));
    for (std::int64_t c = 0; c < chunks; ++c)
        for (std::int64_t i = 0; i < width; ++i) total[i] += partial[c * width + i];
}

}  // namespace eng::cpu
