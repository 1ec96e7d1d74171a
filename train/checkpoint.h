#pragma once
// Checkpoints: one safetensors file, written atomically. Weights under their CLIP names; `state` files carry the
// optimizer's moments too, and what a run needs to go on bit for bit.
#include "model/scvd.h"
#include "ops/optimizer.h"
#include "train/config.h"

namespace scvd {

struct RunState {
    std::int64_t step = 0;       // updates done
    double best = -1;            // best validation score so far
    std::int64_t best_epoch = 0;
    double lambda = 0.5;         // chosen on val at the best epoch
    double seconds = 0;          // of training, over all restarts
};

// optimizer may be null: weights only. With `average`, the weights written are the optimizer's EMA.
void save_checkpoint(const std::string& path, const Config&, Scvd&, const eng::AdamW* optimizer, const RunState&, bool average = false);
// The configuration stored in a checkpoint.
Config checkpoint_config(const std::string& path);
// Errors name file, key and both shapes; every parameter must be there.
RunState load_checkpoint(const std::string& path, Scvd&, eng::AdamW* optimizer);

}  // namespace scvd
