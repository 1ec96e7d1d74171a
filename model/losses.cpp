#include "model/losses.h"

namespace scvd {
namespace {

// CMPM's two directions over the batch, from what each side is projected on.
Tensor both_ways(const Tensor& v, const Tensor& t, const Tensor& v_unit, const Tensor& t_unit, const BatchShare& batch, double scale) {
    const Tensor match = eng::match_labels(batch.own_labels(), batch.labels);
    return eng::add(batch.mean(eng::matching_loss(eng::linear(v, batch.all(t_unit)), match, scale)),
                    batch.mean(eng::matching_loss(eng::linear(t, batch.all(v_unit)), match, scale)));
}

}  // namespace

BatchShare::BatchShare(const Tensor& all_labels, eng::Comm& c) : comm(c), labels(all_labels) {
    const eng::Share share = eng::share_of(total(), comm.rank(), comm.size());
    first = share.first, n = share.n;
}
Tensor BatchShare::mean(const Tensor& rows) const { return eng::scale(eng::sum(rows), 1.0 / double(total())); }

Tensor wide(const Tensor& x) { return eng::cast(x, eng::stats_dtype(x.dtype())); }
Tensor global_scores(const Tensor& captions, const Tensor& images) {
    return eng::linear(eng::l2_normalize(wide(captions)), eng::l2_normalize(wide(images)));
}

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
    const Tensor a = eng::l2_normalize(v), b = eng::l2_normalize(t), target = eng::count_up(v.arena(), batch.n, std::int32_t(batch.first));
    const auto one_way = [&](const Tensor& own, const Tensor& others) {
        return batch.mean(eng::softmax_xent(eng::scale(eng::linear(own, batch.all(others)), 1 / temperature), target));
    };
    return eng::scale(eng::add(one_way(a, b), one_way(b, a)), 0.5);
}

Tensor id_loss(const Tensor& v, const Tensor& t, const Tensor& classifier, const BatchShare& batch) {
    Scope scope("id");
    const Tensor labels = batch.own_labels();
    const auto one_side = [&](const Tensor& x) { return batch.mean(eng::softmax_xent(eng::linear(x, classifier), labels)); };
    return eng::scale(eng::add(one_side(v), one_side(t)), 0.5);
}

Tensor batch_loss(const std::string& kind, const Tensor& v, const Tensor& t, const BatchShare& batch, double temperature) {
    return kind == "cmpm" ? cmpm_loss(v, t, batch) : kind == "sdm" ? sdm_loss(v, t, batch, temperature) : itc_loss(v, t, batch, temperature);
}

Tensor candidates_loss(const std::string& kind, const Tensor& scores, const eng::PairUp& group, const BatchShare& batch, double temperature) {
    Scope scope("pair_" + kind);
    if (kind != "itc") return batch.mean(eng::matching_loss(scores, group.match, kind == "cmpm" ? 1 : 1 / temperature));
    // InfoNCE knows one match: absent candidates and further pictures of the same person are neither match nor negative.
    return batch.mean(eng::softmax_xent(eng::add(eng::scale(scores, 1 / temperature), group.negative), group.own));
}

}  // namespace scvd
