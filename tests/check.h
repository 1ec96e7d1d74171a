#pragma once
// Helpers of the op tests: random tensors, one run of a case with a random cotangent, distances.
#include <cmath>
#include <random>

#include "ops/cases.h"
#include "ops/host.h"

namespace eng::test {

inline Tensor random_normal(Arena& arena, Shape s, DType t, unsigned seed) {
    Tensor x(arena, s, t);
    std::mt19937 g(seed);
    std::normal_distribution<double> n;
    dispatch_float(t, "random", [&](auto tag) {
        for (std::int64_t i = 0; i < x.numel(); ++i) x.as<decltype(tag)>()[i] = decltype(tag)(n(g));
    });
    return x;
}
inline double get(const Tensor& t, std::int64_t i) {
    double v = 0;
    dispatch_float(t.dtype(), "get", [&](auto tag) { v = double(t.as<decltype(tag)>()[i]); });
    return v;
}
inline Tensor to(const Tensor& t, DType dtype) {
    Recording off(nullptr);
    return t.dtype() == dtype ? t : cast(t.detach(), dtype);
}
inline double inner(const Tensor& a, const Tensor& b) {
    double s = 0;
    for (std::int64_t i = 0; i < a.numel(); ++i) s += get(a, i) * get(b, i);
    return s;
}
inline double max_abs(const Tensor& a) {
    double m = 0;
    for (std::int64_t i = 0; i < a.numel(); ++i) m = std::fmax(m, std::fabs(get(a, i)));
    return m;
}
inline double max_diff(const Tensor& a, const Tensor& b) {
    double m = 0;
    for (std::int64_t i = 0; i < a.numel(); ++i) {
        const double d = std::fabs(get(a, i) - get(b, i));
        m = std::isnan(d) ? INFINITY : std::fmax(m, d);
    }
    return m;
}
inline bool same_bits(const Tensor& a, const Tensor& b) {
    return a.shape() == b.shape() && a.dtype() == b.dtype() && !std::memcmp(a.raw(), b.raw(), a.bytes());
}

struct Result {
    Tensor y;
    std::vector<Tensor> grads;
};
// A random cotangent: sum() would hide most softmax and norm mistakes.
inline Result run(const Case& c, Arena& arena, std::vector<Tensor> x, const Tensor& cotangent) {
    Tape tape;
    Recording on(c.gradient ? &tape : nullptr);
    if (c.gradient)
        for (Tensor& t : x) t = tape.leaf(t);
    Result r{c.f(arena, x), {}};
    if (!c.gradient) return r;
    tape.backward(r.y, to(cotangent, r.y.dtype()));
    for (Tensor& t : x) r.grads.push_back(tape.take(t));
    return r;
}

// Relative gap between <grad_i, v> and the central difference of <w, f> along v, for input i, in f64.
inline double directional_gap(const std::function<double(const std::vector<Tensor>&)>& f, const std::vector<Tensor>& x,
                              std::size_t i, const Tensor& grad, unsigned seed = 7) {
    const Tensor v = random_normal(x[i].arena(), x[i].shape(), DType::f64, seed);
    const auto f_at = [&](double h) {
        std::vector<Tensor> xs = x;
        xs[i] = x[i].like();
        for (std::int64_t k = 0; k < v.numel(); ++k) xs[i].as<double>()[k] = get(x[i], k) + h * get(v, k);
        return f(xs);
    };
    const double h = 1e-5, numeric = (f_at(h) - f_at(-h)) / (2 * h), analytic = inner(grad, v);
    return std::fabs(numeric - analytic) / std::fmax(1e-3, std::fabs(numeric));
}

}  // namespace eng::test
