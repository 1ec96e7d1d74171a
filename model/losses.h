#pragma once
// The alignment losses. All return [1].
#include "model/layers.h"

namespace scvd {

// Who matches whom, row-major, made on the host from labels: 1 the same person, 0 another, -1 no candidate.
struct Match {
    int rows = 0, cols = 0;
    std::vector<std::int32_t> at;
    Match transposed() const;
    Tensor on(eng::Arena&) const;  // i32 [rows, cols]
};
Match match_labels(const std::vector<std::int32_t>& rows, const std::vector<std::int32_t>& cols);

// CMPM (Zhang & Lu, ECCV 2018), as the authors' loss file has it:
//   s_ij = v_i . t_j/|t_j|, p = softmax_j(s), q_ij = [y_i=y_j] / sum_k [y_i=y_k],
//   L = mean_i sum_j p_ij (log p_ij - log(q_ij + 1e-8)), plus the same from t to v.
Tensor cmpm_loss(const Tensor& v, const Tensor& t, const Match& match);
// SDM (Jiang & Ye, CVPR 2023): CMPM with both sides normalised and a temperature.
Tensor sdm_loss(const Tensor& v, const Tensor& t, const Match& match, double temperature);
// ITC (InfoNCE): half the cross-entropy of the diagonal, both ways.
Tensor itc_loss(const Tensor& v, const Tensor& t, double temperature);
// ID: half the cross-entropy of a classifier shared by both sides.
Tensor id_loss(const Tensor& v, const Tensor& t, const Tensor& classifier, const Tensor& labels);

// One direction over given candidates (column own[n] is its own pair): row n of v/t [rows*cols, d] meets cols candidates. kind: cmpm | sdm | itc.
// `project_on_text`: score v . t/|t| (image to text), else t . v/|v|; for sdm and itc both are normalised.
Tensor pair_loss(const std::string& kind, const Tensor& v, const Tensor& t, const Match& match, const std::vector<std::int32_t>& own, bool project_on_text, double temperature);

}  // namespace scvd
