#include "model/scvd.h"

#include "engine/transfer.h"
#include "model/groups.h"

namespace scvd {
namespace {

const ModelConfig& checked(const ModelConfig& c) {
    c.check();
    return c;
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

// How many prompts the candidates of this rank's images have, all counted. All images together meet every text `size` times: in a last,
// smaller group of k each text is met by k images, and by its own once more for each of the size - k that are missing. Which of them are
// this rank's depends on who meets whom, and the host has to ask.
std::int64_t prompts_met(const Seqs& slots, const Tensor& text, const BatchShare& batch, int size) {
    if (batch.comm.alone()) return slots.total * size;
    ENG_CHECK(slots.count == batch.total(), "pairs", "the texts of several ranks cannot be filled up to a size that others have");
    std::int64_t rows = 0;
    for (const auto t : eng::download<std::int32_t>(text)) rows += slots.host_len[std::size_t(t)];
    return rows;
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
    return loss(pixels, augment, texts, BatchShare(eng::indices(pixels.arena(), labels), alone));
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
    if (l.global != "none") part(l.global, batch_loss(l.global, v, t, batch, l.temperature), l.global_weight);
    if (l.pair != "none") part("pair", pair_stage(image, text, batch), l.pair_weight);
    if (classifier_ && l.id_weight > 0) part("id", id_loss(v, t, wide(classifier_->use()), batch), l.id_weight);
    ENG_CHECK(out.total.defined(), "loss", "loss.global and loss.pair are both none: nothing to train");
    return out;
}

Tensor Scvd::pair_stage(const ImageFeatures& image, const TextFeatures& text, const BatchShare& batch) const {
    const LossConfig& l = config_.loss;
    const ImageSide is = interaction_.image_side(image);
    const TextSide ts = interaction_.text_side(text);
    const int B = int(batch.total()), n = int(batch.n), size = group_size(l, B);
    if (hard_negatives(l.pairs) < 0) {  // matched: v and t of a sample know each other; the loss can fall while nothing is learnt
        const PairVectors p = interaction_(is, ts, Candidates{eng::count_up(image.tokens.arena(), n), 1, ts.slots.total, ts.slots.count - n});
        return batch_loss(l.pair, wide(p.v), wide(p.t), batch, l.pair_temperature);
    }
    const eng::PairUp group = eng::pair_up(groups_of(image.global, text.global, batch, size, l.pool), batch.labels, batch.first, n, size, eng::stats_dtype(image.global.dtype()));
    const TextSide all = gathered(ts, batch);
    const PairVectors p = interaction_(is, all, Candidates{group.text, size, prompts_met(all.slots, group.text, batch, size), all.slots.count - B});
    const Tensor v = wide(p.v), t = wide(p.t), v_unit = eng::l2_normalize(v), t_unit = eng::l2_normalize(t);
    // CMPM projects the one side on the other's direction; cosines are the same both ways.
    const bool cosine = l.pair != "cmpm";
    const Tensor by_image = eng::row_dot(cosine ? v_unit : v, t_unit).view({n, size}), towards_text = cosine ? by_image : eng::row_dot(v_unit, t).view({n, size});
    const Tensor by_text = eng::gather_rows(batch.all(towards_text).view({std::int64_t(B) * size, 1}), group.by_text.view({std::int64_t(n) * size})).view({n, size});
    return eng::add(candidates_loss(l.pair, by_image, group, batch, l.pair_temperature), candidates_loss(l.pair, by_text, group, batch, l.pair_temperature));
}

std::vector<float> Scvd::pair_scores(const ImageSide& image, const TextSide& text, const PairList& pairs) const {
    eng::Recording off(nullptr);
    const PairVectors p = interaction_(image, text, pairs);
    return eng::download<float>(eng::cast(eng::row_dot(eng::l2_normalize(wide(p.v)), eng::l2_normalize(wide(p.t))), eng::DType::f32));
}

}  // namespace scvd
