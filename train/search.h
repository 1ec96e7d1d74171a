#pragma once
// Any folder of pictures: index it once, ask in words, see why.
#include <nlohmann/json_fwd.hpp>

#include "train/html.h"
#include "train/world.h"

namespace scvd {

struct IndexOptions {
    std::string weights, folder, out;
    double comm_timeout = 60;  // seconds, with several ranks
    bool skip_bad = false;  // pictures that cannot be decoded: named and left out, instead of an error
};
// Writes the features of every picture below `folder` (subfolders too) to one file. Returns how many. Of several
// ranks each encodes every n-th block of pictures, and rank 0 writes.
int build_index(const IndexOptions&, World&);

struct SearchOptions {
    std::string index, weights, bpe, query;
    int top = 10, shortlist = 200;  // results shown; images the pair stage re-scores
    float lambda = -1;              // below 0: the one chosen on the validation split
};
// Ranked results with scores, per-phrase weights and heat maps.
SearchPage search(const SearchOptions&);
nlohmann::json to_json(const SearchPage&);
// One PNG per prompt of the first so many results, named after the phrase. Returns the paths written.
std::vector<std::string> write_heatmaps(const SearchPage&, const std::string& folder, int results);

}  // namespace scvd
