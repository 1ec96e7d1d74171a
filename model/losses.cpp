#include "model/losses.h"

#include <algorithm>

#include "engine/transfer.h"

namespace scvd {
namespace {

// The own pairs' columns, where candidates are the whole batch in order.
Tensor own_columns(eng::Arena& arena, const BatchShare& batch) {
    std::vector<std::int32_t> d;
    for (std::int64_t i = 0; i < batch.n; ++i) d.push_back(std::int32_t(batch.first + i));
    return eng::indices(arena, d);
}

// CMPM's two directions over the batch, from what each side is projected on.
Tensor both_ways(const Tensor& v, const Tensor& t, const Tensor& v_unit, const Tensor& t_unit, const BatchShare& batch, double scale) {
    const Tensor match = match_labels(batch.own_labels(), batch.labels).on(v.arena());
    return eng::add(batch.mean(eng::matching_loss(eng::linear(v, batch.all(t_unit)), match, scale)),
                    batch.mean(eng::matching_loss(eng::linear(t, batch.all(v_unit)), match, scale)));
}

}  // namespace

BatchShare::BatchShare(std::vector<std::int32_t> all_labels, eng::Comm& c) : comm(c), labels(std::move(all_labels)) {
    const eng::Share share = eng::share_of(total(), comm.rank(), comm.size());
    first = share.first, n = share.n;
}
Tensor BatchShare::mean(const Tensor& rows) const { return eng::scale(eng::sum(rows), 1.0 / double(total())); }

Match match_labels(const std::vector<std::int32_t>& rows, const std::vector<std::int32_t>& cols) {
    Match m{int(rows.size()), int(cols.size()), {}};
    for (const auto r : rows)
        for (const auto c : cols) m.at.push_back(r == c);
    return m;
}
Tensor Match::on(eng::Arena& arena) const { return eng::indices(arena, at).view({rows, cols}); }

Tensor cmpm_loss(const Tensor& v, const Tensor& t, const BatchShare& batch) {
    Scope scope("cmpm");
    return both_ways(v, t, eng::l2_normalize(v), eng::l2_normalize(t), batch, 1);
}

Tensor sdm_loss(const Tensor& v, const Tensor& t, const BatchShare& batch, double temperature) {
    Scope scope("sdm");
    const Tensor a = eng::l2_normalize(v), b = eng::l2_normalize(t);
    return both_ways(a, b, a, b, batch, 1 / temperature);
}

Tensor itc_loss(const Tensor& v, const Tensor& t, const BatchShare& batch, double temperature) {
    Scope scope("itc");
    const Tensor a = eng::l2_normalize(v), b = eng::l2_normalize(t), target = own_columns(v.arena(), batch);
    const auto one_way = [&](const Tensor& own, const Tensor& others) {
        return batch.mean(eng::softmax_xent(eng::scale(eng::linear(own, batch.all(others)), 1 / temperature), target));
    };
    return eng::scale(eng::add(one_way(a, b), one_way(b, a)), 0.5);
}

Tensor id_loss(const Tensor& v, const Tensor& t, const Tensor& classifier, const BatchShare& batch) {
    Scope scope("id");
    const Tensor labels = eng::indices(v.arena(), batch.own_labels());
    const auto one_side = [&](const Tensor& x) { return batch.mean(eng::softmax_xent(eng::linear(x, classifier), labels)); };
    return eng::scale(eng::add(one_side(v), one_side(t)), 0.5);
}

Tensor candidates_loss(const std::string& kind, const Tensor& scores, const Match& match, const std::vector<std::int32_t>& own, const BatchShare& batch, double temperature) {
    Scope scope("pair_" + kind);
    eng::Arena& arena = scores.arena();
    if (kind != "itc") return batch.mean(eng::matching_loss(scores, match.on(arena), kind == "cmpm" ? 1 : 1 / temperature));
    // InfoNCE knows one match: absent candidates and further pictures of the same person are neither match nor negative.
    std::vector<double> out(match.at.size(), 0);
    for (std::size_t i = 0; i < out.size(); ++i)
        if (match.at[i] != 0 && int(i % match.cols) != own[i / match.cols]) out[i] = -1e4;
    const Tensor logits = eng::add(eng::scale(scores, 1 / temperature), eng::upload_as(arena, scores.shape(), out, scores.dtype()));
    return batch.mean(eng::softmax_xent(logits, eng::indices(arena, own)));
}

}  // namespace scvd
