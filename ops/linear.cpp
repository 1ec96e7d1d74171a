#include "ops/host.h"

namespace eng {
namespace {

// dw = g^T x, dbias = column sums of g, for the weight that is input `weight` and the bias behind it.
void weight_backward(Backward& b, int weight, const Tensor& g, const Tensor& x) {
    const Out dbias = b.needs(weight + 1) ? out(b.grad(weight + 1)) : Out{};
    if (b.needs(weight)) {
        GemmArgs dw{in(g), in(x)};
        dw.c = out(b.grad(weight)), dw.ta = true, dw.sums = dbias;
        run_gemm(g.device(), dw);
    } else if (dbias.p) {
        run_row_sum(g.device(), {in(g), dbias});
    }
}
// The same with dx = g w; `g` is the gradient before the activation.
void linear_backward(Backward& b, const Tensor& g, const Tensor& x, const Tensor& w) {
    GemmArgs dx{in(g), in(w)};
    if (b.needs(0)) dx.c = out(b.grad(0)), run_gemm(g.device(), dx);
    weight_backward(b, 1, g, x);
}

void check_linear(const Tensor& x, const Tensor& w, const Tensor& bias) {
    ENG_CHECK(w.shape().rank == 2 && x.cols() == w.cols(), "linear", "x ", x.shape(), " does not fit w ", w.shape(),
              " (want x[...,C] w[O,C])");
    ENG_CHECK(!bias.defined() || bias.numel() == w.rows(), "linear", "bias ", bias.shape(), " does not fit w ", w.shape());
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& residual) {
    check_linear(x, w, bias);
    const Tensor y = x.like(Shape{x.rows(), w.rows()});
    ENG_CHECK(!residual.defined() || residual.shape() == y.shape(), "linear", "residual ", residual.shape(), " beside ", y.shape());
    GemmArgs args{in(x), in(w), in(bias), in(residual), out(y)};
    args.tb = true;
    run_gemm(x.device(), args);
    if (!wants_grad({&x, &w, &bias, &residual})) return y;
    return Tape::recording->record("linear", {x, w, bias, residual}, y, {x, w}, 0, [](Backward& b) {
        linear_backward(b, b.gout, b.saved(0), b.saved(1));
        pass_on(b, 3);
    });
}

Tensor mlp(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2, const Tensor& residual) {
    check_linear(x, w1, b1);
    const Device d = x.device();
    const bool record = wants_grad({&x, &w1, &b1, &w2, &b2, &residual});
    const Tensor pre = x.like(Shape{x.rows(), w1.rows()}), y = x.like(Shape{x.rows(), w2.rows()});
    {
        const Tensor h = record ? pre.like() : pre;
        check_linear(h, w2, b2);
        ENG_CHECK(!residual.defined() || residual.shape() == y.shape(), "mlp", "residual ", residual.shape(), " beside ", y.shape());
        GemmArgs up{in(x), in(w1), in(b1), {}, out(h), record ? out(pre) : Out{{}, Mode::skip}}, down{in(h), in(w2), in(b2), in(residual), out(y)};
        up.tb = up.gelu = down.tb = true;
        run_gemm(d, up), run_gemm(d, down);
    }
    if (!record) return y;
    return Tape::recording->record("mlp", {x, w1, b1, w2, b2, residual}, y, {x, w1, pre, w2}, 0, [](Backward& b) {
        const Device d = b.gout.device();
        // The product that asks for the slope leaves the hidden values behind, where those before the activation were.
        const Tensor &hidden = b.saved(2), g = hidden.like();
        GemmArgs through{in(b.gout), in(b.saved(3)), {}, {}, out(g)};
        through.gate = in(hidden);
        if (b.needs(3)) through.act = out(hidden);
        run_gemm(d, through);
        weight_backward(b, 3, b.gout, hidden);
        linear_backward(b, g, b.saved(0), b.saved(1));
        pass_on(b, 5);
    });
}

Tensor matmul(const Tensor& a, const Tensor& b) {
    ENG_CHECK(b.shape().rank == 2 && a.cols() == b.rows(), "matmul", a.shape(), " times ", b.shape());
    const Tensor y = a.like(Shape{a.rows(), b.cols()});
    run_gemm(a.device(), {in(a), in(b), {}, {}, out(y)});
    if (!wants_grad({&a, &b})) return y;
    return Tape::recording->record("matmul", {a, b}, y, {a, b}, 0, [](Backward& k) {
        GemmArgs da{in(k.gout), in(k.saved(1))}, db{in(k.saved(0)), in(k.gout)};
        if (k.needs(0)) da.c = out(k.grad(0)), da.tb = true, run_gemm(k.gout.device(), da);
        if (k.needs(1)) db.c = out(k.grad(1)), db.ta = true, run_gemm(k.gout.device(), db);
    });
}

}  // namespace eng
