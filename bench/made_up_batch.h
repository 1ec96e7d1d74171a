#pragma once
// A batch for timing and for comparing with other implementations: captions, prompts and pixels drawn from a fixed seed,
// with the lengths of real ones. Nothing is read from disk.
#include <nlohmann/json_fwd.hpp>

#include "model/scvd.h"
#include "train/config.h"

namespace scvd {

struct MadeUpBatch {
    std::vector<std::vector<std::int32_t>> captions, pool;  // tokens; distinct prompts
    std::vector<std::vector<int>> prompts;                  // per caption, indices into pool
    std::vector<std::int32_t> labels;                       // all different
    std::vector<std::uint8_t> pixels;                       // [B, H, W, 3]
};

// train.batch captions of 20-45 tokens, each with 4-8 prompts of 4-12 tokens from a pool that a real batch would share.
MadeUpBatch make_batch(const Config&);
TextBatch to_texts(eng::Arena&, const MadeUpBatch&);
// The batch without its pixels, and every switch of the model that another implementation needs.
nlohmann::json describe(const Config&, const MadeUpBatch&);

}  // namespace scvd
