#pragma once
// CLIP's two encoders (Radford et al., "Learning transferable visual models from natural language supervision", 2021),
// parameters named as in OpenAI's checkpoints.
#include <deque>

#include "model/image_encoder.h"

namespace scvd {

// Pre-norm transformer: x += MHA(ln_1 x);  x += c_proj(QuickGELU(c_fc(ln_2 x))).
class Transformer {
public:
    Transformer(const Declare&, int dim, int layers, int heads, bool recompute);
    Tensor operator()(Tensor x, const Seqs& seqs, bool causal) const;

private:
    struct Block {
        LayerNorm ln_1, ln_2;
        SelfAttention attn;
        FeedForward mlp;
        std::string name;
    };
    static Tensor run(const Block&, const Tensor& x, const Seqs&, bool causal);
    std::deque<Block> blocks_;
    bool recompute_;
};

class VisionTransformer : public ImageEncoder {
public:
    VisionTransformer(const Declare&, const ModelConfig&);
    ImageFeatures operator()(const Tensor& pixels, const Tensor& augment) const override;

private:
    eng::PatchGeometry geometry_;
    eng::DType dtype_;
    int dim_;
    Param *conv1_, *class_embedding_, *positional_embedding_, *proj_;
    LayerNorm ln_pre_;
    Transformer transformer_;
    LayerNorm ln_post_;
};

// Token sequences at their true length, packed: captions first, then every distinct prompt once.
struct TextBatch {
    Tensor ids, positions;  // i32 [T]
    Seqs seqs;              // one per text
    Tensor eot;             // i32 [texts]: the row of each text's EOT
    int captions = 0;       // the first so many texts
    Tensor prompt_text;     // i32 [sum P]: which text is the prompt in each slot of each caption
    Seqs prompts;           // per caption, its slots; behind them there may be lists that only fill the tables
};

struct TextFeatures {
    Tensor global;   // [captions, d]
    Tensor prompts;  // [sum P, d]
    Seqs slots;      // which rows of prompts belong to which caption
};

class TextEncoder {
public:
    TextEncoder(const Declare&, const ModelConfig&);
    TextFeatures operator()(const TextBatch&) const;

private:
    Param *token_embedding_, *positional_embedding_, *text_projection_;
    Transformer transformer_;
    LayerNorm ln_final_;
};

}  // namespace scvd
