#pragma once
// A training step of the whole model on a made-up batch, on either device: forward, backward, clipping, AdamW.
#include "bench/made_up_batch.h"
#include "engine/graph.h"
#include "ops/optimizer.h"

namespace scvd {

class MadeUpStep {
public:
    MadeUpStep(const Config&, eng::Device);
    // Forward and backward; gradients add up in the parameters until the next update. Returns the loss.
    double backward();
    // A whole step; the loss stays where it is. As a graph: recorded the third time, replayed from then on (on a GPU).
    void run(bool as_graph = true);
    // The encoders alone, forward, with nothing kept for a gradient.
    void encode_images() const;
    void encode_texts() const;
    // weights.safetensors, pixels.safetensors, batch.json (with the loss of these weights) for another implementation.
    void dump(const std::string& folder);
    Scvd& model() { return model_; }
    std::size_t peak_bytes() const { return weights_.peak() + step_.peak() + eng::cuda::scratch_peak(); }
    std::size_t step_peak_bytes() const { return step_.peak(); }

private:
    void forward_and_back();
    Config config_;
    MadeUpBatch batch_;
    eng::Arena weights_, step_;
    Scvd model_;
    eng::AdamW optimizer_;
    eng::StepGraph graph_;
    eng::Comm alone_;
    // What a step reads and its result, on the device and in the step's memory: intermediate results are made beside the inputs.
    Tensor pixels_, labels_, one_, loss_;
    TextBatch texts_;
};

}  // namespace scvd
