// VSR of many (image, text) pairs, in the form that leaves least to do for a pair. Layer by layer it is
//
//   G = LN5(W_o MHCA(Y, E) + b_o)      t = maxpool LN6(F),  F = W_2 QuickGELU(W_1 G + b_1) + b_2 (+ G)
//
// With A [N, H P] the attention's probabilities of every head and prompt, all that is linear moves to the other side of A, where
// it is done once per text instead of once per patch:
//
//   x = A V       V[(h,p)] = W_o,h v[p,h] + b_o / H, less its mean: a head's probabilities sum to 1, and LN5 takes the mean off
//   r[n] = 1 / sqrt(mean x[n]^2 + eps),  mean x^2 = A (V V^T) A^T / d: LN5's scale without x
//   G = (r A) V diag(gamma) + beta
//   W_1 G + b_1 = (r A) U + c              U = V diag(gamma) W_1^T,  c = W_1 beta + b_1
//
// Left for a pair at N = 192, H = 8, P = 6 (slots for 8), d = 512, hidden 2048: 13 + 2 + 50 + 403 MFLOP instead of 906 (13 more
// with a residual), and on the way back 0.94 GFLOP instead of 1.8, as W_1's and W_o's gradients are made from those of U and V, once per text.
// With several ranks each folds the texts of all, which costs 0.5 GFLOP a text: worth it up to some twenty ranks.
// When pairs are scored on Hopper, one kernel does all of it and keeps A, G and the hidden layer on chip (ops/cuda/vsr_pool.cu).
#include <algorithm>

#include "engine/transfer.h"
#include "ops/host.h"

namespace eng {
namespace {

constexpr std::int64_t kGroupRows = 1536;  // of the hidden layer at once, when scoring: 6 MB in bf16 stay in cache

struct Folded {
    Tensor k, v, scaled, u, c;  // [texts H S, d]: keys, V, V diag(gamma); [texts H S, hidden], [hidden]
    int slots;
};

Folded fold(const Tensor& kv, const Seqs& prompts, const VsrWeights& w) {
    const int slots = (prompts.max_len + 7) / 8 * 8;  // whole eights: a text's sums do not depend on its neighbours
    const Tensor v = center_rows(linear(spread_heads(kv, 1, prompts, w.heads, slots), w.out_weight, scale(w.out_bias, 1.0 / w.heads)));
    const Tensor scaled = scale_columns(v, w.ln5_weight);
    return {spread_heads(kv, 0, prompts, w.heads, slots), v, scaled, linear(scaled, w.up_weight),
            linear(w.ln5_bias.view({1, kv.cols() / 2}), w.up_weight, w.up_bias), slots};
}

// t of every pair, [pairs, d]
Tensor pooled(const Tensor& q, const Folded& f, const Tensor& v_products, int patches, const Seqs& prompts, const Tensor& image, const Tensor& text, const VsrWeights& w) {
    const Tensor a = slot_mix(q, f.k, v_products, prompts, image, text, patches, w.heads);
    const Tensor g = w.residual ? grouped_matmul(a, f.scaled, text, w.ln5_bias) : Tensor{};
    return layer_norm_max(grouped_mlp(a, f.u, text, f.c, w.down_weight, w.down_bias, g), patches, w.ln6_weight, w.ln6_bias);
}
Tensor products_of(const Folded& f, const VsrWeights& w) { return gram(f.v, w.heads * f.slots); }

// Pairs one after another, as many at a time as kGroupRows have room for.
void in_groups(const Tensor& q, const Folded& f, int patches, const Seqs& prompts, const std::vector<std::int32_t>& image, const std::vector<std::int32_t>& text, const VsrWeights& w, const Tensor& t) {
    const Tensor v_products = products_of(f, w), images = indices(q.arena(), image), texts = indices(q.arena(), text);
    const std::int64_t all = std::int64_t(image.size()), step = std::max<std::int64_t>(1, kGroupRows / patches);
    for (std::int64_t first = 0, n = 0; first < all; first += n) {
        n = std::min(step, all - first);
        copy(t.slice(first, n), pooled(q, f, v_products, patches, prompts, images.slice(first, n), texts.slice(first, n), w));
    }
}

// The kernel takes two pairs of one text at a time. False: it is not for this card or these sizes.
bool in_one_kernel(const Tensor& q, const Folded& f, int patches, const Seqs& slots, const std::vector<std::int32_t>& image, const std::vector<std::int32_t>& text, const VsrWeights& w, const Tensor& t) {
    VsrPoolArgs args{in(q), in(f.k), in(f.v), in(f.u), in(f.c), in(w.ln5_weight), in(w.ln5_bias), in(w.down_weight), in(w.down_bias), in(w.ln6_weight), in(w.ln6_bias),
                     {}, {}, {}, {}, {}, out(t), w.heads, f.slots, float(score_scale(q.cols(), w.heads)), 1e-5f, w.residual};
    if (!cuda::vsr_pool_fits(args)) return false;
    std::vector<std::int32_t> taken, order, units;
    for (const std::int32_t i : text) taken.push_back(slots.host_len[std::size_t(i)]), order.push_back(std::int32_t(order.size()));
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return text[std::size_t(a)] < text[std::size_t(b)]; });
    for (const std::int32_t n : order) {
        if (units.size() % 2 && text[std::size_t(units.back())] != text[std::size_t(n)]) units.push_back(-1);
        units.push_back(n);
    }
    if (units.size() % 2) units.push_back(-1);
    Arena& arena = q.arena();
    const Seqs pictures = pick(arena, uniform_seqs(arena, int(q.rows()) / patches, patches), image);
    const Tensor texts = indices(arena, text), prompts = indices(arena, taken), pairs = indices(arena, units).view({std::int64_t(units.size()) / 2, 2});
    args.q_begin = in(pictures.begin), args.q_len = in(pictures.len), args.text = in(texts), args.prompts = in(prompts), args.units = in(pairs);
    cuda::vsr_pool(args);
    return true;
}

