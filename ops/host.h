#pragma once
// Host side of an op: tensors to views, gradients to outputs.
#include <cmath>

#include "engine/tape.h"
#include "ops/kernels.h"
#include "ops/ops.h"

namespace eng {

inline View in(const Tensor& t) {
    return t.defined() ? View{t.raw(), t.dtype(), t.rows(), t.cols(), t.cols()} : View{};
}
inline Out out(const Tensor& t) { return {in(t), Mode::write}; }
inline Out out(const Grad& g) { return g.mode == Mode::skip ? Out{{}, Mode::skip} : Out{in(g.t), g.mode}; }
// What attention scores are multiplied by: 1 / sqrt(width of a head).
inline double score_scale(std::int64_t width, int heads) { return 1.0 / std::sqrt(double(width / heads)); }
// The gradient of input i is g, which the rule has no more use for.
inline void pass_on(Backward& b, int i, const Tensor& g) {
    if (b.needs(i) && !b.hand_over(i, g)) run_scale(g.device(), {in(g), out(b.grad(i)), 1});
}
inline void pass_on(Backward& b, int i) { pass_on(b, i, b.gout); }
// Columns [first, first+count) of every row.
inline View columns(View v, std::int64_t first, std::int64_t count) {
    if (!v.p) return v;
    v.p = static_cast<char*>(v.p) + std::size_t(first) * size_of(v.dtype);
    v.cols = count;
    return v;
}
inline Out columns(const Out& o, std::int64_t first, std::int64_t count) {
    return {columns(static_cast<const View&>(o), first, count), o.mode};
}

}  // namespace eng
