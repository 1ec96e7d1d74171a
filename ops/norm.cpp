#include "ops/host.h"

namespace eng {

namespace {
void check_affine(const char* op, const Tensor& x, const Tensor& gamma, const Tensor& beta) {
    const Shape affine{x.cols()};
    ENG_CHECK(gamma.shape() == affine && beta.shape() == affine, op, "x ", x.shape(), " needs gamma and beta ", affine, ", got ", gamma.shape(), " and ", beta.shape());
}
}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float eps) {
    check_affine("layer_norm", x, gamma, beta);
    const Tensor y = x.like();
    const Tensor mean = x.like(Shape{x.rows()}, stats_dtype(x.dtype())), rstd = mean.like();
    run_layer_norm_forward(x.device(), {in(x), in(gamma), in(beta), out(y), out(mean), out(rstd), eps});
    if (!wants_grad({&x, &gamma, &beta})) return y;
    return Tape::recording->record("layer_norm", {x, gamma, beta}, y, {x, gamma, mean, rstd}, 0, [](Backward& b) {
        run_layer_norm_backward(b.gout.device(), {in(b.gout), in(b.saved(0)), in(b.saved(1)), in(b.saved(2)), in(b.saved(3)),
                                                  out(b.grad(0)), out(b.grad(1)), out(b.grad(2))});
    });
}

Tensor layer_norm_max(const Tensor& x, int rows, const Tensor& gamma, const Tensor& beta, float eps) {
    check_affine("layer_norm_max", x, gamma, beta);
    ENG_CHECK(rows > 0 && x.rows() >= rows && x.rows() % rows == 0, "layer_norm_max", x.rows(), " rows in segments of ", rows);
    const Tensor y = x.like(Shape{x.rows() / rows, x.cols()}), argmax = y.like(y.shape(), DType::i32);
    const Tensor mean = x.like(Shape{x.rows()}, stats_dtype(x.dtype())), rstd = mean.like();
    run_layer_norm_max_forward(x.device(), {in(x), in(gamma), in(beta), out(y), out(argmax), out(mean), out(rstd), eps});
    if (!wants_grad({&x, &gamma, &beta})) return y;
    return Tape::recording->record("layer_norm_max", {x, gamma, beta}, y, {x, gamma, mean, rstd, argmax}, 0, [](Backward& b) {
        run_layer_norm_max_backward(b.gout.device(), {{in(b.gout), in(b.saved(0)), in(b.saved(1)), in(b.saved(2)), in(b.saved(3)), out(b.grad(0)), out(b.grad(1)), out(b.grad(2))},
                                                      in(b.saved(4))});
    });
}

Tensor l2_normalize(const Tensor& x) {
    const Tensor y = x.like(), rnorm = x.like(Shape{x.rows()}, stats_dtype(x.dtype()));
    run_l2_normalize_forward(x.device(), {in(x), out(y), out(rnorm)});
    if (!wants_grad({&x})) return y;
    return Tape::recording->record("l2_normalize", {x}, y, {y, rnorm}, 0, [](Backward& b) {
        run_l2_normalize_backward(b.gout.device(), {in(b.gout), in(b.saved(0)), in(b.saved(1)), out(b.grad(0))});
    });
}

Tensor scale_columns(const Tensor& x, const Tensor& s) {
    ENG_CHECK(s.numel() == x.cols() && s.dtype() == x.dtype(), "scale_columns", "x ", x.shape(), " by ", s.shape());
    const Tensor y = x.like();
    run_column_scale(x.device(), {in(s), in(x), out(y)});
    if (!wants_grad({&x, &s})) return y;
    return Tape::recording->record("scale_columns", {x, s}, y, {x, s}, 0, [](Backward& b) {
        const Device d = b.gout.device();
        if (b.needs(0)) run_column_scale(d, {in(b.saved(1)), in(b.gout), out(b.grad(0))});
        if (!b.needs(1)) return;
        const Tensor products = b.gout.like();
        run_mul(d, {in(b.gout), in(b.saved(0)), out(products)}), run_row_sum(d, {in(products), out(b.grad(1))});
    });
}

Tensor center_rows(const Tensor& x) {
    const Tensor y = x.like();
    run_center_rows(x.device(), {in(x), out(y)});
    if (!wants_grad({&x})) return y;
    return Tape::recording->record("center_rows", {x}, y, {}, 0, [](Backward& b) { run_center_rows(b.gout.device(), {in(b.gout), out(b.grad(0))}); });
}

}  // namespace eng
