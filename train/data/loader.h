#pragma once
// Training batches, prepared ahead by worker threads. What batch n holds is a function of (seed, n) alone: the number of
// workers, their timing and a restart in the middle change nothing.
#include <condition_variable>
#include <deque>
#include <map>
#include <thread>

#include "train/data/pictures.h"
#include "train/data/texts.h"

namespace scvd {

struct HostBatch {
    std::vector<std::uint8_t> pixels;      // [B,H,W,3]
    std::vector<std::int32_t> augment;     // [B,8], see ops/kernels.h
    std::vector<const TextItem*> texts;    // B
    std::vector<std::int32_t> labels;      // B, identities of the split
};

class Loader {
public:
    // `items[p]` belongs to split.pairs[p]. Batches are numbered over epochs: batch n of epoch n / batches_per_epoch().
    Loader(const Config&, const Split&, Pictures&, const std::vector<TextItem>& items, std::int64_t first_batch);
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
