#pragma once
// One table of settings: preset or TOML file, then command line. The resolved table is written beside every run.
#include <functional>
#include <map>
#include <vector>

#include "model/config.h"
#include "model/semantics/deconstructor.h"
#include "ops/optimizer.h"

namespace scvd {

struct Config {
    ModelConfig model;
    struct Sd {
        int slots = 8;
        bool templates = true;          // "a photo of a man wearing a red shirt" | the bare phrase
        bool whole_description = false;  // the description as one more prompt
        float prompt_dropout = 0.15f;    // training only, never slot 0
        float neutral = 0.15f;           // training only: "person" in place of the class
        std::string source = "grammar";  // grammar | wordnet | bare | oracle | windows, see train/data/phrase_source.h
        int window = 4;                  // words, for windows
        std::array<std::string, category_count> template_of = default_templates();  // with {person}, {phrase}, {a}
    } sd;
    struct Data {
        std::string root, images, on_bad = "fatal";
        bool disk_cache = true;  // decoded and resized pictures in a file of the data set's folder
        int workers = 1, cache_mb = 2048;
        float flip = 0.5f, erase = 0.5f;
        int pad = 10;
    } data;
    struct Train {
        int epochs = 60, batch = 64, accumulate = 1, seed = 1, eval_every = 1, log_every = 10, save_every = 0, bucket_mb = 4;
        float lr = 1e-5f, head_lr = 5e-5f, weight_decay = 0.01f, bias_lr = 1, beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
        float warmup = 5, clip_norm = 0, ema = 0;  // warm-up in epochs
        std::string optimizer = "adamw";           // adamw | adam: decay apart from the gradient, or as a part of it
        std::string exempt = "vectors";            // from decay, and at bias_lr: vectors (biases, norms, positions) | biases
        bool shard_optimizer = false;              // each rank keeps a slice of the optimizer's state
        std::string schedule = "cosine";           // cosine | multistep (x0.1 at 5/8 and 7/8 of the epochs)
        bool graph = true;                         // on one GPU: steps are recorded once per size and replayed
        bool hold_lr = false;                      // the rate moves at the start of an epoch, as in IRRA, not with every update
    } train;
    struct Eval {
        int shortlist = 0;   // re-score the best K of stage 1; 0: all pairs
        float lambda = -1;   // weight of the global score; below 0: chosen on the validation split
    } eval;

    void check() const;  // error: the first number out of its range, or word that is none of its list, with its key
};

struct Setting {
    std::string key, help;
    std::function<void(const std::string&)> set;  // errors name key, value and what is wanted
    std::function<std::string()> get;             // as TOML
};
// The table over one Config object, in the order of documentation.
std::vector<Setting> settings(Config&);

// `name` is a preset (demo, small, vit-b16, scvd-vit-b16, scvd-rn50) or a path of a TOML file. Unknown keys are errors that name the nearest key.
void load_config(Config&, const std::string& name);
void load_config_text(Config&, const std::string& toml, const std::string& source);
std::string to_toml(const Config&);
std::vector<std::string> preset_names();
// What the optimizer is built from. Error: a word that is none of the list.
eng::AdamWOptions optimizer_options(const Config::Train&);
// The candidate nearest to `word` by edit distance.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace scvd
