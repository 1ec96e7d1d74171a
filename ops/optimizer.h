#pragma once
// AdamW, or Adam with L2, over the flat parameter buffers of a ParamStore.
#include "engine/comm/comm.h"
#include "engine/params.h"

namespace eng {

struct AdamWOptions {
    float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;
    float weight_decay = 0.01f;
    float bias_lr = 1;         // factor on the rate of parameters without decay (biases, norms, positions)
    float clip_norm = 0;       // largest norm of all gradients together; 0: no limit
    float ema = 0;             // decay of the running average of the weights; 0: none
    bool l2 = false;           // decay as a part of the gradient: PyTorch's Adam, not its AdamW
    bool biases_only = false;  // without decay, and at bias_lr, are the parameters named "bias" alone
};

class AdamW {
public:
    // With `comm` of several ranks each keeps a slice of the moments and of the average, updates that slice of the parameters and gives it to
    // the others: the same bits, in a fraction of the memory.
    AdamW(ParamStore&, Arena&, const AdamWOptions&, Comm* comm = nullptr);
    // One update with the given rates; gradients are multiplied by grad_scale, or by less where their norm has a limit, and are spent
    // afterwards. A parameter that got none since the last update has a gradient of zero.
    void step(float clip_lr, float head_lr, float grad_scale) { prepare(clip_lr, head_lr, grad_scale), apply(); }
    // Its two halves: what differs from step to step goes to the device, then the kernels, the same each time.
    void prepare(float clip_lr, float head_lr, float grad_scale);
    void apply();
    std::int64_t steps = 0;  // taken so far; saved and restored with the moments
    Tensor m, v, ema;        // flat, like ParamStore::master or this rank's slice of it; ema undefined without it

    bool sharded() const { return comm_ != nullptr; }
    // Lets go of the other ranks' masters too, where kernels read a copy. After everything is loaded.
    void shard_masters();
    // All of a flat buffer of which this rank holds a slice, on the host: on rank 0, empty elsewhere. All ranks call it.
    std::vector<std::byte> whole(const Tensor& own) const;
    void fill(const Tensor& own, const void* whole) const;  // its inverse, on each rank for itself

private:
    Tensor master() const { return params_.master.numel() == m.numel() ? params_.master : params_.master.slice(first_, m.numel()); }
    ParamStore& params_;
    AdamWOptions options_;
    Comm* comm_;
    std::int64_t first_ = 0;           // of the slice
    std::vector<std::int64_t> slices_;  // elements of each rank's
    Tensor lr_, decay_, ends_, scalars_, sum_of_squares_;
};

}  // namespace eng
