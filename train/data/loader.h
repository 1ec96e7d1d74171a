#pragma once
// Training batches, prepared ahead by worker threads. What batch n holds, and how each of its pairs is augmented, is a function of
// (seed, n) alone: the number of ranks and workers, their timing and a restart in the middle change nothing.
#include <condition_variable>
#include <deque>
#include <map>
#include <thread>

#include "engine/comm/comm.h"
#include "train/data/pictures.h"
#include "train/data/texts.h"

namespace scvd {

// The pairs of a batch that one rank holds, n of B.
struct HostBatch {
    std::vector<std::uint8_t> pixels;      // [n,H,W,3]
    std::vector<std::int32_t> augment;     // [n,8], see ops/kernels.h
    std::vector<const TextItem*> texts;    // n
    std::vector<std::int64_t> readings;    // n: a number that no other reading of a pair in the run has; what training draws depends on it
    std::vector<std::int32_t> labels;      // B, of all ranks: identities of the split
};
struct Rank { int rank = 0, size = 1; };

class Loader {
public:
    // `items[p]` belongs to split.pairs[p]. Batches are numbered over epochs: batch n of epoch n / batches_per_epoch(). An epoch is every
    // pair once: it is cut into as few batches as train.batch allows, of sizes that differ by one at most, and each batch likewise over ranks.
    Loader(const Config&, const Split&, Pictures&, const std::vector<TextItem>& items, std::int64_t first_batch, Rank rank = {});
    ~Loader();
    std::int64_t batches_per_epoch() const { return batches_; }
    HostBatch next();  // errors of the workers are thrown here

private:
    void work();
    HostBatch make(std::int64_t n);
    std::vector<int> order(std::int64_t epoch);
    const Config& config_;
    const Split& split_;
    Pictures& pictures_;
    const std::vector<TextItem>& items_;
    Rank rank_;
    std::int64_t batches_, next_out_, next_in_;
    std::map<std::int64_t, HostBatch> ready_;
    std::map<std::int64_t, std::vector<int>> orders_;
    std::string error_;
    bool stop_ = false;
    std::mutex mutex_;
    std::condition_variable room_, filled_;
    std::vector<std::thread> workers_;
};

}  // namespace scvd
