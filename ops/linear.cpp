#include "ops/host.h"

namespace eng {
namespace {

// A weight's gradient has few tiles: alone it leaves multiprocessors idle, with the next one it fills them.
struct Waiting {
    GemmArgs dw;
    Tensor g, x;  // stay as they are until then
};
void run_alone(std::any& one) {
    const auto& w = std::any_cast<const Waiting&>(one);
    run_gemm(w.g.device(), w.dw);
}
// dw = g^T x, dbias = column sums of g, for the weight that is input `weight` and the bias behind it. `lasting`: nobody will be given g's
// memory, so that this may wait for the next.
void weight_backward(Backward& b, int weight, const Tensor& g, const Tensor& x, bool lasting) {
    const Out dbias = b.needs(weight + 1) ? out(b.grad(weight + 1)) : Out{};
    if (!b.needs(weight)) {
        if (dbias.p) run_row_sum(g.device(), {in(g), dbias});
        return;
    }
    GemmArgs dw{in(g), in(x)};
    dw.c = out(b.grad(weight)), dw.ta = true, dw.sums = dbias;
    if (const std::any before = b.take_put_off(); before.has_value()) run_gemm_two(g.device(), {std::any_cast<const Waiting&>(before).dw, dw});
    else if (lasting && b.may_put_off({weight, weight + 1})) b.put_off({weight, weight + 1}, Waiting{dw, g, x}, run_alone);
    else run_gemm(g.device(), dw);
}
// Of linear(QuickGELU(pre), w, bias, residual), inputs `weight` and those behind it: their gradients and pre's, which is returned. The
// product that asks for the slope leaves the hidden values behind, where pre was.
Tensor activation_backward(Backward& b, int weight, const Tensor& pre, const Tensor& w) {
    const Tensor g = pre.like();
    GemmArgs through{in(b.gout), in(w), {}, {}, out(g)};
    through.gate = in(pre);
    if (b.needs(weight)) through.act = out(pre);
    run_gemm(g.device(), through);
    weight_backward(b, weight, b.gout, pre, false);
    return g;
}
// The same with dx = g w; `g` is the gradient before the activation.
void linear_backward(Backward& b, const Tensor& g, const Tensor& x, const Tensor& w, bool lasting) {
    GemmArgs dx{in(g), in(w)};
    if (b.needs(0)) dx.c = out(b.grad(0)), run_gemm(g.device(), dx);
    weight_backward(b, 1, g, x, lasting);
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
        linear_backward(b, b.gout, b.saved(0), b.saved(1), !b.needs(3));
        pass_on(b, 3);
    });
}

namespace {

// linear(QuickGELU(pre), w2, b2, residual); up(h, pre) makes h = QuickGELU(pre). Where nothing is recorded pre is not kept, and h has its memory.
template <class Up>
Tensor through_hidden(const char* op, const Tensor& pre, bool record, const Tensor& w2, const Tensor& b2, const Tensor& residual, Up&& up) {
    const Tensor h = record ? pre.like() : pre, y = pre.like(Shape{pre.rows(), w2.rows()});
    check_linear(h, w2, b2);
    ENG_CHECK(!residual.defined() || residual.shape() == y.shape(), op, "residual ", residual.shape(), " beside ", y.shape());
    up(out(h), record ? out(pre) : Out{{}, Mode::skip});
    GemmArgs down{in(h), in(w2), in(b2), in(residual), out(y)};
    down.tb = true;
    run_gemm(pre.device(), down);
    return y;
}

}  // namespace

