// DFA's focus and the losses.
#include "ops/host.h"

namespace eng {

Tensor focus(const Tensor& t, const Tensor& l, const Seqs& s, Similarity sim, WeightNorm norm, Tensor* weights) {
    ENG_CHECK(!s.shared && t.rows() == s.count && t.cols() == l.cols() && s.total == l.rows(), "focus", "t ", t.shape(),
              " and L ", l.shape(), " for ", s.count, " texts of ", s.total, " prompts");
    struct Attrs { Similarity sim; WeightNorm norm; } at{sim, norm};
    const Tensor f = t.like(), argmax = t.like(t.shape(), DType::i32);
    const Tensor w = t.like(Shape{l.rows()}, stats_dtype(t.dtype()));
    run_focus_forward(t.device(), {in(t), in(l), in(s.begin), in(s.len), out(f), out(w), out(argmax), sim, norm});
    if (weights) *weights = w;
    if (!wants_grad({&t, &l})) return f;
    return Tape::recording->record("focus", {t, l}, f, {t, l, w, argmax, s.begin, s.len}, at, [](Backward& b) {
        const Attrs at = b.attrs<Attrs>();
        run_focus_backward(b.gout.device(), {in(b.gout), in(b.saved(0)), in(b.saved(1)), in(b.saved(2)), in(b.saved(3)), in(b.saved(4)),
                                             in(b.saved(5)), out(b.grad(0)), out(b.grad(1)), at.sim, at.norm});
    });
}

Tensor softmax_xent(const Tensor& logits, const Tensor& target) {
    ENG_CHECK(target.dtype() == DType::i32 && target.numel() == logits.rows(), "softmax_xent", "logits ", logits.shape(),
              " need one i32 target per row, got ", target.shape(), " ", name_of(target.dtype()));
    const Tensor loss = logits.like(Shape{logits.rows()}, stats_dtype(logits.dtype())), lse = loss.like();
    run_softmax_xent_forward(logits.device(), {in(logits), in(target), out(loss), out(lse)});
    if (!wants_grad({&logits})) return loss;
    return Tape::recording->record("softmax_xent", {logits}, loss, {logits, target, lse}, 0, [](Backward& b) {
        run_softmax_xent_backward(b.gout.device(), {in(b.gout), in(b.saved(0)), in(b.saved(1)), in(b.saved(2)), out(b.grad(0))});
    });
}

Tensor matching_loss(const Tensor& scores, const Tensor& match, double scale, double eps) {
    ENG_CHECK(match.dtype() == DType::i32 && match.shape() == scores.shape(), "matching_loss", "scores ", scores.shape(),
              " need an i32 match of the same shape, got ", match.shape(), " ", name_of(match.dtype()));
    struct Attrs { double scale, eps; } at{scale, eps};
    const Tensor loss = scores.like(Shape{scores.rows()}, stats_dtype(scores.dtype())), lse = loss.like();
    run_matching_forward(scores.device(), {in(scores), in(match), out(loss), out(lse), scale, eps});
    if (!wants_grad({&scores})) return loss;
    return Tape::recording->record("matching_loss", {scores}, loss, {scores, match, loss, lse}, at, [](Backward& b) {
        const Attrs at = b.attrs<Attrs>();
        run_matching_backward(b.gout.device(), {in(b.gout), in(b.saved(0)), in(b.saved(1)), in(b.saved(2)), in(b.saved(3)), out(b.grad(0)), at.scale, at.eps});
    });
}

}  // namespace eng
