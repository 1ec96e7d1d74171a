// Ops of convolution nets: rows are pixels, channels innermost.
#include "ops/host.h"

namespace eng {
namespace {

std::int64_t pictures(const char* op, const Tensor& x, int height, int width) {
    const std::int64_t pixels = std::int64_t(height) * width;
    ENG_CHECK(pixels > 0 && x.rows() % pixels == 0, op, x.shape(), " does not hold pictures of ", height, "x", width);
    return x.rows() / pixels;
}
View filters(const Tensor& w) { return in(w.view({w.shape()[0], w.numel() / w.shape()[0]})); }

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& w, int height, int width, int stride, int pad) {
    const Shape& f = w.shape();
    ENG_CHECK(f.rank == 4 && f[1] == x.cols() && f[2] == f[3], "conv2d", "x ", x.shape(), " does not fit w ", f, " (want x[.,I] w[O,I,k,k])");
    const ConvShape s{height, width, int(f[2]), stride, pad};
    ENG_CHECK(stride > 0 && pad >= 0 && s.out_height() > 0 && s.out_width() > 0, "conv2d", "a kernel of ", f[2], " does not fit ", height, "x", width);
    const Tensor y = x.like(Shape{pictures("conv2d", x, height, width) * s.out_height() * s.out_width(), f[0]});
    run_conv_forward(x.device(), {in(x), filters(w), out(y), s});
    if (!wants_grad({&x, &w})) return y;
    return Tape::recording->record("conv2d", {x, w}, y, {x, w}, s, [](Backward& b) {
        const Tensor& w = b.saved(1);
        Grad dw = b.grad(1);
        if (dw.mode != Mode::skip) dw.t = dw.t.view({w.shape()[0], w.numel() / w.shape()[0]});
        run_conv_backward(b.gout.device(), {in(b.gout), in(b.saved(0)), filters(w), out(b.grad(0)), out(dw), b.attrs<ConvShape>()});
    });
}

Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& running_mean, const Tensor& running_var, bool train,
                  float momentum, float eps) {
    const Shape channels{x.cols()};
    for (const Tensor* t : {&gamma, &beta, &running_mean, &running_var})
        ENG_CHECK(t->shape() == channels, "batch_norm", "x ", x.shape(), " needs vectors of ", channels, ", got ", t->shape());
    ENG_CHECK(running_mean.dtype() == stats_dtype(x.dtype()) && running_var.dtype() == running_mean.dtype(), "batch_norm", "running statistics of ", name_of(running_mean.dtype()));
    ENG_CHECK(!train || x.rows() > 1, "batch_norm", "one row has no variance");
    const Tensor y = x.like(), mean = running_mean.like(), rstd = mean.like();
    run_batch_norm_forward(x.device(), {in(x), in(gamma), in(beta), out(running_mean), out(running_var), out(y), out(mean), out(rstd), eps, momentum, train});
    if (!wants_grad({&x, &gamma, &beta})) return y;
    return Tape::recording->record("batch_norm", {x, gamma, beta}, y, {x, gamma, mean, rstd}, train, [](Backward& b) {
        run_batch_norm_backward(b.gout.device(), {in(b.gout), in(b.saved(0)), in(b.saved(1)), in(b.saved(2)), in(b.saved(3)),
                                                  out(b.grad(0)), out(b.grad(1)), out(b.grad(2)), b.attrs<bool>()});
    });
}

Tensor relu(const Tensor& x) {
    const Tensor y = x.like();
    run_relu_forward(x.device(), {in(x), out(y)});
    if (!wants_grad({&x})) return y;
    return Tape::recording->record("relu", {x}, y, {y}, 0, [](Backward& b) {
        run_relu_backward(b.gout.device(), {in(b.gout), in(b.saved(0)), out(b.grad(0))});
    });
}

Tensor avg_pool(const Tensor& x, int height, int width, int kernel) {
    ENG_CHECK(kernel > 0 && height >= kernel && width >= kernel, "avg_pool", "a window of ", kernel, " does not fit ", height, "x", width);
    struct Attrs { int height, width, kernel; } at{height, width, kernel};
    const Tensor y = x.like(Shape{pictures("avg_pool", x, height, width) * (height / kernel) * (width / kernel), x.cols()});
    run_avg_pool_forward(x.device(), {in(x), out(y), height, width, kernel});
    if (!wants_grad({&x})) return y;
    return Tape::recording->record("avg_pool", {x}, y, {}, at, [](Backward& b) {
        const Attrs at = b.attrs<Attrs>();
        run_avg_pool_backward(b.gout.device(), {in(b.gout), out(b.grad(0)), at.height, at.width, at.kernel});
    });
}

Tensor add_mean_and_positions(const Tensor& x, const Tensor& pos) {
    const std::int64_t P = pos.rows() - 1;
    ENG_CHECK(P > 0 && x.rows() % P == 0 && x.cols() == pos.cols(), "add_mean_and_positions", "x ", x.shape(), " does not fit positions ", pos.shape());
    const Tensor y = x.like(Shape{x.rows() / P * (P + 1), x.cols()});
    run_mean_positions_forward(x.device(), {in(x), in(pos), out(y)});
    if (!wants_grad({&x, &pos})) return y;
    return Tape::recording->record("add_mean_and_positions", {x, pos}, y, {}, P, [](Backward& b) {
        const Grad dpos = b.grad(1);
        run_mean_positions_backward(b.gout.device(), {in(b.gout), out(b.grad(0)), out(dpos), b.attrs<std::int64_t>()});
    });
}

}  // namespace eng
