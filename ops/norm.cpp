#include "ops/host.h"

namespace eng {

Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float eps) {
    const Shape affine{x.cols()};
    ENG_CHECK(gamma.shape() == affine && beta.shape() == affine, "layer_norm", "x ", x.shape(), " needs gamma and beta ",
              affine, ", got ", gamma.shape(), " and ", beta.shape());
    const Tensor y = x.like();
    const Tensor mean = x.like(Shape{x.rows()}, stats_dtype(x.dtype())), rstd = mean.like();
    run_layer_norm_forward(x.device(), {in(x), in(gamma), in(beta), out(y), out(mean), out(rstd), eps});
    if (!wants_grad({&x, &gamma, &beta})) return y;
    return Tape::recording->record("layer_norm", {x, gamma, beta}, y, {x, gamma, mean, rstd}, 0, [](Backward& b) {
        run_layer_norm_backward(b.gout.device(), {in(b.gout), in(b.saved(0)), in(b.saved(1)), in(b.saved(2)), in(b.saved(3)),
                                                  out(b.grad(0)), out(b.grad(1)), out(b.grad(2))});
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

}  // namespace eng
