#pragma once
// The whole model: encoders, interaction, losses and scores.
#include <memory>
#include <optional>

#include "model/interaction.h"
#include "model/losses.h"

namespace scvd {

struct LossParts {
    Tensor total;                                      // [1]
    std::vector<std::pair<std::string, Tensor>> parts;  // named, unweighted
};

class Scvd {
public:
    // Declares all parameters in `arena`'s memory and draws their start values from `seed`. Without a seed they are only
    // declared: names and shapes for who converts files.
    Scvd(const ModelConfig&, eng::Arena& arena, std::optional<std::uint64_t> seed);

    ImageFeatures encode_images(const Tensor& pixels, const Tensor& augment = {}) const { return (*image_)(pixels, augment); }
    TextFeatures encode_texts(const TextBatch& batch) const { return text_(batch); }
    const Interaction& interaction() const { return interaction_; }

    // Training loss of B images and their B captions; labels: one identity per pair. Of several ranks each passes its own images and
    // captions with the labels of all, and gets its part: losses and gradients are to be summed over ranks.
    LossParts loss(const Tensor& pixels, const Tensor& augment, const TextBatch& texts, const BatchShare&) const;
    LossParts loss(const Tensor& pixels, const Tensor& augment, const TextBatch& texts, const std::vector<std::int32_t>& labels) const;

    // cos(v, t) of every pair in the list, f32 (stage 2).
    std::vector<float> pair_scores(const ImageSide&, const TextSide&, const PairList&) const;

    ParamStore& params() { return params_; }
    const ModelConfig& config() const { return config_; }

private:
    Tensor pair_stage(const ImageFeatures&, const TextFeatures&, const BatchShare&) const;
    ModelConfig config_;
    ParamStore params_;
    std::unique_ptr<ImageEncoder> image_;
    TextEncoder text_;
    Interaction interaction_;
    Param* classifier_;
};

}  // namespace scvd
