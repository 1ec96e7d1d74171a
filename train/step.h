#pragma once
// One batch: forward, backward and, at the end of an update, the optimizer. The host only enqueues: it sends the next batch and reads losses while the device computes.
#include "engine/comm/buckets.h"
#include "engine/graph.h"
#include "model/scvd.h"
#include "ops/optimizer.h"
#include "train/config.h"
#include "train/data/loader.h"
#include "train/run_log.h"

namespace scvd {

class Step {
public:
    Step(const Config&, Scvd&, const TextBank&, eng::Comm&, eng::Buckets&, eng::AdamW&);
    // The batch after the one that runs, on its way while that computes.
    void send(const HostBatch&);
    // Forward and backward of the batch that was sent; with the last of an update gradients are added up over ranks, and the optimizer,
    // which the caller has prepared, takes its step. One loss is one of train.accumulate.
    void run(bool last);
    // What the runs since the last call found, added up, the total first. Waits for the device.
    LossValues take_losses();
    void report_memory() { report_ = true; }  // of the next run, on stdout
    int recorded() const { return graph_.recorded(); }  // sizes of batches whose step is replayed

private:
    // What a step reads, at addresses of its own, and the sizes of all of it.
    struct Inputs {
        Tensor pixels, augment, labels;
        TextBatch texts;
        std::int64_t pairs = 0;  // of this rank
        template <class F> void each(F&& f) {
            for (Tensor* t : {&pixels, &augment, &labels, &texts.ids, &texts.positions, &texts.eot, &texts.prompt_text, &texts.seqs.begin, &texts.seqs.len,
                              &texts.seqs.out, &texts.prompts.begin, &texts.prompts.len, &texts.prompts.out})
                f(*t);
        }
        std::string sizes() const;
    };
    void enqueue(const Inputs&, bool last);
    bool recordable() const;

    const Config& config_;
    Scvd& model_;
    const TextBank& bank_;
    eng::Comm& comm_;
    eng::Buckets& buckets_;
    eng::AdamW& optimizer_;
    eng::Arena sent_memory_, memory_;
    eng::StepGraph graph_;
    Inputs sent_;
    Tensor seed_, sums_;
    std::vector<std::string> names_;  // of the losses in sums_
    bool report_ = false;
};

}  // namespace scvd