void check(const Tensor& q, const Tensor& kv, int patches, std::size_t images, std::size_t texts, const VsrWeights& w) {
    const std::int64_t C = q.cols();
    ENG_CHECK(kv.cols() == 2 * C && w.heads > 0 && C % w.heads == 0 && w.out_weight.shape() == Shape({C, C}) && w.up_weight.cols() == C && w.down_weight.rows() == C &&
                  w.down_weight.cols() == w.up_weight.rows() && patches > 0 && q.rows() % patches == 0,
              "vsr", "q ", q.shape(), " in images of ", patches, " regions, kv ", kv.shape(), " with ", w.heads, " heads, weights ", w.out_weight.shape(), " ", w.up_weight.shape(), " ", w.down_weight.shape());
    ENG_CHECK(images == texts && images > 0, "vsr", images, " images and ", texts, " texts");
}

}  // namespace

Tensor vsr(const Tensor& q, const Tensor& kv, int patches, const Seqs& prompts, const Tensor& image, const Tensor& text, const VsrWeights& w) {
    check(q, kv, patches, std::size_t(image.numel()), std::size_t(text.numel()), w);
    const Folded f = fold(kv, prompts, w);
    return pooled(q, f, products_of(f, w), patches, prompts, image, text, w);
}

Tensor vsr_pool(const Tensor& q, const Tensor& kv, int patches, const Seqs& prompts, const std::vector<std::int32_t>& image, const std::vector<std::int32_t>& text, const VsrWeights& w) {
    check(q, kv, patches, image.size(), text.size(), w);
    for (const std::int32_t i : image) ENG_CHECK(i >= 0 && i < q.rows() / patches, "vsr", "image ", i, " of ", q.rows() / patches);
    const Recording off(nullptr);
    std::vector<std::int32_t> used = text, at;  // texts that occur, each once; of each pair, where its text is among them
    std::sort(used.begin(), used.end());
    used.erase(std::unique(used.begin(), used.end()), used.end());
    for (const std::int32_t i : text) at.push_back(std::int32_t(std::lower_bound(used.begin(), used.end(), i) - used.begin()));
    const Seqs slots = pick(q.arena(), prompts, used);
    const Folded f = fold(kv, slots, w);
    const Tensor t = q.like(Shape{std::int64_t(image.size()), q.cols()});
    if (q.device() != Device::cuda || !in_one_kernel(q, f, patches, slots, image, at, w, t)) in_groups(q, f, patches, slots, image, at, w, t);
    return t;
}

}  // namespace eng
