#pragma once
// A whole step as one CUDA graph. The eager step stays the only description of what happens: it is recorded once per key
// and replayed from then on, with the same bits.
#include <functional>
#include <memory>
#include <string>

#include "engine/arena.h"

namespace eng {

class Replay {  // a recorded step
public:
    virtual ~Replay() = default;
    virtual void launch() = 0;
};
// Records what `step` enqueues; nothing of it runs yet. In builds without CUDA an error.
namespace cuda { std::unique_ptr<Replay> capture(const std::function<void()>& step); }

class StepGraph {
public:
    explicit StepGraph(Arena& arena) : arena_(arena) {}
    // Runs `step`, whose kernels and shapes depend on `key` alone (batch, bucket of tokens, flags). On a GPU the first two
    // times as it is, so that the arena and scratch memory reach their size; then it is recorded, and replayed ever after.
    // The step reads its inputs from and leaves its results in tensors that outlive it, reads nothing back to the host,
    // and returns all step memory. No more than kMost keys are recorded; the rest run as they are. Errors: growth of the arena
    // while recording, memory held at the end.
    void run(const std::string& key, const std::function<void()>& step);
    int recorded() const { return recorded_; }
    bool recorded(const std::string& key) const {
        const auto it = entries_.find(key);
        return it != entries_.end() && it->second.replay;
    }

private:
    static constexpr int kMost = 128;  // some 26 sizes of texts, of batches of two sizes, with and without the optimizer
    struct Entry { int runs = 0; std::unique_ptr<Replay> replay; };
    Arena& arena_;
    std::map<std::string, Entry> entries_;
    int recorded_ = 0;
};

}  // namespace eng
