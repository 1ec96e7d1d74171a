// The ops that VSR's algebra is made of beside products: see ops/vsr.cpp.
#include "ops/host.h"

namespace eng {
namespace {

// Block i of a is block a_at[i], of a_rows rows; the same of b. c's blocks are c_at's, or the products one by one.
void products(const Tensor& a, int a_rows, const Tensor& a_at, const Tensor& b, int b_rows, const Tensor& b_at, const Out& c, const Tensor& c_at, std::int64_t n, bool ta, bool tb) {
    GroupedGemmArgs g{in(a), in(b), in(a_at), in(b_at), in(c_at)};
    g.c = c, g.members = n, g.a_rows = a_rows, g.b_rows = b_rows, g.ta = ta, g.tb = tb;
    run_grouped_gemm(a.device(), g);
}

}  // namespace

Tensor spread_heads(const Tensor& kv, int half, const Seqs& prompts, int heads, int slots) {
    const std::int64_t C = kv.cols() / 2;
    ENG_CHECK(kv.cols() % 2 == 0 && heads > 0 && C % heads == 0 && slots >= prompts.max_len, "spread_heads", "kv ", kv.shape(), " with ", heads, " heads, ", slots, " slots for up to ",
              prompts.max_len, " prompts");
    for (std::size_t i = 0; i < prompts.host_len.size(); ++i)
        ENG_CHECK(prompts.host_begin[i] >= 0 && prompts.host_begin[i] + prompts.host_len[i] <= kv.rows(), "spread_heads", "list ", i, " ends at row ", prompts.host_begin[i] + prompts.host_len[i], " of ", kv.rows());
    const Tensor y = kv.like(Shape{std::int64_t(prompts.count) * heads * slots, C});
    run_spread_heads_forward(kv.device(), {columns(in(kv), half * C, C), in(prompts.begin), in(prompts.len), out(y), heads, slots});
    if (!wants_grad({&kv})) return y;
    ENG_CHECK(!prompts.shared && prompts.total == kv.rows(), "spread_heads", prompts.total, " rows in sequences of ", kv.shape());
    struct Attrs { int heads, slots, half; };
    return Tape::recording->record("spread_heads", {kv}, y, {prompts.begin, prompts.len}, Attrs{heads, slots, half}, [](Backward& b) {
        const Attrs at = b.attrs<Attrs>();
        run_spread_heads_backward(b.gout.device(), {in(b.gout), in(b.saved(0)), in(b.saved(1)), out(b.grad(0)), at.heads, at.slots, at.half * b.gout.cols()});
    });
}

Tensor gram(const Tensor& v, int rows) {
    ENG_CHECK(rows > 0 && v.rows() % rows == 0, "gram", v.shape(), " in blocks of ", rows, " rows");
    const Tensor y = v.like(Shape{v.rows(), rows}, stats_dtype(v.dtype()));
    products(v, rows, {}, v, rows, {}, out(y), {}, v.rows() / rows, false, true);
    if (!wants_grad({&v})) return y;
    return Tape::recording->record("gram", {v}, y, {v}, 0, [](Backward& b) {  // dv = (dy + dy^T) v
        const Tensor& v = b.saved(0);
        const int rows = int(b.gout.cols());
        const Tensor dy = cast(b.gout.detach(), v.dtype());
        const std::int64_t n = v.rows() / rows;
        Out dv = out(b.grad(0));
        products(dy, rows, {}, v, rows, {}, dv, {}, n, false, false);
        dv.mode = Mode::accumulate;
        products(dy, rows, {}, v, rows, {}, dv, count_up(v.arena(), n), n, true, false);  // where a is transposed, a block is the sum of its members: here of one
    });
}

namespace {

struct MixAttrs { int heads, slots, patches; double scale, width; };

void slot_mix_backward(Backward& b) {
    const MixAttrs at = b.attrs<MixAttrs>();
    const Tensor &q = b.saved(0), &k = b.saved(1), &y = b.saved(3), &image = b.saved(5), &text = b.saved(6), none;
    const int N = at.patches, K = at.heads * at.slots;
    const std::int64_t n = text.numel();
    const Tensor scores = y.like(), e = b.needs(2) ? y.like() : none;
    run_slot_mix_backward(y.device(), {in(b.gout), in(y), in(b.saved(4)), in(b.saved(2)), in(text), out(scores), e.defined() ? out(e) : Out{{}, Mode::skip}, at.heads, at.slots, N, at.scale, at.width});
    if (b.needs(0)) products(scores, N, none, k, K, text, out(b.grad(0)), image, n, false, false);
    if (b.needs(1)) products(scores, N, none, q, N, image, out(b.grad(1)), text, n, true, false);
    if (b.needs(2)) products(y, N, none, e, N, none, out(b.grad(2)), text, n, true, false);
}

}  // namespace

Tensor slot_mix(const Tensor& q, const Tensor& k, const Tensor& gram, const Seqs& prompts, const Tensor& image, const Tensor& text, int patches, int heads) {
    const std::int64_t n = text.numel(), C = q.cols(), K = gram.cols();
    ENG_CHECK(heads > 0 && C % heads == 0 && K % heads == 0 && k.cols() == C && k.rows() == prompts.count * K && gram.rows() == k.rows() && patches > 0 && q.rows() % patches == 0 &&
                  image.numel() == n && image.dtype() == DType::i32 && text.dtype() == DType::i32 && prompts.max_len <= K / heads,
              "slot_mix", "q ", q.shape(), " in images of ", patches, " regions, k ", k.shape(), " of ", prompts.count, " texts, gram ", gram.shape(), ", ", heads, " heads, ", image.numel(),
              " images and ", n, " texts");
    const MixAttrs at{heads, int(K) / heads, patches, score_scale(C, heads), double(C)};
    const Tensor y = q.like(Shape{n * patches, K}), rstd = q.like(Shape{y.rows()}, stats_dtype(q.dtype()));
    {
        const Tensor scores = q.like(y.shape(), stats_dtype(q.dtype()));
        products(q, patches, image, k, int(K), text, out(scores), {}, n, false, true);
        run_slot_mix_forward(q.device(), {in(scores), in(gram), in(text), in(prompts.len), out(y), out(rstd), heads, at.slots, patches, at.scale, at.width, 1e-5});
    }
    if (!wants_grad({&q, &k, &gram})) return y;
    return Tape::recording->record("slot_mix", {q, k, gram}, y, {q, k, gram, y, rstd, image, text}, at, slot_mix_backward);
}

}  // namespace eng
