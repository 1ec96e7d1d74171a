// VSR of many (image, text) pairs, in the form that leaves least to do for a pair. Layer by layer it is
//
//   G = LN5(W_o MHCA(Y, E) + b_o)      t = maxpool LN6(F),  F = W_2 QuickGELU(W_1 G + b_1) + b_2 (+ G)
//
// With A [N, H P] the attention's probabilities of every head and prompt, all that is linear moves to the other side of A, where
// it is done once per text instead of once per patch:
//
//   x = A V       V[(h,p)] = W_o,h v[p,h] + b_o / H, less its mean: a head's probabilities sum to 1, and LN5 takes the mean off
//   G = r x gamma + beta                   r[n] = 1 / sqrt(mean x[n]^2 + eps)
//   W_1 G + b_1 = (r A) U + c              U = V diag(gamma) W_1^T,  c = W_1 beta + b_1
//
// Left for a pair at N = 192, H = 8, P = 6 (slots for 8), d = 512, hidden 2048: 12 + 13 + 50 + 403 MFLOP instead of 943, and no
// product of A is deeper than 64. On Hopper one kernel does all of it and keeps A, G and the hidden layer on chip
// (ops/cuda/vsr_pool.cu); elsewhere it goes in groups whose hidden layer stays in cache.
#include <algorithm>

#include "ops/host.h"

