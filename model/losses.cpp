#include "model/losses.h"

#include <algorithm>

namespace scvd {
namespace {

Tensor matching(const Tensor& scores, const Tensor& match, double scale) { return eng::mean(eng::matching_loss(scores, match, scale)); }

// The transposed table; symmetric tables are the rule but not the law.
Tensor transposed(const Tensor& match) {
    const int R = int(match.rows()), C = int(match.cols());
    std::vector<std::int32_t> m(std::size_t(R) * C);
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) m[c * R + r] = match.as<std::int32_t>()[r * C + c];
    return eng::indices(match.arena(), m).view({C, R});
}

Tensor diagonal(eng::Arena& arena, std::int64_t n) {
    std::vector<std::int32_t> d;
    for (std::int64_t i = 0; i < n; ++i) d.push_back(std::int32_t(i));
    return eng::indices(arena, d);
}

Tensor both(const Tensor& a, const Tensor& b, double s = 1) { return eng::scale(eng::add(a, b), s); }

}  // namespace

Tensor cmpm_loss(const Tensor& v, const Tensor& t, const Tensor& match) {
    Scope scope("cmpm");
    return both(matching(eng::linear(v, eng::l2_normalize(t)), match, 1), matching(eng::linear(t, eng::l2_normalize(v)), transposed(match), 1));
}

Tensor sdm_loss(const Tensor& v, const Tensor& t, const Tensor& match, double temperature) {
    Scope scope("sdm");
    const Tensor a = eng::l2_normalize(v), b = eng::l2_normalize(t), s = eng::linear(a, b);
    return both(matching(s, match, 1 / temperature), matching(eng::transpose(s), transposed(match), 1 / temperature));
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

Tensor pair_loss(const std::string& kind, const Tensor& v, const Tensor& t, const Tensor& match, bool project_on_text, double temperature) {
    Scope scope("pair_" + kind);
    const bool cosine = kind != "cmpm";
    const Tensor a = cosine || !project_on_text ? eng::l2_normalize(v) : v, b = cosine || project_on_text ? eng::l2_normalize(t) : t;
    const Tensor scores = eng::row_dot(a, b).view(match.shape());
    if (kind != "itc") return matching(scores, match, cosine ? 1 / temperature : 1);
    // InfoNCE: the first match of each row is its target.
    std::vector<std::int32_t> target;
    for (std::int64_t r = 0; r < match.rows(); ++r) {
        const auto* m = match.as<std::int32_t>() + r * match.cols();
        target.push_back(std::int32_t(std::find(m, m + match.cols(), 1) - m));
    }
    return eng::mean(eng::softmax_xent(eng::scale(scores, 1 / temperature), eng::indices(v.arena(), target)));
}

}  // namespace scvd
