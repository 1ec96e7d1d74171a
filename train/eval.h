#pragma once
// A checkpoint's honest numbers on one split.
#include <string>

namespace scvd {

struct EvalOptions {
    std::string weights, data, split = "test", json, curves, bpe;
    int shortlist = -1;  // images per query for the pair stage; 0: all, below 0: as in training
    float lambda = -1;   // weight of the global score; below 0: the one chosen on the validation split
};
// The tables as text; the same as JSON and the CMC curves as SVG where options name a file.
std::string evaluate_checkpoint(const EvalOptions&);

}  // namespace scvd
