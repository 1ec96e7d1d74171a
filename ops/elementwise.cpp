#include "ops/host.h"

namespace eng {
namespace {

void check_same(const char* op, const Tensor& a, const Tensor& b) {
    ENG_CHECK(a.shape() == b.shape() && a.dtype() == b.dtype(), op, a.shape(), " ", name_of(a.dtype()), " and ",
              b.shape(), " ", name_of(b.dtype()), " should be alike");
}

Tensor scaled(const char* op, const Tensor& x, DType to, double s) {
    const Tensor y = x.like(x.shape(), to);
    run_scale(x.device(), {in(x), out(y), s});
    if (!wants_grad({&x})) return y;
    return Tape::recording->record(op, {x}, y, {}, s, [](Backward& b) { run_scale(b.gout.device(), {in(b.gout), out(b.grad(0)), b.attrs<double>()}); });
}

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) {
    check_same("add", a, b);
    const Tensor y = a.like();
    run_add(a.device(), {in(a), in(b), out(y)});
    if (!wants_grad({&a, &b})) return y;
    return Tape::recording->record("add", {a, b}, y, {}, 0, [](Backward& k) {
        pass_on(k, 0), pass_on(k, 1);
    });
}

Tensor mul(const Tensor& a, const Tensor& b) {
    check_same("mul", a, b);
    const Tensor y = a.like();
    run_mul(a.device(), {in(a), in(b), out(y)});
    if (!wants_grad({&a, &b})) return y;
    return Tape::recording->record("mul", {a, b}, y, {a, b}, 0, [](Backward& k) {
        for (int i = 0; i < 2; ++i)
            if (k.needs(i)) run_mul(k.gout.device(), {in(k.gout), in(k.saved(1 - i)), out(k.grad(i))});
    });
}

Tensor scale(const Tensor& x, double s) { return scaled("scale", x, x.dtype(), s); }
Tensor cast(const Tensor& x, DType to) { return x.dtype() == to ? x : scaled("cast", x, to, 1); }

Tensor transpose(const Tensor& x) {
    ENG_CHECK(x.shape().rank == 2, "transpose", "wants a matrix, got ", x.shape());
    const Tensor y = x.like(Shape{x.cols(), x.rows()});
    run_transpose(x.device(), {in(x), out(y)});
    if (!wants_grad({&x})) return y;
    return Tape::recording->record("transpose", {x}, y, {}, 0, [](Backward& b) {
        run_transpose(b.gout.device(), {in(b.gout), out(b.grad(0))});
    });
}

Tensor dropout(const Tensor& x, float p, std::uint64_t seed, std::uint64_t stream) {
    ENG_CHECK(p >= 0 && p < 1, "dropout", "p = ", p, " is not in [0, 1)");
    struct Attrs { float p; std::uint64_t seed, stream; } at{p, seed, stream};
    const Tensor y = x.like();
    run_dropout(x.device(), {in(x), out(y), p, seed, stream});
    if (!wants_grad({&x})) return y;
    return Tape::recording->record("dropout", {x}, y, {}, at, [](Backward& b) {
        const Attrs at = b.attrs<Attrs>();  // the mask is a function of (seed, stream): drawn again, never stored
        run_dropout(b.gout.device(), {in(b.gout), out(b.grad(0)), at.p, at.seed, at.stream});
    });
}

Tensor quick_gelu(const Tensor& x) {
    const Tensor y = x.like();
    run_quick_gelu_forward(x.device(), {in(x), out(y)});
    if (!wants_grad({&x})) return y;
    return Tape::recording->record("quick_gelu", {x}, y, {x}, 0, [](Backward& b) {
        run_quick_gelu_backward(b.gout.device(), {in(b.gout), in(b.saved(0)), out(b.grad(0))});
    });
}

Tensor exp_scale(const Tensor& x, const Tensor& log_scale) {
    ENG_CHECK(log_scale.numel() == 1, "exp_scale", "wants one log_scale, got ", log_scale.shape());
    const Tensor y = x.like();
    run_exp_scale(x.device(), {in(x), in(log_scale), out(y)});
    if (!wants_grad({&x, &log_scale})) return y;
    return Tape::recording->record("exp_scale", {x, log_scale}, y, {y, log_scale}, 0, [](Backward& b) {
        if (b.needs(0)) run_exp_scale(b.gout.device(), {in(b.gout), in(b.saved(1)), out(b.grad(0))});
        if (b.needs(1)) run_dot(b.gout.device(), {in(b.gout), in(b.saved(0)), out(b.grad(1))});
    });
}

namespace {
Tensor reduce(const char* op, const Tensor& x, double s) {
    const Tensor y = x.like(Shape{1}, stats_dtype(x.dtype()));
    run_sum(x.device(), {in(x), out(y), s});
    if (!wants_grad({&x})) return y;
    return Tape::recording->record(op, {x}, y, {}, s, [](Backward& b) {
        run_broadcast(b.gout.device(), {in(b.gout), out(b.grad(0)), b.attrs<double>()});
    });
}
}  // namespace

Tensor sum(const Tensor& x) { return reduce("sum", x, 1); }
Tensor mean(const Tensor& x) {
    ENG_CHECK(x.numel() > 0, "mean", "of no elements");
    return reduce("mean", x, 1.0 / double(x.numel()));
}

Tensor row_dot(const Tensor& a, const Tensor& b) {
    check_same("row_dot", a, b);
    const Tensor y = a.like(Shape{a.rows()}, stats_dtype(a.dtype()));
    run_row_dot(a.device(), {in(a), in(b), out(y)});
    if (!wants_grad({&a, &b})) return y;
    return Tape::recording->record("row_dot", {a, b}, y, {a, b}, 0, [](Backward& k) {
        for (int i = 0; i < 2; ++i)
            if (k.needs(i)) run_row_scale(k.gout.device(), {in(k.gout), in(k.saved(1 - i)), out(k.grad(i))});
    });
}

Tensor checkpoint(const std::function<Tensor(const std::vector<Tensor>&)>& f, const std::vector<Tensor>& x) {
    Tape* outer = Tape::recording;
    Tensor y;
    std::vector<Param*> used;
    {
        Recording off(nullptr);
        std::vector<Param*>* above = std::exchange(Param::used, &used);
        y = f(x);
        Param::used = above;
    }
    if (!outer) return y;
    return outer->record_thunk("checkpoint", x, y, x, [f, path = scope_path()](Backward& b) {
        const Scope scope(path);  // the second run names its ops like the first
        Tape inner;
        Recording on(&inner);
        std::vector<Tensor> leaves;
        for (int i = 0; i < b.inputs(); ++i) leaves.push_back(inner.leaf(b.saved(i)));
        inner.backward(f(leaves), b.gout);
        for (int i = 0; i < b.inputs(); ++i) {
            const Tensor g = b.needs(i) ? inner.take(leaves[i]) : Tensor{};
            if (g.defined()) pass_on(b, i, g);
        }
    }, used);
}

}  // namespace eng
