#include "model/scvd.h"

#include <algorithm>

#include "engine/transfer.h"
#include "model/groups.h"
#include "model/losses.h"

namespace scvd {
namespace {

// Losses and scores are computed in f32 (f64): a cosine rounded to bf16 and divided by 0.02 is off by a fifth.
Tensor wide(const Tensor& x) { return eng::cast(x, eng::stats_dtype(x.dtype())); }

const ModelConfig& checked(const ModelConfig& c) {
    c.check();
    return c;
}

// Stage 1's scores [images, texts] of the batch, without gradient.
std::vector<double> score_batch(const Tensor& images, const Tensor& texts) {
    eng::Recording off(nullptr);
    return eng::download_wide(global_scores(images.detach(), texts.detach()));
}

}  // namespace

Scvd::Scvd(const ModelConfig& c, eng::Arena& arena, std::optional<std::uint64_t> seed)
    : config_(checked(c)),
      params_(arena, dtype_named(c.dtype)),
      image_(make_image_encoder({params_, ParamGroup::clip}, c)),
      text_({params_, ParamGroup::clip}, c),
      interaction_({params_, ParamGroup::head}, c),
      classifier_(c.classes > 0 ? params_.add("classifier.weight", {c.classes, c.embed}, Init::normal(0.001), ParamGroup::head, true) : nullptr) {
    if (seed) params_.finalize(*seed);
}

LossParts Scvd::loss(const Tensor& pixels, const Tensor& augment, const TextBatch& texts, const std::vector<std::int32_t>& labels) const {
    const LossConfig& l = config_.loss;
    const ImageFeatures image = encode_images(pixels, augment);
    const TextFeatures text = encode_texts(texts);
    ENG_CHECK(image.count == texts.captions && labels.size() == std::size_t(image.count), "loss", image.count, " images, ",
              texts.captions, " captions and ", labels.size(), " labels should be as many");
    const Tensor v = wide(image.global), t = wide(text.global);
    LossParts out;
    const auto part = [&](const std::string& name, const Tensor& value, float weight) {
        out.parts.push_back({name, value});
        const Tensor weighted = eng::scale(value, weight);
        out.total = out.total.defined() ? eng::add(out.total, weighted) : weighted;
    };
    const Match match = match_labels(labels, labels);
    if (l.global == "sdm") part("sdm", sdm_loss(v, t, match, l.temperature), l.global_weight);
    if (l.global == "cmpm") part("cmpm", cmpm_loss(v, t, match), l.global_weight);
    if (l.global == "itc") part("itc", itc_loss(v, t, l.temperature), l.global_weight);
    if (l.pair != "none") part("pair", pair_stage(image, text, labels), l.pair_weight);
    if (classifier_ && l.id_weight > 0)
        part("id", id_loss(v, t, wide(classifier_->use()), eng::indices(v.arena(), labels)), l.id_weight);
    ENG_CHECK(out.total.defined(), "loss", "loss.global and loss.pair are both none: nothing to train");
    return out;
}

Tensor Scvd::pair_stage(const ImageFeatures& image, const TextFeatures& text, const std::vector<std::int32_t>& labels) const {
    const LossConfig& l = config_.loss;
    eng::Arena& arena = image.tokens.arena();
    const ImageSide is = interaction_.image_side(image);
    const TextSide ts = interaction_.text_side(text);
    const int B = image.count, K = hard_negatives(l.pairs);
    if (K < 0) {  // matched: v and t of a sample know each other; the loss can fall while nothing is learnt
        PairList own;
        for (int i = 0; i < B; ++i) own.add(i, i);
        const PairVectors p = interaction_(is, ts, own);
        const Tensor v = wide(p.v), t = wide(p.t);
        const Match match = match_labels(labels, labels);
        return l.pair == "cmpm" ? cmpm_loss(v, t, match) : l.pair == "sdm" ? sdm_loss(v, t, match, l.pair_temperature) : itc_loss(v, t, l.pair_temperature);
    }
    const int size = K == 0 ? B : std::min(B, 1 + K);
    const GroupPairs g = pair_up(group_alike(score_batch(image.global, text.global), labels, size), labels, size);
    const PairVectors p = interaction_(is, ts, g.pairs);
    const Tensor by_image = eng::indices(arena, g.by_image), by_text = eng::indices(arena, g.by_text), v = wide(p.v), t = wide(p.t);
    return eng::add(pair_loss(l.pair, eng::gather_rows(v, by_image), eng::gather_rows(t, by_image), g.image_match, g.own, true, l.pair_temperature),
                    pair_loss(l.pair, eng::gather_rows(v, by_text), eng::gather_rows(t, by_text), g.text_match, g.own, false, l.pair_temperature));
}

std::vector<float> Scvd::pair_scores(const ImageSide& image, const TextSide& text, const PairList& pairs) const {
    eng::Recording off(nullptr);
    const PairVectors p = interaction_(image, text, pairs);
    return eng::download<float>(eng::cast(eng::row_dot(eng::l2_normalize(wide(p.v)), eng::l2_normalize(wide(p.t))), eng::DType::f32));
}

Tensor global_scores(const Tensor& captions, const Tensor& images) {
    return eng::linear(eng::l2_normalize(wide(captions)), eng::l2_normalize(wide(images)));
}

}  // namespace scvd
