#pragma once
// AdamW, or Adam with L2, over the flat parameter buffers of a ParamStore.
#include "engine/params.h"

namespace eng {

struct AdamWOptions {
    float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
    float weight_decay = 0.01f;
    float bias_lr = 1;         // factor on the rate of parameters without decay (biases, norms, positions)
    float ema = 0;             // decay of the running average of the weights; 0: none
    bool l2 = false;           // decay as a part of the gradient: PyTorch's Adam, not its AdamW
    bool biases_only = false;  // without decay, and at bias_lr, are the parameters named "bias" alone
};

class AdamW {
public:
    AdamW(ParamStore&, Arena&, const AdamWOptions&);
    // Gradient norm over all parameters, before any clipping.
    double grad_norm() const;
    // One update with the given rates; gradients are multiplied by grad_scale and set to zero afterwards.
    void step(float clip_lr, float head_lr, float grad_scale) { prepare(clip_lr, head_lr, grad_scale), apply(); }
    // Its two halves: what differs from step to step goes to the device, then the kernels, the same each time.
    void prepare(float clip_lr, float head_lr, float grad_scale);
    void apply();
    std::int64_t steps = 0;  // taken so far; saved and restored with the moments
    Tensor m, v, ema;        // flat, like ParamStore::master; ema undefined without it

private:
    ParamStore& params_;
    AdamWOptions options_;
    Tensor lr_, decay_, ends_, scalars_;
};

}  // namespace eng