Tensor mlp(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2, const Tensor& residual) {
    check_linear(x, w1, b1);
    const bool record = wants_grad({&x, &w1, &b1, &w2, &b2, &residual});
    const Tensor pre = x.like(Shape{x.rows(), w1.rows()}), y = through_hidden("mlp", pre, record, w2, b2, residual, [&](const Out& h, const Out& before) {
        GemmArgs up{in(x), in(w1), in(b1), {}, h, before};
        up.tb = up.gelu = true;
        run_gemm(x.device(), up);
    });
    if (!record) return y;
    return Tape::recording->record("mlp", {x, w1, b1, w2, b2, residual}, y, {x, w1, pre, w2}, 0, [](Backward& b) {
        const Tensor g = activation_backward(b, 3, b.saved(2), b.saved(3));
        linear_backward(b, g, b.saved(0), b.saved(1), true);
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

namespace {

// Block i of a with block which[i] of b, onto `c`.
GroupedGemmArgs of_blocks(const char* op, const Tensor& a, const Tensor& b, const Tensor& which, const Tensor& bias) {
    const std::int64_t n = which.numel();
    ENG_CHECK(which.dtype() == DType::i32 && n > 0 && a.rows() % n == 0 && b.rows() % a.cols() == 0 && (!bias.defined() || bias.numel() == b.cols()), op, n,
              " blocks of ", a.shape(), " times blocks of ", b.shape(), " with bias ", bias.shape());
    GroupedGemmArgs g{in(a), in(b), {}, in(which), {}, in(bias)};
    g.members = n, g.a_rows = int(a.rows() / n), g.b_rows = int(a.cols());
    return g;
}

// From the gradient g of the products: those of a (input 0), b and bias. A block of b adds up what all members did with it.
void of_blocks_backward(Backward& k, const Tensor& g, const Tensor& a, const Tensor& b, const Tensor& which) {
    const Device d = g.device();
    const std::int64_t n = which.numel();
    if (k.needs(0)) {
        GroupedGemmArgs da{in(g), in(b), {}, in(which)};
        da.c = out(k.grad(0)), da.members = n, da.a_rows = int(g.rows() / n), da.b_rows = int(a.cols()), da.tb = true;
        run_grouped_gemm(d, da);
    }
    if (!k.needs(1) && !k.needs(2)) return;
    // The bias' gradient comes along, a block's sum and then the sum of those: the same bits whether b's is wanted or not.
    const Tensor sums = k.needs(2) ? g.like(Shape{b.rows() / a.cols(), g.cols()}, stats_dtype(g.dtype())) : Tensor{};
    GroupedGemmArgs db{in(a), in(g), {}, {}, in(which)};
    const Tensor unwanted = k.needs(1) ? Tensor{} : b.like();
    db.c = k.needs(1) ? out(k.grad(1)) : out(unwanted);
    db.members = n, db.a_rows = db.b_rows = int(g.rows() / n), db.ta = true;
    if (sums.defined()) db.sums = out(sums);
    run_grouped_gemm(d, db);
    if (sums.defined()) run_row_sum(d, {in(sums), out(k.grad(2))});
}

}  // namespace

Tensor grouped_matmul(const Tensor& a, const Tensor& b, const Tensor& which, const Tensor& bias) {
    GroupedGemmArgs g = of_blocks("grouped_matmul", a, b, which, bias);
    const Tensor y = a.like(Shape{a.rows(), b.cols()});
    g.c = out(y);
    run_grouped_gemm(a.device(), g);
    if (!wants_grad({&a, &b, &bias})) return y;
    return Tape::recording->record("grouped_matmul", {a, b, bias}, y, {a, b, which}, 0,
                                   [](Backward& k) { of_blocks_backward(k, k.gout, k.saved(0), k.saved(1), k.saved(2)); });
}

Tensor grouped_mlp(const Tensor& a, const Tensor& b, const Tensor& which, const Tensor& b1, const Tensor& w2, const Tensor& b2, const Tensor& residual) {
    GroupedGemmArgs up = of_blocks("grouped_mlp", a, b, which, b1);
    const bool record = wants_grad({&a, &b, &b1, &w2, &b2, &residual});
    const Tensor pre = a.like(Shape{a.rows(), b.cols()}), y = through_hidden("grouped_mlp", pre, record, w2, b2, residual, [&](const Out& h, const Out& before) {
        up.c = h, up.pre = before, up.gelu = true;
        run_grouped_gemm(a.device(), up);
    });
    if (!record) return y;
    return Tape::recording->record("grouped_mlp", {a, b, b1, w2, b2, residual}, y, {a, b, which, pre, w2}, 0, [](Backward& k) {
        const Tensor g = activation_backward(k, 3, k.saved(3), k.saved(4));
        of_blocks_backward(k, g, k.saved(0), k.saved(1), k.saved(2));
        pass_on(k, 5);
    });
}

}  // namespace eng
