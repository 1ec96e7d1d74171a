#pragma once
// The kernels behind cuda::attention_* by name, for tests and benchmarks: plain host declarations, no CUDA header.
#include "ops/kernels.h"

namespace eng::cuda {

enum class AttentionKernel {
    any,    // f32 and bf16, any head width
    tiled,  // bf16 on tensor cores, head width 64, any length: keys stream through shared memory
    whole,  // the same for short sequences: all keys (backward: queries too) of a head lie in shared memory
    hopper, // as whole, by wgmma: sequences of more than 80 rows that are not causal
    pairs   // backward of sequences that share rows, where each has a few queries
};

bool can_run(AttentionKernel kernel, const AttentionFwd& a);
bool can_run(AttentionKernel kernel, const AttentionBwd& a);
void run_attention_kernel(AttentionKernel kernel, const AttentionFwd& a);  // an error if it cannot
void run_attention_kernel(AttentionKernel kernel, const AttentionBwd& a);

}  // namespace eng::cuda
