// Ops that move rows: gathers, segment pooling, token embedding, patches, class token and positions.
#include "ops/host.h"

namespace eng {
namespace {
void check_index(const char* op, const Tensor& idx) {
    ENG_CHECK(idx.dtype() == DType::i32 && idx.shape().rank == 1, op, "wants i32 indices [n], got ", idx.shape(), " ", name_of(idx.dtype()));
}
}  // namespace

Tensor gather_rows(const Tensor& x, const Tensor& idx) {
    check_index("gather_rows", idx);
    const Tensor y = x.like(Shape{idx.numel(), x.cols()});
    run_gather_rows(x.device(), {in(x), in(idx), out(y)});
    if (!wants_grad({&x})) return y;
    return Tape::recording->record("gather_rows", {x}, y, {idx}, 0, [](Backward& b) {
        run_scatter_add_rows(b.gout.device(), {in(b.gout), in(b.saved(0)), out(b.grad(0))});
    });
}

Tensor segment_max(const Tensor& x, const Seqs& s) {
    ENG_CHECK(!s.shared, "segment_max", "wants segments that do not share rows");
    const Tensor y = x.like(Shape{s.count, x.cols()}), argmax = y.like(y.shape(), DType::i32);
    run_segment_max_forward(x.device(), {in(x), in(s.begin), in(s.len), out(y), out(argmax)});
    if (!wants_grad({&x})) return y;
    return Tape::recording->record("segment_max", {x}, y, {argmax}, 0, [](Backward& b) {
        run_segment_max_backward(b.gout.device(), {in(b.gout), in(b.saved(0)), out(b.grad(0))});
    });
}

Tensor embed_tokens(const Tensor& ids, const Tensor& positions, const Tensor& table, const Tensor& pos) {
    check_index("embed_tokens", ids);
    check_index("embed_tokens", positions);
    ENG_CHECK(ids.numel() == positions.numel() && table.cols() == pos.cols(), "embed_tokens", ids.shape(), " ids, ",
              positions.shape(), " positions, table ", table.shape(), ", positions ", pos.shape());
    const Tensor y = ids.like(Shape{ids.numel(), table.cols()}, table.dtype());  // not beside the table, which is a parameter
    run_embed_forward(table.device(), {in(ids), in(positions), in(table), in(pos), out(y)});
    if (!wants_grad({&table, &pos})) return y;
    return Tape::recording->record("embed_tokens", {table, pos}, y, {ids, positions}, 0, [](Backward& b) {
        run_embed_backward(b.gout.device(), {in(b.gout), in(b.saved(0)), in(b.saved(1)), out(b.grad(0)), out(b.grad(1))});
    });
}

Tensor patchify(const Tensor& pixels, const Tensor& augment, const PatchGeometry& g, DType dtype) {
    const Shape want{pixels.shape()[0], g.height, g.width, 3};
    ENG_CHECK(pixels.dtype() == DType::u8 && pixels.shape() == want, "patchify", "wants u8 pixels ", want, ", got ",
              name_of(pixels.dtype()), " ", pixels.shape());
    ENG_CHECK(!augment.defined() || augment.shape() == (Shape{want[0], 8}), "patchify", "augment ", augment.shape());
    const Tensor y = pixels.like(Shape{want[0] * g.patches(), 3 * g.patch * g.patch}, dtype);
    const View px{pixels.raw(), DType::u8, want[0], std::int64_t(g.height) * g.width * 3, std::int64_t(g.height) * g.width * 3};
    // CLIP's normalisation; erased pixels take the mean as their normalised value, as the published recipes do.
    run_patchify(pixels.device(), {px, in(augment), out(y), g.height, g.width, g.patch, g.stride,
                                   {0.48145466f, 0.4578275f, 0.40821073f}, {0.26862954f, 0.26130258f, 0.27577711f},
                                   {0.48145466f, 0.4578275f, 0.40821073f}});
    return y;
}

Tensor add_class_and_positions(const Tensor& patches, const Tensor& cls, const Tensor& pos) {
    const std::int64_t C = patches.cols(), P = pos.rows() - 1;
    ENG_CHECK(P > 0 && patches.rows() % P == 0 && cls.numel() == C && pos.cols() == C, "add_class_and_positions",
              "patches ", patches.shape(), " class ", cls.shape(), " positions ", pos.shape());
    const Tensor y = patches.like(Shape{patches.rows() / P * (P + 1), C});
    run_class_positions_forward(patches.device(), {in(patches), in(cls), in(pos), out(y)});
    if (!wants_grad({&patches, &cls, &pos})) return y;
    return Tape::recording->record("add_class_and_positions", {patches, cls, pos}, y, {pos}, 0, [](Backward& b) {
        Out dpos = out(b.grad(2));
        if (dpos.mode == Mode::skip) dpos.rows = b.saved(0).rows(), dpos.cols = b.saved(0).cols();
        run_class_positions_backward(b.gout.device(), {in(b.gout), out(b.grad(0)), out(b.grad(1)), dpos});
    });
}

// Backwards, add_class_and_positions gives a patch the gradient of its token; here that is the way forward, and the way back is
// add_class_and_positions with no class and no positions.
Tensor drop_class(const Tensor& x, std::int64_t patches) {
    const std::int64_t C = x.cols(), L = patches + 1;
    ENG_CHECK(patches > 0 && x.rows() % L == 0, "drop_class", x.shape(), " is no multiple of ", L, " tokens");
    const Tensor y = x.like(Shape{x.rows() / L * patches, C});
    run_class_positions_backward(x.device(), {in(x), out(y), {{}, Mode::skip}, {{nullptr, x.dtype(), L, C, C}, Mode::skip}});
    if (!wants_grad({&x})) return y;
    return Tape::recording->record("drop_class", {x}, y, {}, L, [](Backward& b) {
        const std::int64_t tokens = b.attrs<std::int64_t>(), C = b.gout.cols();
        run_class_positions_forward(b.gout.device(), {in(b.gout), {}, {nullptr, b.gout.dtype(), tokens, C, C}, out(b.grad(0))});
    });
}

}  // namespace eng
