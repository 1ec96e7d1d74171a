#pragma once
// A checkpoint's honest numbers on one split.
#include <string>

#include "train/world.h"

namespace scvd {

struct EvalOptions {
    std::string weights, data, split = "test", json, curves, bpe;
    int shortlist = -1;  // images per query for the pair stage; 0: all, below 0: as in training
    double comm_timeout = 60;
    float lambda = -1;   // weight of the global score; below 0: the one chosen on the validation split
};
// The tables as text; the same as JSON and the CMC curves as SVG where options name a file (rank 0 writes
// them). Ranks share the scoring; the numbers do not depend on how many there are.
std::string evaluate_checkpoint(const EvalOptions&, World&);

}  // namespace scvd
