#pragma once
// A picture of samples: what a set looks like, at a glance.
#include <string>

#include "train/data/dataset.h"

namespace scvd {

// Writes a PNG of up to 12 pictures of each split, one row a split, evenly spread over its images; 64 x 160 pixels each.
void write_contact_sheet(const std::string& path, const Dataset&);

}  // namespace scvd
