#include "engine/rng.h"
#include "ops/cpu/math.h"
#include "ops/cpu/store.h"

namespace eng::cpu {

void add(const AddArgs& a) {
    dispatch_float(a.a.dtype, "add", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const T *x = ptr<T>(a.a), *y = ptr<T>(a.b);
        emit_parallel(a.y, a.a.numel(), [=](std::int64_t i) { return A(x[i]) + A(y[i]); });
    });
}

void mul(const MulArgs& a) {
    dispatch_float(a.a.dtype, "mul", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const T *x = ptr<T>(a.a), *y = ptr<T>(a.b);
        emit_parallel(a.y, a.a.numel(), [=](std::int64_t i) { return A(x[i]) * A(y[i]); });
    });
}

void scale(const ScaleArgs& a) {
    dispatch_float(a.x.dtype, "scale", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const T* x = ptr<T>(a.x);
        const A s = A(a.s);
        emit_parallel(a.y, a.x.numel(), [=](std::int64_t i) { return A(x[i]) * s; });
    });
}

void broadcast(const BroadcastArgs& a) {
    dispatch_float(a.g.dtype, "broadcast", [&](auto tag) {
        using A = acc_t<decltype(tag)>;
        const A v = A(ptr<decltype(tag)>(a.g)[0]) * A(a.s);
        emit_parallel(a.y, a.y.numel(), [=](std::int64_t) { return v; });
    });
}

void transpose(const TransposeArgs& a) {
    dispatch_float(a.x.dtype, "transpose", [&](auto tag) {
        using T = decltype(tag);
        const T* x = ptr<T>(a.x);
        const std::int64_t N = a.x.rows, C = a.x.cols;
        parallel_for(C, row_grain(N), [&](std::int64_t b, std::int64_t e) {
            for (std::int64_t c = b; c < e; ++c)
                emit(a.y, c * N, (c + 1) * N, [&](std::int64_t i) { return acc_t<T>(x[(i - c * N) * C + c]); });
        });
    });
}

// Element i draws number i of the stream; four neighbours share one Philox block.
void dropout(const DropoutArgs& a) {
    dispatch_float(a.x.dtype, "dropout", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const T* x = ptr<T>(a.x);
        const A kept = A(1) / A(1 - a.p);
        emit_parallel(a.y, a.x.numel(), [&](std::int64_t i) {
            return uniform(a.seed, a.stream, std::uint64_t(i)) < a.p ? A(0) : A(x[i]) * kept;
        });
    });
}

void quick_gelu_forward(const QuickGeluFwd& a) {
    dispatch_float(a.x.dtype, "quick_gelu", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const T* x = ptr<T>(a.x);
        emit_parallel(a.y, a.x.numel(), [=](std::int64_t i) { return A(x[i]) * sigmoid(A(1.702) * A(x[i])); });
    });
}

void quick_gelu_backward(const QuickGeluBwd& a) {
    dispatch_float(a.x.dtype, "quick_gelu", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const T *x = ptr<T>(a.x), *dy = ptr<T>(a.dy);
        emit_parallel(a.dx, a.x.numel(), [=](std::int64_t i) {
            const A v = A(x[i]), s = sigmoid(A(1.702) * v);
            return A(dy[i]) * (s + A(1.702) * v * s * (A(1) - s));
        });
    });
}

void exp_scale(const ExpScaleArgs& a) {
    dispatch_float(a.x.dtype, "exp_scale", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const T* x = ptr<T>(a.x);
        A s = 0;
        dispatch_float(a.log_scale.dtype, "exp_scale", [&](auto t) { s = std::exp(A(ptr<decltype(t)>(a.log_scale)[0])); });
        emit_parallel(a.y, a.x.numel(), [=](std::int64_t i) { return A(x[i]) * s; });
    });
}

void row_scale(const RowScaleArgs& a) {
    dispatch_float(a.x.dtype, "row_scale", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const T* x = ptr<T>(a.x);
        const A* s = ptr<A>(a.s);
        const std::int64_t C = a.x.cols;
        emit_parallel(a.y, a.x.numel(), [=](std::int64_t i) { return s[i / C] * A(x[i]); });
    });
}

void column_scale(const ColumnScaleArgs& a) {
    dispatch_float(a.x.dtype, "column_scale", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const T* x = ptr<T>(a.x);
        const T* s = ptr<T>(a.s);
        const std::int64_t C = a.x.cols;
        emit_parallel(a.y, a.x.numel(), [=](std::int64_t i) { return A(s[i % C]) * A(x[i]); });
    });
}

}  // namespace eng::cpu