namespace eng {
namespace {

constexpr std::int64_t kGroupRows = 1536;  // of the hidden layer at once: 6 MB in bf16

struct Folded {
    Tensor k, v, u, c;  // [texts H S, d], the same, [texts H S, hidden], [hidden]
    int slots;
    std::int64_t rows(const VsrWeights& w) const { return std::int64_t(w.heads) * slots; }  // of one text
};

Folded fold(const Tensor& kv, const Seqs& prompts, const VsrWeights& w) {
    const std::int64_t C = kv.cols() / 2;
    const int slots = (prompts.max_len + 7) / 8 * 8;  // whole eights: a text's sums do not depend on its neighbours
    const auto spread = [&](std::int64_t first) {
        const Tensor y = kv.like(Shape{std::int64_t(prompts.count) * w.heads * slots, C});
        run_spread_heads(kv.device(), {columns(in(kv), first, C), in(prompts.begin), in(prompts.len), out(y), w.heads, slots});
        return y;
    };
    const Tensor v = linear(spread(C), w.out_weight, scale(w.out_bias, 1.0 / w.heads)), scaled = v.like();
    run_center_rows(kv.device(), {in(v), in(w.ln5_weight), out(v), out(scaled)});
    return {spread(0), v, linear(scaled, w.up_weight), linear(w.ln5_bias.view({1, C}), w.up_weight, w.up_bias), slots};
}

// Rows of pairs first .. first + count, which have one text; `len` of its slots are taken.
Tensor group(const Tensor& q, const Folded& f, std::int64_t text, int len, const VsrWeights& w) {
    const Device d = q.device();
    const std::int64_t R = q.rows(), C = q.cols(), HS = f.rows(w);
    const Tensor k = f.k.slice(text * HS, HS), v = f.v.slice(text * HS, HS), u = f.u.slice(text * HS, HS);
    const Tensor scores = q.like(Shape{R, HS}, stats_dtype(q.dtype())), a = q.like(Shape{R, HS});
    GemmArgs look{in(q), in(k)};
    look.c = out(scores), look.tb = true;
    run_gemm(d, look);
    run_slot_softmax(d, {in(scores), out(a), w.heads, f.slots, len, score_scale(C, w.heads)});
    const Tensor x = matmul(a, v), g = x.like(), mean = x.like(Shape{R}, stats_dtype(x.dtype())), rstd = mean.like();
    run_layer_norm_forward(d, {in(x), in(w.ln5_weight), in(w.ln5_bias), out(g), out(mean), out(rstd), 1e-5f});
    run_row_scale(d, {in(rstd), in(a), out(a)});
    const Tensor h = q.like(Shape{R, u.cols()});
    GemmArgs up{in(a), in(u), in(f.c), {}, out(h), Out{{}, Mode::skip}};
    up.gelu = true;
    run_gemm(d, up);
    return layer_norm(linear(h, w.down_weight, w.down_bias, w.residual ? g : Tensor{}), w.ln6_weight, w.ln6_bias);
}

// Rows of the images, adjacent ones without a copy.
Tensor rows_of(const Tensor& q, const std::vector<std::int32_t>& begin, const std::vector<std::int32_t>& len) {
    bool adjacent = true;
    std::vector<std::int32_t> rows;
    for (std::size_t i = 0; i < begin.size(); ++i) {
        adjacent = adjacent && (i == 0 || begin[i] == begin[i - 1] + len[i - 1]);
        for (std::int32_t r = 0; r < len[i]; ++r) rows.push_back(begin[i] + r);
    }
    return adjacent ? q.slice(begin[0], std::int64_t(rows.size())) : gather_rows(q, indices(q.arena(), rows));
}

// Pairs of one text that follow each other, as many as kGroupRows have room for.
void in_groups(const Tensor& q, const Folded& f, const Seqs& pictures, const Seqs& slots, const std::vector<std::int32_t>& text, const VsrWeights& w, const Tensor& t) {
    const Tensor winner = t.like(t.shape(), DType::i32);
    for (std::size_t first = 0, last = 0; first < text.size(); first = last) {
        std::vector<std::int32_t> begin, len;
        std::int64_t rows = 0;
        for (; last < text.size() && text[last] == text[first] && (last == first || rows + pictures.host_len[last] <= kGroupRows); ++last)
            begin.push_back(pictures.host_begin[last]), len.push_back(pictures.host_len[last]), rows += len.back();
        const std::int64_t at = std::int64_t(first), n = std::int64_t(last - first);
        const Tensor z = group(rows_of(q, begin, len), f, text[first], slots.host_len[std::size_t(text[first])], w);
        const Seqs parts = packed_seqs(q.arena(), len);
        run_segment_max_forward(q.device(), {in(z), in(parts.begin), in(parts.len), out(t.slice(at, n)), out(winner.slice(at, n))});
    }
}

// The kernel takes two pairs of one text at a time. False: it is not for this card or these sizes.
bool in_one_kernel(const Tensor& q, const Folded& f, const Seqs& pictures, const Seqs& slots, const std::vector<std::int32_t>& text, const VsrWeights& w, const Tensor& t) {
    VsrPoolArgs args{in(q), in(f.k), in(f.v), in(f.u), in(f.c), in(w.ln5_weight), in(w.ln5_bias), in(w.down_weight), in(w.down_bias), in(w.ln6_weight), in(w.ln6_bias),
                     in(pictures.begin), in(pictures.len), {}, {}, {}, out(t), w.heads, f.slots, float(score_scale(q.cols(), w.heads)), 1e-5f, w.residual};
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
    const Tensor texts = indices(arena, text), prompts = indices(arena, taken), pairs = indices(arena, units).view({std::int64_t(units.size()) / 2, 2});
    args.text = in(texts), args.prompts = in(prompts), args.units = in(pairs);
    cuda::vsr_pool(args);
    return true;
}

void check(const Tensor& q, const Tensor& kv, const std::vector<std::int32_t>& image, const std::vector<std::int32_t>& text, const VsrWeights& w) {
    const std::int64_t C = q.cols();
    ENG_CHECK(kv.cols() == 2 * C && w.heads > 0 && C % w.heads == 0 && w.out_weight.shape() == Shape({C, C}) && w.up_weight.cols() == C && w.down_weight.rows() == C &&
                  w.down_weight.cols() == w.up_weight.rows(),
              "vsr_pool", "q ", q.shape(), " kv ", kv.shape(), " with ", w.heads, " heads, weights ", w.out_weight.shape(), " ", w.up_weight.shape(), " ", w.down_weight.shape());
    ENG_CHECK(image.size() == text.size() && !image.empty(), "vsr_pool", image.size(), " images and ", text.size(), " texts");
}

}  // namespace

Tensor vsr_pool(const Tensor& q, const Tensor& kv, const Seqs& regions, const Seqs& prompts, const std::vector<std::int32_t>& image,
                const std::vector<std::int32_t>& text, const VsrWeights& w) {
    check(q, kv, image, text, w);
    const Recording off(nullptr);
    std::vector<std::int32_t> used = text, at;  // texts that occur, each once; of each pair, where its text is among them
    std::sort(used.begin(), used.end());
    used.erase(std::unique(used.begin(), used.end()), used.end());
    for (const std::int32_t i : text) at.push_back(std::int32_t(std::lower_bound(used.begin(), used.end(), i) - used.begin()));
    const Seqs slots = pick(q.arena(), prompts, used), pictures = pick(q.arena(), regions, image);
    const Folded f = fold(kv, slots, w);
    const Tensor t = q.like(Shape{std::int64_t(image.size()), q.cols()});
    if (q.device() != Device::cuda || !in_one_kernel(q, f, pictures, slots, at, w, t)) in_groups(q, f, pictures, slots, at, w, t);
    return t;
}

}  // namespace eng
