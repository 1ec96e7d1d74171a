#pragma once
// One picture that says why: a row per result, the photograph first, then TVL's heat map of every phrase.
#include <cstdint>
#include <vector>

#include "train/html.h"

namespace scvd {

// PNG of the first `results` results of a page that has heat maps. Error when it has no results.
std::vector<std::uint8_t> render_sheet(const SearchPage&, int results);

}  // namespace scvd
