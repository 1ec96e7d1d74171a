#pragma once
// Every switch of the model. Defaults are ViT-B/16 as published; presets/*.toml hold the named variants.
#include <array>
#include <cstdint>
#include <string>

#include "model/position_table.h"
#include "ops/ops.h"

namespace scvd {

struct ImageConfig {
    int height = 384, width = 128, patch = 16, stride = 16;  // pixels
    int dim = 768, layers = 12, heads = 12;                  // resnet: dim is the width of its first stage
    std::string encoder = "vit";     // vit | resnet
    std::string blocks = "3-4-6-3";  // of resnet's four stages
    std::string bn = "frozen";       // batch norm by the running statistics, which stay: frozen | by the batch's: train
    int last_stride = 2;             // of resnet's fourth stage: 1 keeps twice as many positions either way
    std::array<int, 4> block_counts() const;  // error when `blocks` is not four numbers
};
struct TextConfig {
    int dim = 512, layers = 12, heads = 8, context = 77, vocab = 49408;
};
struct CgiConfig {
    std::string residual = "none";  // none (as drawn) | self: around self-attention and FFN, never around cross-attention
    int ffn = 4;                    // hidden width of its FFNs, in units of d
    std::string vsr = "pair";       // pair: t from image and text | text: t from the text alone
};
struct DfaConfig {
    std::string sim = "dot";       // dot | cosine
    std::string norm = "softmax";  // softmax | sigmoid
};
struct LossConfig {
    std::string global = "sdm";      // sdm | cmpm | itc | none, on CLIP's global vectors
    std::string pair = "cmpm";       // cmpm | sdm | itc | none, on SCVD's pair vectors
    std::string pairs = "all";       // all | hard:K | matched (the figure taken literally: it leaks, for study only)
    int pool = 1024;                 // pairs among which the groups of hard:K are chosen; larger batches are cut into pools
    float global_weight = 1, pair_weight = 1, id_weight = 0;
    float temperature = 0.02f;       // of sdm and itc, global stage
    float pair_temperature = 0.02f;  // the same for the pair stage, whose cosines lie closer together
};
struct ModelConfig {
    ImageConfig image;
    TextConfig text;
    CgiConfig cgi;
    DfaConfig dfa;
    LossConfig loss;
    int embed = 512;       // d, width of the shared space
    int classes = 0;       // identities of the ID loss; 0: no classifier
    bool recompute = false;  // transformer blocks keep only their input for backward
    std::string dtype = "f32";  // compute: f32 | bf16 (f64 for gradient checks)

    // Rows and columns of the image encoder's tokens.
    Grid grid() const;
    int tokens() const { return grid().height * grid().width; }
    eng::PatchGeometry patches() const { return {image.height, image.width, image.patch, image.stride}; }
    // Errors: one sentence naming the key, the value and what is allowed.
    void check() const;
};

// K of "hard:K", 0 for "all", -1 for "matched".
int hard_negatives(const std::string& pairs);
// How many pairs of a batch of B meet each other: all, or a group of 1 + K; of "matched" each is alone.
int group_size(const LossConfig&, int B);

}  // namespace scvd
