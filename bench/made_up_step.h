#pragma once
// A training step of the whole model on a made-up batch, on either device: forward, backward, clipping, AdamW.
#include "bench/made_up_batch.h"
#include "ops/optimizer.h"

namespace scvd {

class MadeUpStep {
public:
    MadeUpStep(const Config&, eng::Device);
    // Forward and backward; gradients add up in the parameters until the next update. Returns the loss.
    double backward();
    // A whole step. The loss stays where it is.
    void run();
    // The encoders alone, forward, with nothing kept for a gradient.
    void encode_images() const;
    void encode_texts() const;
    // weights.safetensors, pixels.safetensors, batch.json (with the loss of these weights) for another implementation.
    void dump(const std::string& folder);
    Scvd& model() { return model_; }
    std::size_t peak_bytes() const { return weights_.peak() + step_.peak(); }
    std::size_t step_peak_bytes() const { return step_.peak(); }

private:
    Tensor forward_and_back();
    Tensor step_pixels() const;  // in the step's memory: intermediate results are made beside the input
    Config config_;
    MadeUpBatch batch_;
    eng::Arena weights_;
    mutable eng::Arena step_;
    Scvd model_;
    eng::AdamW optimizer_;
    Tensor pixels_;  // stays on the device, as an epoch's pictures would
};

}  // namespace scvd
