// Convolution of pictures whose channels lie innermost (NHWC), through oneDNN for f32 and bf16, which is f32
// too on a CPU that does not multiply it (widened.h). f64 exists to check gradients and runs plain loops.
//
// Work      2 B H' W' O I k^2 FLOPs forward, twice that backward.
// Traffic   x, w and y once each at best; oneDNN reorders w into blocks of its own (small beside x and y).
// Numerics  f32 accumulators; filter gradients are f32 beside bf16 activations.
#include "ops/cpu/widened.h"

namespace eng::cpu {
namespace {

using M = dnnl::memory;

// Calls f(output pixel row, input pixel row, filter tap) for every pair that meets.
template <class F>
void for_taps(const ConvShape& s, std::int64_t image, int oy, int ox, F&& f) {
    for (int ky = 0; ky < s.kernel; ++ky)
        for (int kx = 0; kx < s.kernel; ++kx) {
            const int y = oy * s.stride + ky - s.pad, x = ox * s.stride + kx - s.pad;
            if (y >= 0 && y < s.height && x >= 0 && x < s.width) f((image * s.height + y) * s.width + x, ky * s.kernel + kx);
        }
}

void forward_f64(const ConvFwd& a) {
    const std::int64_t I = a.x.cols, O = a.y.cols, k2 = std::int64_t(a.s.kernel) * a.s.kernel;
    const int oh = a.s.out_height(), ow = a.s.out_width();
    emit_parallel(a.y, a.y.numel(), [&](std::int64_t i) {
        const std::int64_t pixel = i / O, o = i % O;
        double sum = 0;
        for_taps(a.s, pixel / (oh * ow), int(pixel / ow % oh), int(pixel % ow), [&](std::int64_t from, std::int64_t tap) {
            for (std::int64_t c = 0; c < I; ++c) sum += ptr<double>(a.x)[from * I + c] * ptr<double>(a.w)[(o * I + c) * k2 + tap];
        });
        return sum;
    });
}

void backward_f64(const ConvBwd& a) {
    const std::int64_t I = a.x.cols, O = a.dy.cols, k2 = std::int64_t(a.s.kernel) * a.s.kernel;
    const int oh = a.s.out_height(), ow = a.s.out_width();
    std::vector<double> dx(std::size_t(a.x.numel()), 0.0), dw(std::size_t(a.w.numel()), 0.0);
    for (std::int64_t pixel = 0; pixel < a.dy.rows; ++pixel)
        for_taps(a.s, pixel / (oh * ow), int(pixel / ow % oh), int(pixel % ow), [&](std::int64_t from, std::int64_t tap) {
            for (std::int64_t o = 0; o < O; ++o)
                for (std::int64_t c = 0; c < I; ++c) {
                    const double g = ptr<double>(a.dy)[pixel * O + o];
                    dx[std::size_t(from * I + c)] += g * ptr<double>(a.w)[(o * I + c) * k2 + tap];
                    dw[std::size_t((o * I + c) * k2 + tap)] += g * ptr<double>(a.x)[from * I + c];
                }
        });
    emit_parallel(a.dx, a.x.numel(), [&](std::int64_t i) { return dx[std::size_t(i)]; });
    emit_parallel(a.dw, a.w.numel(), [&](std::int64_t i) { return dw[std::size_t(i)]; });
}

// Everything that oneDNN needs to know; memory of x and y is used in place, w is reordered.
struct Problem {
    M::dims src, weights, dst, strides, pad;
    M::data_type type;

