// Equations and the numbers of the norms follow the paper's framework figure:
//   TVL  S = LN1(MHSA(E))   H = LN2(MHCA(S, X))   L = LN3(FFN(H))
//   VSR  Y = LN4(MHSA(X))   G = LN5(MHCA(Y, E))   t = maxpool LN6(FFN(G))
//   DFA  f = focus(t, L)    v = FFN(LN7(f + t))
// VSR from LN5's input on goes in an order in which a pair costs half as much: ops/vsr.cpp.
#include "model/interaction.h"

#include <cmath>

#include "engine/transfer.h"

namespace scvd {
namespace {

int heads_of(int dim) { return std::max(1, dim / 64); }
Init scaled(int fan_in) { return Init::normal(1 / std::sqrt(double(fan_in))); }
// What a residual branch adds starts as nothing; without the residual it is all there is and starts random.
Init branch(const ModelConfig& c, int fan_in) { return c.cgi.residual == "self" ? Init::zeros() : scaled(fan_in); }

SelfAttention self_attention(const Declare& d, const ModelConfig& c, const std::string& name) {
    return {d, name, c.embed, heads_of(c.embed), scaled(c.embed), branch(c, c.embed)};
}
FeedForward feed_forward(const Declare& d, const ModelConfig& c, const std::string& name) {
    const int hidden = c.cgi.ffn * c.embed;
    return {d, name + ".up", name + ".down", c.embed, hidden, scaled(c.embed), branch(c, hidden)};
}

}  // namespace

// Cross-attention starts as the identity: prompts then look where their similarity with an image token in CLIP's shared
// space is highest, and bring back what is there. From random projections the pair stage has to find that space again.
Interaction::Cross::Cross(const Declare& d, const std::string& name, int dim)
    : q(d, name + ".q_proj", dim, dim, Init::identity()),
      kv(d, name + ".kv_proj", dim, 2 * dim, Init::identity()),
      out(d, name + ".out_proj", dim, dim, Init::identity()) {}

Interaction::Interaction(const Declare& d, const ModelConfig& c)
    : residual_(c.cgi.residual == "self"),
      vsr_pair_(c.cgi.vsr == "pair"),
      heads_(heads_of(c.embed)),
      sim_(c.dfa.sim == "dot" ? eng::Similarity::dot : eng::Similarity::cosine),
      norm_(c.dfa.norm == "softmax" ? eng::WeightNorm::softmax : eng::WeightNorm::sigmoid),
      tvl_self_(self_attention(d, c, "tvl.self_attn")),
      ln1_(d, "tvl.ln1", c.embed),
      tvl_cross_(d, "tvl.cross_attn", c.embed),
      ln2_(d, "tvl.ln2", c.embed),
      tvl_ffn_(feed_forward(d, c, "tvl.ffn")),
      ln3_(d, "tvl.ln3", c.embed),
      vsr_self_(self_attention(d, c, "vsr.self_attn")),
      ln4_(d, "vsr.ln4", c.embed),
      vsr_cross_(vsr_pair_ ? std::make_unique<Cross>(d, "vsr.cross_attn", c.embed) : nullptr),
      ln5_(vsr_pair_ ? std::make_unique<LayerNorm>(d, "vsr.ln5", c.embed) : nullptr),
      vsr_ffn_(feed_forward(d, c, "vsr.ffn")),
      ln6_(d, "vsr.ln6", c.embed),
      ln7_(d, "dfa.ln7", c.embed),
      dfa_ffn_(feed_forward(d, c, "dfa.ffn")) {}

ImageSide Interaction::image_side(const ImageFeatures& f) const {
    Scope scope("cgi.image");
    eng::Arena& arena = f.tokens.arena();
    const int N = f.patches;
    ImageSide s;
    s.tvl_kv = tvl_cross_.kv(f.tokens);
    s.patches = N;
    s.tokens = eng::uniform_seqs(arena, f.count, N, 1, N + 1);
    if (!vsr_pair_) return s;
    const Tensor x = eng::drop_class(f.tokens, N);
    s.vsr_q = vsr_cross_->q(ln4_(vsr_self_(x, eng::uniform_seqs(arena, f.count, N), false, residual_ ? x : Tensor{})));
    return s;
}

TextSide Interaction::text_side(const TextFeatures& f) const {
    Scope scope("cgi.text");
    const Tensor& e = f.prompts;
    const Tensor residual = residual_ ? e : Tensor{};
    TextSide s;
    s.slots = f.slots;
    s.tvl_q = tvl_cross_.q(ln1_(tvl_self_(e, f.slots, false, residual)));
    if (vsr_pair_) {
        s.vsr_kv = vsr_cross_->kv(e);
    } else {  // the same stack without the image: prompts, not regions, are pooled
        const Tensor y = ln4_(vsr_self_(e, f.slots, false, residual));
        s.t = eng::segment_max(ln6_(vsr_ffn_(y, residual_ ? y : Tensor{})), f.slots);
    }
    return s;
}

eng::VsrWeights Interaction::vsr_weights() const {
    return {vsr_cross_->out.weight->use(), vsr_cross_->out.bias->use(), ln5_->weight->use(), ln5_->bias->use(), vsr_ffn_.up.weight->use(),
            vsr_ffn_.up.bias->use(), vsr_ffn_.down.weight->use(), vsr_ffn_.down.bias->use(), ln6_.weight->use(), ln6_.bias->use(), heads_, residual_};
}

Tensor Interaction::local(const ImageSide& image, const TextSide& text, const Seqs& prompts, const Seqs& tokens) const {
    Scope scope("cgi.tvl");
    const Tensor h = ln2_(tvl_cross_.out(eng::cross_attention(text.tvl_q, image.tvl_kv, prompts, tokens, heads_)));
    return ln3_(tvl_ffn_(h, residual_ ? h : Tensor{}));
}

Tensor Interaction::textual(const ImageSide& image, const TextSide& text, const Tensor& images, const Tensor& texts) const {
    Scope scope("cgi.vsr");
    return eng::vsr(image.vsr_q, text.vsr_kv, image.patches, text.slots, images, texts, vsr_weights());
}

// filling: so many lists behind the pairs' own; they get some pair's t, as nobody looks at what comes of it.
PairVectors Interaction::aligned(const Tensor& t, const Tensor& l, const Seqs& prompts, int filling) const {
    Scope scope("dfa");
    PairVectors out;
    out.t = t, out.prompts = eng::results_of(prompts);
    Tensor f;
    if (!filling) {
        f = eng::focus(t, l, out.prompts, sim_, norm_, &out.weights);
    } else {
        const Tensor rows = eng::count_up(t.arena(), t.rows() + filling, 0, 0, int(t.rows()), 1);  // round and round
        f = eng::gather_rows(eng::focus(eng::gather_rows(t, rows), l, out.prompts, sim_, norm_, &out.weights), rows.slice(0, t.rows()));
    }
    const Tensor y = ln7_(eng::add(f, t));
    out.v = dfa_ffn_(y, residual_ ? y : Tensor{});
    return out;
}

PairVectors Interaction::operator()(const ImageSide& image, const TextSide& text, const Candidates& c) const {
    eng::Arena& arena = text.tvl_q.arena();
    const int images = image.tokens.count, N = image.patches, pairs = images * c.size, filling = c.filling * c.size;
    // The filling's prompts look at some image, each at another one: no image has more to do than the rest.
    Tensor texts = c.text.view({pairs});
    const Seqs tokens = eng::repeat_seqs(arena, images + c.filling, c.size, N, 1, N + 1);
    if (filling) {
        texts = Tensor(arena, {pairs + filling}, eng::DType::i32);
        eng::copy(texts.slice(0, pairs), c.text), eng::count_up(texts.slice(pairs, filling), text.slots.count - c.filling, 1, c.size);
        eng::count_up(tokens.begin.slice(pairs, filling), 1, 0, images, N + 1);
    }
    const Seqs prompts = eng::pick(text.slots, texts, c.prompts);
    const Tensor l = local(image, text, prompts, tokens);
    if (!vsr_pair_) return aligned(eng::gather_rows(text.t, c.text.view({pairs})), l, prompts, filling);
    return aligned(textual(image, text, eng::count_up(arena, pairs, 0, 1, c.size), c.text.view({pairs})), l, prompts, filling);
}

PairVectors Interaction::operator()(const ImageSide& image, const TextSide& text, const PairList& pairs, bool with_map) const {
    eng::Arena& arena = text.tvl_q.arena();
    const Seqs prompts = eng::pick(arena, text.slots, pairs.text), tokens = eng::pick(arena, image.tokens, pairs.image);
    const Tensor l = local(image, text, prompts, tokens);
    Tensor t;
    if (!vsr_pair_) t = eng::gather_rows(text.t, eng::indices(arena, pairs.text));
    else if (eng::Tape::recording) t = textual(image, text, eng::indices(arena, pairs.image), eng::indices(arena, pairs.text));
    else {
        Scope scope("cgi.vsr");
        t = eng::vsr_pool(image.vsr_q, text.vsr_kv, image.patches, text.slots, pairs.image, pairs.text, vsr_weights());
    }
    PairVectors out = aligned(t, l, prompts);
    if (with_map) out.map = eng::cross_attention_map(text.tvl_q, image.tvl_kv, prompts, tokens, heads_);
    return out;
}

}  // namespace scvd
