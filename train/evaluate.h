#pragma once
// Honest evaluation: gallery images are embedded without seeing any text, a query meets every image (or a shortlist),
// and nothing is chosen on the split that is reported.
#include <nlohmann/json_fwd.hpp>

#include "model/scvd.h"
#include "train/data/pictures.h"
#include "train/data/texts.h"
#include "train/metrics.h"

namespace scvd {

struct Scores {                        // row-major [queries, gallery]
    std::vector<float> global, pair;   // pair: only where `scored`; all of it without a shortlist
    std::vector<std::uint8_t> scored;  // empty: everything
    std::vector<int> query_ids, gallery_ids;
    int queries = 0, gallery = 0;
    int shortlist = 0;  // images per query that the pair stage saw; 0: all
};

// Scores of every caption of the split, made ready as `items` (items_of), against every image. shortlist K > 0: the pair
// stage only re-scores each query's best K of the global stage. Of several ranks each encodes and scores its share of the gallery; all get all scores.
Scores score_split(const Scvd&, const Config&, const Split&, const std::vector<TextItem>& items, const TextBank&, Pictures&, int shortlist, bool pair, eng::Comm&);
Scores score_split(const Scvd&, const Config&, const Split&, const std::vector<TextItem>& items, const TextBank&, Pictures&, int shortlist, bool pair = true);  // alone

// lambda * global + (1-lambda) * pair; items outside of a shortlist keep their global order below it.
std::vector<float> fuse(const Scores&, float lambda);
// The lambda in 0, 0.05 .. 1 with the best mAP; the smallest of equals.
float choose_lambda(const Scores&);

// The numbers of one split, in percent: global, pair (lambda 0) and fused, text to image and image to text.
nlohmann::json report(const Scores&, const std::string& split, int identities, float lambda);
std::string table(const nlohmann::json& report);
std::string cmc_svg(const nlohmann::json& report);  // text to image, a curve per stage

}  // namespace scvd