    Problem(const View& x, const View& w, std::int64_t outputs, const ConvShape& s) : type(dnnl_type(x.dtype)) {
        const std::int64_t pixels = std::int64_t(s.height) * s.width, images = x.rows / pixels;
        src = {images, x.cols, s.height, s.width}, weights = {outputs, x.cols, s.kernel, s.kernel}, dst = {images, outputs, s.out_height(), s.out_width()};
        strides = {s.stride, s.stride}, pad = {s.pad, s.pad};
        ENG_CHECK(w.numel() == outputs * x.cols * s.kernel * s.kernel, "conv", "w has ", w.numel(), " elements");
    }
    M::desc pixels(const M::dims& d) const { return M::desc(d, type, M::format_tag::nhwc); }
    M::desc filters(M::data_type t) const { return M::desc(weights, t, M::format_tag::oihw); }
    M::desc any() const { return M::desc(weights, type, M::format_tag::any); }
    dnnl::convolution_forward::primitive_desc forward() const {
        return {{dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct, pixels(src), any(), pixels(dst), strides, pad, pad}, cpu_engine()};
    }
};

M on(const M::desc& d, const View& v) { return M(d, cpu_engine(), v.p); }

M reordered(const M& from, const M::desc& to, dnnl::stream& stream) {
    if (from.get_desc() == to) return from;
    M result(to, cpu_engine());
    dnnl::reorder(from, result).execute(stream, const_cast<M&>(from), result);
    return result;
}

// A kernel writes; adding to what is there is a second pass over a scratch result.
template <class Run>
void with_scratch(const Out& o, Run&& run) {
    if (o.mode == Mode::skip) return;
    if (o.mode == Mode::write) return run(static_cast<const View&>(o));
    std::vector<std::byte> scratch(std::size_t(o.numel()) * size_of(o.dtype));
    View v = o;
    v.p = scratch.data();
    run(v);
    dispatch_float(o.dtype, "conv", [&](auto tag) {
        using T = decltype(tag);
        emit_parallel(o, o.numel(), [&](std::int64_t i) { return acc_t<T>(ptr<T>(v)[i]); });
    });
}

void forward_widened(const ConvFwd& a) {
    const Widened x(a.x), w(a.w);
    const Rounded y(a.y);
    ConvFwd wide = a;
    wide.x = x.view(), wide.w = w.view(), wide.y = y.out();
    conv_forward(wide);
    y.store();
}

void backward_widened(const ConvBwd& a) {
    const Widened dy(a.dy), x(a.x), w(a.w);
    const Rounded dx(a.dx), dw(a.dw);
    ConvBwd wide = a;
    wide.dy = dy.view(), wide.x = x.view(), wide.w = w.view(), wide.dx = dx.out(), wide.dw = dw.out();
    conv_backward(wide);
    dx.store(), dw.store();
}

}  // namespace

void conv_forward(const ConvFwd& a) {
    if (a.x.dtype == DType::f64) return forward_f64(a);
    if (must_widen(a.x)) return forward_widened(a);
    const Problem p(a.x, a.w, a.y.cols, a.s);
    dnnl::stream stream(cpu_engine());
    const auto op = p.forward();
    const M w = reordered(on(p.filters(p.type), a.w), op.weights_desc(), stream);
    dnnl::convolution_forward(op).execute(stream, {{DNNL_ARG_SRC, on(p.pixels(p.src), a.x)}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DST, on(p.pixels(p.dst), a.y)}});
    stream.wait();
}

void conv_backward(const ConvBwd& a) {
    if (a.x.dtype == DType::f64) return backward_f64(a);
    if (must_widen(a.x)) return backward_widened(a);
    const Problem p(a.x, a.w, a.dy.cols, a.s);
    dnnl::stream stream(cpu_engine());
    const auto hint = p.forward();
    const M dy = on(p.pixels(p.dst), a.dy);
    with_scratch(a.dx, [&](const View& dx) {
        const dnnl::convolution_backward_data::primitive_desc op(
            {dnnl::algorithm::convolution_direct, p.pixels(p.src), p.any(), p.pixels(p.dst), p.strides, p.pad, p.pad}, cpu_engine(), hint);
        const M w = reordered(on(p.filters(p.type), a.w), op.weights_desc(), stream);
        dnnl::convolution_backward_data(op).execute(stream, {{DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DIFF_SRC, on(p.pixels(p.src), dx)}});
        stream.wait();
    });
    with_scratch(a.dw, [&](const View& dw) {
        const auto to = dnnl_type(dw.dtype);
        const dnnl::convolution_backward_weights::primitive_desc op(
            {dnnl::algorithm::convolution_direct, p.pixels(p.src), M::desc(p.weights, to, M::format_tag::any), p.pixels(p.dst), p.strides, p.pad, p.pad}, cpu_engine(), hint);
        M blocked(op.diff_weights_desc(), cpu_engine()), plain = on(p.filters(to), dw);
        dnnl::convolution_backward_weights(op).execute(stream, {{DNNL_ARG_SRC, on(p.pixels(p.src), a.x)}, {DNNL_ARG_DIFF_DST, dy}, {DNNL_ARG_DIFF_WEIGHTS, blocked}});
        dnnl::reorder(blocked, plain).execute(stream, blocked, plain);
        stream.wait();
    });
}

}  // namespace eng::cpu
