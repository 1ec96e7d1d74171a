#include "model/losses.h"

#include <algorithm>

#include "engine/transfer.h"

namespace scvd {
namespace {

Tensor matching(const Tensor& scores, const Match& match, double scale) {
    return eng::mean(eng::matching_loss(scores, match.on(scores.arena()), scale));
}

Tensor diagonal(eng::Arena& arena, std::int64_t n) {
    std::vector<std::int32_t> d;
    for (std::int64_t i = 0; i < n; ++i) d.push_back(std::int32_t(i));
    return eng::indices(arena, d);
}

Tensor both(const Tensor& a, const Tensor& b, double s = 1) { return eng::scale(eng::add(a, b), s); }

}  // namespace

Match match_labels(const std::vector<std::int32_t>& rows, const std::vector<std::int32_t>& cols) {
    Match m{int(rows.size()), int(cols.size()), {}};
    for (const auto r : rows)
        for (const auto c : cols) m.at.push_back(r == c);
    return m;
}
Match Match::transposed() const {
    Match m{cols, rows, std::vector<std::int32_t>(at.size())};
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < cols; ++c) m.at[std::size_t(c) * rows + r] = at[std::size_t(r) * cols + c];
    return m;
}
Tensor Match::on(eng::Arena& arena) const { return eng::indices(arena, at).view({rows, cols}); }

Tensor cmpm_loss(const Tensor& v, const Tensor& t, const Match& match) {
    Scope scope("cmpm");
    return both(matching(eng::linear(v, eng::l2_normalize(t)), match, 1), matching(eng::linear(t, eng::l2_normalize(v)), match.transposed(), 1));
}

Tensor sdm_loss(const Tensor& v, const Tensor& t, const Match& match, double temperature) {
    Scope scope("sdm");
    const Tensor a = eng::l2_normalize(v), b = eng::l2_normalize(t), s = eng::linear(a, b);
    return both(matching(s, match, 1 / temperature), matching(eng::transpose(s), match.transposed(), 1 / temperature));
}

Tensor itc_loss(const Tensor& v, const Tensor& t, double temperature) {
    Scope scope("itc");
    const Tensor s = eng::scale(eng::linear(eng::l2_normalize(v), eng::l2_normalize(t)), 1 / temperature);
    const Tensor target = diagonal(v.arena(), v.rows());
    return both(eng::mean(eng::softmax_xent(s, target)), eng::mean(eng::softmax_xent(eng::transpose(s), target)), 0.5);
}

Tensor id_loss(const Tensor& v, const Tensor& t, const Tensor& classifier, const Tensor& labels) {
    Scope scope("id");
    return both(eng::mean(eng::softmax_xent(eng::linear(v, classifier), labels)), eng::mean(eng::softmax_xent(eng::linear(t, classifier), labels)), 0.5);
}

Tensor pair_loss(const std::string& kind, const Tensor& v, const Tensor& t, const Match& match, const std::vector<std::int32_t>& own, bool project_on_text, double temperature) {
    Scope scope("pair_" + kind);
    const bool cosine = kind != "cmpm";
    const Tensor a = cosine || !project_on_text ? eng::l2_normalize(v) : v, b = cosine || project_on_text ? eng::l2_normalize(t) : t;
    const Tensor scores = eng::row_dot(a, b).view({match.rows, match.cols});
    if (kind != "itc") return matching(scores, match, cosine ? 1 / temperature : 1);
    // InfoNCE knows one match: absent candidates and further pictures of the same person are neither match nor negative.
    std::vector<double> out(match.at.size(), 0);
    for (std::size_t i = 0; i < out.size(); ++i)
        if (match.at[i] != 0 && int(i % match.cols) != own[i / match.cols]) out[i] = -1e4;
    const Tensor logits = eng::add(eng::scale(scores, 1 / temperature), eng::upload_as(scores.arena(), scores.shape(), out, scores.dtype()));
    return eng::mean(eng::softmax_xent(logits, eng::indices(v.arena(), own)));
}

}  // namespace scvd
