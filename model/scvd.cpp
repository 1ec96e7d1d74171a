#include "model/scvd.h"

#include <algorithm>

#include "engine/transfer.h"
#include "model/groups.h"

namespace scvd {
namespace {

// Losses and scores are computed in f32 (f64): a cosine rounded to bf16 and divided by 0.02 is off by a fifth.
Tensor wide(const Tensor& x) { return eng::cast(x, eng::stats_dtype(x.dtype())); }

const ModelConfig& checked(const ModelConfig& c) {
    c.check();
    return c;
}

// Groups of pairs that stage 1 takes for each other, over the whole batch. Rank 0 decides: a score that rounds differently on
// another machine must not give ranks different groups.
std::vector<std::vector<int>> groups_of(const Tensor& images, const Tensor& texts, const BatchShare& batch, int size) {
    eng::Recording off(nullptr);
    const Tensor v = batch.all(images.detach()), t = batch.all(texts.detach());
    std::vector<std::int32_t> order(batch.labels.size());
    if (batch.comm.rank() == 0) {
        std::size_t at = 0;
        for (const auto& g : group_alike(eng::download_wide(global_scores(v, t)), batch.labels, size))
            for (const int i : g) order[at++] = i;
    }
    if (!batch.comm.alone()) {
        const Tensor told = eng::indices(images.arena(), order);
        batch.comm.broadcast(told, 0);
        order = eng::download<std::int32_t>(told);
    }
    std::vector<std::vector<int>> groups;
    for (std::size_t at = 0; at < order.size(); at += std::size_t(size))
        groups.emplace_back(order.begin() + at, order.begin() + std::min(order.size(), at + size));
    return groups;
}

// The text side of all ranks' captions. Prompts are few and short; images, which are large, stay where they are.
TextSide gathered(const TextSide& own, const BatchShare& batch) {
    if (batch.comm.alone()) return own;
    eng::Arena& arena = own.tvl_q.arena();
    const auto lens = eng::download<std::int32_t>(batch.all(eng::indices(arena, own.slots.host_len)));
    const auto rows = batch.comm.gather_number(own.tvl_q.rows());
    TextSide s;
    s.tvl_q = eng::all_gather(own.tvl_q, batch.comm, rows);
    if (own.vsr_kv.defined()) s.vsr_kv = eng::all_gather(own.vsr_kv, batch.comm, rows);
    if (own.t.defined()) s.t = batch.all(own.t);
    s.slots = eng::packed_seqs(arena, lens);
    return s;
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
    eng::Comm alone;
    return loss(pixels, augment, texts, BatchShare(labels, alone));
}

LossParts Scvd::loss(const Tensor& pixels, const Tensor& augment, const TextBatch& texts, const BatchShare& batch) const {
    const LossConfig& l = config_.loss;
    const ImageFeatures image = encode_images(pixels, augment);
    const TextFeatures text = encode_texts(texts);
    ENG_CHECK(image.count == texts.captions && batch.n == image.count, "loss", image.count, " images, ",
              texts.captions, " captions and ", batch.n, " labels should be as many");
    const Tensor v = wide(image.global), t = wide(text.global);
    LossParts out;
    const auto part = [&](const std::string& name, const Tensor& value, float weight) {
        out.parts.push_back({name, value});
        const Tensor weighted = eng::scale(value, weight);
        out.total = out.total.defined() ? eng::add(out.total, weighted) : weighted;
    };
    if (l.global == "sdm") part("sdm", sdm_loss(v, t, batch, l.temperature), l.global_weight);
    if (l.global == "cmpm") part("cmpm", cmpm_loss(v, t, batch), l.global_weight);
    if (l.global == "itc") part("itc", itc_loss(v, t, batch, l.temperature), l.global_weight);
    if (l.pair != "none") part("pair", pair_stage(image, text, batch), l.pair_weight);
    if (classifier_ && l.id_weight > 0) part("id", id_loss(v, t, wide(classifier_->use()), batch), l.id_weight);
    ENG_CHECK(out.total.defined(), "loss", "loss.global and loss.pair are both none: nothing to train");
    return out;
}

Tensor Scvd::pair_stage(const ImageFeatures& image, const TextFeatures& text, const BatchShare& batch) const {
    const LossConfig& l = config_.loss;
    eng::Arena& arena = image.tokens.arena();
    const ImageSide is = interaction_.image_side(image);
    const TextSide ts = interaction_.text_side(text);
    const int B = int(batch.total()), n = int(batch.n), K = hard_negatives(l.pairs);
    if (K < 0) {  // matched: v and t of a sample know each other; the loss can fall while nothing is learnt
        PairList own;
        for (int i = 0; i < n; ++i) own.add(i, i);
        const PairVectors p = interaction_(is, ts, own);
        const Tensor v = wide(p.v), t = wide(p.t);
        return l.pair == "cmpm" ? cmpm_loss(v, t, batch) : l.pair == "sdm" ? sdm_loss(v, t, batch, l.pair_temperature) : itc_loss(v, t, batch, l.pair_temperature);
    }
    const int size = K == 0 ? B : std::min(B, 1 + K);
    const GroupPairs g = pair_up(groups_of(image.global, text.global, batch, size), batch, size);
    const PairVectors p = interaction_(is, gathered(ts, batch), g.pairs);
    const Tensor v = wide(p.v), t = wide(p.t), v_unit = eng::l2_normalize(v), t_unit = eng::l2_normalize(t);
    const auto table = [&](const Tensor& scores) { return eng::gather_rows(scores.view({g.pairs.size(), 1}), eng::indices(arena, g.by_image)).view({n, size}); };
    // CMPM projects the one side on the other's direction; cosines are the same both ways.
    const bool cosine = l.pair != "cmpm";
    const Tensor by_image = table(eng::row_dot(cosine ? v_unit : v, t_unit)), towards_text = cosine ? by_image : table(eng::row_dot(v_unit, t));
    const Tensor by_text = eng::gather_rows(batch.all(towards_text).view({std::int64_t(B) * size, 1}), eng::indices(arena, g.by_text)).view({n, size});
    return eng::add(candidates_loss(l.pair, by_image, g.match, g.own, batch, l.pair_temperature),
                    candidates_loss(l.pair, by_text, g.match, g.own, batch, l.pair_temperature));
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
