#pragma once
// Checkpoints: one safetensors file, written atomically. Weights under their CLIP names; `state` files carry the
// optimizer's moments too, and what a run needs to go on bit for bit. Weights may also come from other programs' files.
#include "model/import.h"
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

// optimizer may be null: weights only. With `average`, the weights written are the optimizer's EMA. Of several ranks one writes; where they
// share the optimizer's state all must call it.
void save_checkpoint(const std::string& path, const Config&, Scvd&, const eng::AdamW* optimizer, const RunState&, bool average = false, bool write = true);

// The configuration stored in a checkpoint; for a file of another program the preset vit-b16 with the encoders and
// sizes that its tensors tell, and no pair stage, which such a file has no weights for.
Config checkpoint_config(const std::string& path);

// Everything of a run's own `state` file. Errors name file, key and both shapes; every parameter must be there.
RunState resume_checkpoint(const std::string& path, Scvd&, eng::AdamW& optimizer);

struct Loaded {
    RunState state;
    Import::Report report;
    bool foreign = false;  // not a checkpoint of a run of ours: new modules may be missing and keep their start values
};
// Weights from a checkpoint, an imported file or another program's file.
Loaded load_weights(const std::string& path, Scvd&, const ImportOptions& = {});

// A model ready for use, with a file's weights and its configuration, or that with some of it changed.
struct TrainedModel {
    Config config;
    eng::Arena arena;
    Scvd model;
    Loaded loaded;
    explicit TrainedModel(const std::string& path) : TrainedModel(path, checkpoint_config(path)) {}
    TrainedModel(const std::string& path, const Config& c) : config(c), model(config.model, arena, 1), loaded(load_weights(path, model)) {}
};

// Writes the encoders (and whatever else is there) of another program's file as a checkpoint of ours, without holding the
// weights in memory.
Import::Report import_weights(const std::string& from, const std::string& to, const Config&, const ImportOptions& = {});

}  // namespace scvd
