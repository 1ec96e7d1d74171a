#pragma once
// The alignment losses. All return [1].
#include "model/layers.h"

namespace scvd {

// The batch of all ranks as one of them sees it: it holds pairs [first, first + n) and knows everybody's labels. A loss is a mean over
// the rows of the whole batch; each rank computes its own rows' part, and the parts' sum over ranks is the loss of one process.
struct BatchShare {
    BatchShare(const Tensor& all_labels, eng::Comm& comm);
    eng::Comm& comm;
    Tensor labels;  // i32 [B], of all
    std::int64_t first, n;
    std::int64_t total() const { return labels.numel(); }
    Tensor own_labels() const { return labels.slice(first, n); }
    // [n, ...] -> [B, ...]
    Tensor all(const Tensor& own) const { return eng::all_gather(own, comm, eng::shares_of(total(), comm.size())); }
    Tensor mean(const Tensor& rows) const;  // this rank's part of the mean over the batch's rows: [n] -> [1]
};

// Losses and scores are computed in f32 (f64): a cosine rounded to bf16 and divided by 0.02 is off by a fifth.
Tensor wide(const Tensor& x);
// cos of every pair of global vectors, [captions, d] and [images, d] -> [captions, images], f32 (stage 1).
Tensor global_scores(const Tensor& captions, const Tensor& images);

// All of these take this rank's rows, v and t [n, d].
// CMPM (Zhang & Lu, ECCV 2018), as the authors' loss file has it:
//   s_ij = v_i . t_j/|t_j|, p = softmax_j(s), q_ij = [y_i=y_j] / sum_k [y_i=y_k],
//   L = mean_i sum_j p_ij (log p_ij - log(q_ij + 1e-8)), plus the same from t to v.
Tensor cmpm_loss(const Tensor& v, const Tensor& t, const BatchShare&);
// SDM (Jiang & Ye, CVPR 2023): CMPM with both sides normalised and a temperature.
Tensor sdm_loss(const Tensor& v, const Tensor& t, const BatchShare&, double temperature);
// ITC (InfoNCE): half the cross-entropy of the diagonal, both ways.
Tensor itc_loss(const Tensor& v, const Tensor& t, const BatchShare&, double temperature);
// ID: half the cross-entropy of a classifier shared by both sides.
Tensor id_loss(const Tensor& v, const Tensor& t, const Tensor& classifier, const BatchShare&);

// All pairs of a batch. kind: cmpm | sdm | itc; the temperature is sdm's and itc's.
Tensor batch_loss(const std::string& kind, const Tensor& v, const Tensor& t, const BatchShare&, double temperature);

// One direction over given candidates: scores [n, C] of each row and its group. kind: cmpm | sdm | itc.
Tensor candidates_loss(const std::string& kind, const Tensor& scores, const eng::PairUp& group, const BatchShare&, double temperature);

}  // namespace scvd
