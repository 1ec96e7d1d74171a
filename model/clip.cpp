#include "model/clip.h"

#include <cmath>

#include "model/resnet.h"

namespace scvd {
Transformer::Transformer(const Declare& d, int dim, int layers, int heads, bool recompute) : recompute_(recompute) {
    const double width = 1 / std::sqrt(double(dim));
    const Init attn = Init::normal(width), proj = Init::normal(width / std::sqrt(2.0 * layers)), fc = Init::normal(width / std::sqrt(2.0));
    Scope a("transformer"), b("resblocks");
    for (int i = 0; i < layers; ++i) {
        Scope c(std::to_string(i));
        blocks_.push_back({LayerNorm(d, "ln_1", dim), LayerNorm(d, "ln_2", dim), SelfAttention(d, "attn", dim, heads, attn, proj),
                           FeedForward(d, "mlp.c_fc", "mlp.c_proj", dim, 4 * dim, fc, proj), "block" + std::to_string(i)});
    }
}

Tensor Transformer::run(const Block& b, const Tensor& x, const Seqs& seqs, bool causal) {
    Scope scope(b.name);
    const Tensor y = b.attn(b.ln_1(x), seqs, causal, x);
    return b.mlp(b.ln_2(y), y);
}

Tensor Transformer::operator()(Tensor x, const Seqs& seqs, bool causal) const {
    for (const Block& b : blocks_) {
        if (!recompute_) x = run(b, x, seqs, causal);
        else x = eng::checkpoint([&b, seqs, causal](const std::vector<Tensor>& in) { return run(b, in[0], seqs, causal); }, {x});
    }
    return x;
}

std::unique_ptr<ImageEncoder> make_image_encoder(const Declare& d, const ModelConfig& c) {
    Scope scope("visual");
    if (c.image.encoder == "resnet") return std::make_unique<ResNet>(d, c);
    return std::make_unique<VisionTransformer>(d, c);
}

VisionTransformer::VisionTransformer(const Declare& d, const ModelConfig& c)
    : geometry_(c.patches()),
      dtype_(dtype_named(c.dtype)),
      dim_(c.image.dim),
      conv1_(d.matrix("conv1.weight", {dim_, 3, c.image.patch, c.image.patch}, Init::normal(1 / std::sqrt(3.0 * c.image.patch * c.image.patch)))),
      class_embedding_(d.vector("class_embedding", {dim_}, Init::normal(1 / std::sqrt(double(dim_))))),
      positional_embedding_(d.vector("positional_embedding", {geometry_.patches() + 1, dim_}, Init::normal(1 / std::sqrt(double(dim_))))),
      proj_(d.matrix("proj", {dim_, c.embed}, Init::normal(1 / std::sqrt(double(dim_))))),
      ln_pre_(d, "ln_pre", dim_),
      transformer_(d, dim_, c.image.layers, c.image.heads, c.recompute),
      ln_post_(d, "ln_post", dim_) {}

ImageFeatures VisionTransformer::operator()(const Tensor& pixels, const Tensor& augment) const {
    Scope scope("visual");
    const int B = int(pixels.shape()[0]), L = geometry_.patches() + 1;
    const Tensor rows = eng::patchify(pixels, augment, geometry_, dtype_);
    Tensor x = eng::linear(rows, conv1_->use().view({dim_, rows.cols()}));
    x = eng::add_class_and_positions(x, class_embedding_->use(), positional_embedding_->use());
    x = transformer_(ln_pre_(x), eng::uniform_seqs(pixels.arena(), B, L), false);
    const Tensor tokens = eng::matmul(ln_post_(x), proj_->use());
    return {eng::gather_rows(tokens, eng::count_up(pixels.arena(), B, 0, L)), tokens, B, L - 1};
}

TextEncoder::TextEncoder(const Declare& d, const ModelConfig& c)
    : token_embedding_(d.matrix("token_embedding.weight", {c.text.vocab, c.text.dim}, Init::normal(0.02))),
      positional_embedding_(d.vector("positional_embedding", {c.text.context, c.text.dim}, Init::normal(0.01))),
      text_projection_(d.matrix("text_projection", {c.text.dim, c.embed}, Init::normal(1 / std::sqrt(double(c.text.dim))))),
      transformer_(d, c.text.dim, c.text.layers, c.text.heads, c.recompute),
      ln_final_(d, "ln_final", c.text.dim) {}

TextFeatures TextEncoder::operator()(const TextBatch& t) const {
    Scope scope("text");
    Tensor x = eng::embed_tokens(t.ids, t.positions, token_embedding_->use(), positional_embedding_->use());
    x = transformer_(x, t.seqs, true);
    // Norm and projection are row-wise, so only the EOT rows need them.
    const Tensor texts = eng::matmul(ln_final_(eng::gather_rows(x, t.eot)), text_projection_->use());
    return {eng::gather_rows(texts, eng::count_up(x.arena(), t.captions)), eng::gather_rows(texts, t.prompt_text), t.prompts};
}

}  // namespace scvd
