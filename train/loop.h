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

// How the learning rate goes, all in updates.
struct Schedule {
    std::string shape;  // cosine | multistep
    std::int64_t warmup, total;
    std::int64_t hold = 0;  // it stays the same for so many; 0: it moves with each
};
// Factor of the learning rate at update `step`: linear from 0.1 to 1 in the warm-up, then the shape.
double schedule_factor(const Schedule&, std::int64_t step);

}  // namespace scvd
