// Reductions. Sums are split into chunks of fixed size whose partials are added in order: the result does not depend
// on the number of threads.
#include "ops/cpu/math.h"
#include "ops/cpu/store.h"

namespace eng::cpu {
namespace {

constexpr std::int64_t kChunk = 16384;

// sum over chunks of partial(begin, end), in order
template <class A, class F>
A ordered_sum(std::int64_t n, F&& partial) {
    const std::int64_t chunks = (n + kChunk - 1) / kChunk;
    std::vector<A> part(std::size_t(chunks), A(0));
    parallel_for(chunks, 1, [&](std::int64_t b, std::int64_t e) {
        for (std::int64_t c = b; c < e; ++c) part[c] = partial(c * kChunk, std::min(n, (c + 1) * kChunk));
    });
    A total = 0;
    for (const A p : part) total += p;
    return total;
}

}  // namespace

void sum(const SumArgs& a) {
    dispatch_float(a.x.dtype, "sum", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const T* x = ptr<T>(a.x);
        const A total = A(a.s) * ordered_sum<A>(a.x.numel(), [&](std::int64_t b, std::int64_t e) {
            A s = 0;
#pragma omp simd reduction(+ : s)
            for (std::int64_t i = b; i < e; ++i) s += A(x[i]);
            return s;
        });
        emit(a.y, 0, 1, [=](std::int64_t) { return total; });
    });
}

void dot(const DotArgs& a) {
    dispatch_float(a.a.dtype, "dot", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const T *x = ptr<T>(a.a), *y = ptr<T>(a.b);
        const A total = ordered_sum<A>(a.a.numel(), [&](std::int64_t b, std::int64_t e) { return dot<T, A>(x + b, y + b, e - b); });
        emit(a.y, 0, 1, [=](std::int64_t) { return total; });
    });
}

void row_sum(const RowSumArgs& a) {
    dispatch_float(a.x.dtype, "row_sum", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        std::vector<A> total;
        chunked_sums<A>(a.x.rows, a.x.cols, total, [&](std::int64_t b, std::int64_t e, A* part) {
            for (std::int64_t n = b; n < e; ++n) {
                const T* x = row<T>(a.x, n);
#pragma omp simd
                for (std::int64_t c = 0; c < a.x.cols; ++c) part[c] += A(x[c]);
            }
        });
        emit(a.y, 0, a.x.cols, [&](std::int64_t c) { return total[c]; });
    });
}

void row_dot(const RowDotArgs& a) {
    dispatch_float(a.a.dtype, "row_dot", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        parallel_for(a.a.rows, row_grain(a.a.cols), [&](std::int64_t b, std::int64_t e) {
            emit(a.y, b, e, [&](std::int64_t n) { return dot<T, A>(row<T>(a.a, n), row<T>(a.b, n), a.a.cols); });
        });
    });
}

}  // namespace eng::cpu
