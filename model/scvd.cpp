#include "model/scvd.h"

#include <algorithm>

#include "model/losses.h"

namespace scvd {
namespace {

eng::DType dtype_named(const std::string& name) {
    return name == "bf16" ? eng::DType::bf16 : name == "f64" ? eng::DType::f64 : eng::DType::f32;
}
// Losses and scores are computed in f32 (f64): a cosine rounded to bf16 and divided by 0.02 is off by a fifth.
Tensor wide(const Tensor& x) { return eng::cast(x, eng::stats_dtype(x.dtype())); }

const ModelConfig& checked(const ModelConfig& c) {
    c.check();
    return c;
}
template <class T>
T in_scope(const char* name, const Declare& d, const ModelConfig& c) {
    if (!*name) return T(d, c);
    Scope scope(name);
    return T(d, c);
}

Tensor match_table(eng::Arena& arena, const std::vector<std::int32_t>& rows, const std::vector<std::int32_t>& cols) {
    std::vector<std::int32_t> m;
    for (const auto r : rows)
        for (const auto c : cols) m.push_back(r == c);
    return eng::indices(arena, m).view({std::int64_t(rows.size()), std::int64_t(cols.size())});
}

// For each row its own column and the K columns of other people with the highest score; fewer if there are not K.
struct Candidates {
    std::vector<std::int32_t> column, match;  // [rows * (1+K)]; match -1 where padded with the own column
};
Candidates hardest(const Tensor& scores, const std::vector<std::int32_t>& labels, int k) {
    const int n = int(labels.size());
    Candidates c;
    for (int r = 0; r < n; ++r) {
        std::vector<std::pair<double, int>> others;
        for (int j = 0; j < n; ++j)
            if (labels[j] != labels[r]) {
                double s = 0;
                eng::dispatch_float(scores.dtype(), "hardest", [&](auto tag) { s = double(scores.as<decltype(tag)>()[r * n + j]); });
                others.push_back({-s, j});
            }
        const int take = std::min<int>(k, int(others.size()));
        std::partial_sort(others.begin(), others.begin() + take, others.end());
        c.column.push_back(r), c.match.push_back(1);
        for (int i = 0; i < k; ++i) c.column.push_back(i < take ? others[i].second : r), c.match.push_back(i < take ? 0 : -1);
    }
    return c;
}

}  // namespace

Scvd::Scvd(const ModelConfig& c, eng::Arena& arena, std::uint64_t seed)
    : config_(checked(c)),
      params_(arena, dtype_named(c.dtype)),
      image_(in_scope<ImageEncoder>("visual", {params_, ParamGroup::clip}, c)),
      text_(in_scope<TextEncoder>("", {params_, ParamGroup::clip}, c)),
      interaction_({params_, ParamGroup::head}, c),
      classifier_(c.classes > 0 ? params_.add("classifier.weight", {c.classes, c.embed}, Init::normal(0.001), ParamGroup::head, true) : nullptr) {
    params_.finalize(seed);
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
    const Tensor match = match_table(v.arena(), labels, labels);
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
    PairList pairs;
    if (K < 0) {  // matched: v and t of a sample know each other; the loss can fall while nothing is learnt
        for (int i = 0; i < B; ++i) pairs.add(i, i);
        const PairVectors p = interaction_(is, ts, pairs);
        const Tensor v = wide(p.v), t = wide(p.t), match = match_table(arena, labels, labels);
        return l.pair == "cmpm" ? cmpm_loss(v, t, match) : l.pair == "sdm" ? sdm_loss(v, t, match, l.temperature) : itc_loss(v, t, l.temperature);
    }
    // Rows: each image against candidate texts. Columns: each text against candidate images.
    if (K == 0) {
        for (int i = 0; i < B; ++i)
            for (int j = 0; j < B; ++j) pairs.add(i, j);
        const PairVectors p = interaction_(is, ts, pairs);
        const Tensor v = wide(p.v), t = wide(p.t), match = match_table(arena, labels, labels);
        std::vector<std::int32_t> by_text;  // the same pairs, text by text
        for (int j = 0; j < B; ++j)
            for (int i = 0; i < B; ++i) by_text.push_back(i * B + j);
        const Tensor order = eng::indices(arena, by_text);
        const Tensor vt = eng::gather_rows(v, order), tt = eng::gather_rows(t, order);
        return eng::add(pair_loss(l.pair, v, t, match, true, l.temperature), pair_loss(l.pair, vt, tt, match, false, l.temperature));
    }
    Tensor scores;
    {
        eng::Recording off(nullptr);
        scores = global_scores(image.global.detach(), text.global.detach());  // [B images, B texts]
    }
    const Candidates rows = hardest(scores, labels, K);
    Candidates cols;
    {
        eng::Recording off(nullptr);
        cols = hardest(eng::transpose(scores), labels, K);
    }
    for (std::size_t n = 0; n < rows.column.size(); ++n) pairs.add(int(n) / (1 + K), rows.column[n]);
    for (std::size_t n = 0; n < cols.column.size(); ++n) pairs.add(cols.column[n], int(n) / (1 + K));
    const PairVectors p = interaction_(is, ts, pairs);
    const auto half = [&](const Tensor& x, int which) {
        std::vector<std::int32_t> r;
        for (int n = 0; n < B * (1 + K); ++n) r.push_back(which * B * (1 + K) + n);
        return eng::gather_rows(wide(x), eng::indices(arena, r));
    };
    const auto table = [&](const Candidates& c) { return eng::indices(arena, c.match).view({B, 1 + K}); };
    return eng::add(pair_loss(l.pair, half(p.v, 0), half(p.t, 0), table(rows), true, l.temperature),
                    pair_loss(l.pair, half(p.v, 1), half(p.t, 1), table(cols), false, l.temperature));
}

std::vector<float> Scvd::pair_scores(const ImageSide& image, const TextSide& text, const PairList& pairs) const {
    eng::Recording off(nullptr);
    const PairVectors p = interaction_(image, text, pairs);
    const Tensor s = eng::cast(eng::row_dot(eng::l2_normalize(wide(p.v)), eng::l2_normalize(wide(p.t))), eng::DType::f32);
    return {s.as<float>(), s.as<float>() + s.numel()};
}

Tensor global_scores(const Tensor& captions, const Tensor& images) {
    return eng::linear(eng::l2_normalize(wide(captions)), eng::l2_normalize(wide(images)));
}

}  // namespace scvd
