#pragma once
// SCVD's own modules: Cross-modal Guided Interaction (TVL and VSR) and Dynamic Focus Alignment. Everything that depends
// on one side alone is computed once per image or text and reused for every pair.
#include "model/clip.h"

namespace scvd {

// One side of many pairs, computed without the other.
struct ImageSide {
    Tensor tvl_kv;  // [B*(N+1), 2d]: TVL's keys and values of every token (CLS rows are never looked at)
    Tensor vsr_q;   // [B*N, d]: VSR's queries; undefined when vsr = text
    Seqs tokens;      // patch rows of each image in tvl_kv
    int patches = 0;  // N, and of vsr_q the rows of an image
};
struct TextSide {
    Tensor tvl_q;   // [sum P, d]
    Tensor vsr_kv;  // [sum P, 2d]; undefined when vsr = text
    Tensor t;       // [texts, d]: the textual representation when it needs no image
    Seqs slots;
};
struct PairList {
    std::vector<std::int32_t> image, text;
    void add(int i, int t) { image.push_back(i), text.push_back(t); }
    int size() const { return int(image.size()); }
};
// The same for training, image by image: each meets `size` texts. Who they are is known on the device alone.
struct Candidates {
    Tensor text;           // i32 [images * size]
    int size;
    std::int64_t prompts;  // of all of them together, and of the filling
    int filling = 0;       // lists of prompts behind the captions', each counted `size` times: sizes that do not depend on the batch
};
struct PairVectors {
    Tensor v, t;     // [pairs, d]: visual and textual representation of each pair
    Tensor weights;  // [sum of pairs' prompts]: DFA's weights
    Tensor map;      // [sum of pairs' prompts, N]: TVL's attention, mean over heads; only if asked for
    Seqs prompts;    // rows of weights and map per pair
};

class Interaction {
public:
    Interaction(const Declare&, const ModelConfig&);
    ImageSide image_side(const ImageFeatures&) const;
    TextSide text_side(const TextFeatures&) const;
    PairVectors operator()(const ImageSide&, const TextSide&, const PairList&, bool with_map = false) const;
    PairVectors operator()(const ImageSide&, const TextSide&, const Candidates&) const;

private:
    struct Cross {  // multi-head cross-attention, projections split so that each side can be cached
        Linear q, kv, out;
        Cross(const Declare&, const std::string& name, int dim);
    };
    Tensor local(const ImageSide&, const TextSide&, const Seqs& prompts, const Seqs& tokens) const;    // TVL
    Tensor textual(const ImageSide&, const TextSide&, const Tensor& images, const Tensor& texts) const;  // VSR of pairs, where t depends on the image
    PairVectors aligned(const Tensor& t, const Tensor& l, const Seqs& prompts, int filling = 0) const;  // DFA
    eng::VsrWeights vsr_weights() const;
    bool residual_, vsr_pair_;
    int heads_;
    eng::Similarity sim_;
    eng::WeightNorm norm_;
    SelfAttention tvl_self_;
    LayerNorm ln1_;
    Cross tvl_cross_;
    LayerNorm ln2_;
    FeedForward tvl_ffn_;
    LayerNorm ln3_;
    SelfAttention vsr_self_;
    LayerNorm ln4_;
    std::unique_ptr<Cross> vsr_cross_;
    std::unique_ptr<LayerNorm> ln5_;
    FeedForward vsr_ffn_;
    LayerNorm ln6_, ln7_;
    FeedForward dfa_ffn_;
};

}  // namespace scvd
