#pragma once
// Training of one run: from a configuration to a folder with checkpoints, metrics and curves.
#include "train/config.h"
#include "train/world.h"

namespace scvd {

struct TrainOptions {
    Config config;
    std::string out, bpe, init;  // run folder; tokenizer vocabulary; weights to start from
    bool resume = false, check_numerics = false, memory_report = false;
    double comm_timeout = 60;     // seconds; see train/world.h
    std::int64_t stop_after = 0;  // updates; 0: to the end (for tests: a run cut short on purpose)
};
// Every rank of the world calls it; rank 0 prints and writes. The same losses, gradients and weights for any number of ranks, but for
// the rounding of sums.
void train(const TrainOptions&, World&);
void train(const TrainOptions&);  // alone

// Learning-rate factor at update `step` of `total`, with `warmup` updates from 0.1 up.
double schedule_factor(const std::string& schedule, std::int64_t step, std::int64_t warmup, std::int64_t total);

}  // namespace scvd
