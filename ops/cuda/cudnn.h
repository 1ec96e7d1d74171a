#pragma once
// What cuDNN computes when it is asked to (ops/provider.h); docs/cuda.md says what it cannot. CMake picks the files in
// cudnn/ that call it or, where its headers are missing, their twins that say so.
#include "ops/kernels.h"

namespace eng::cuda::cudnn {

void conv_forward(const ConvFwd&);
void conv_backward(const ConvBwd&);
void batch_norm_forward(const BatchNormFwd&);    // of the rows' own statistics: a.train
void batch_norm_backward(const BatchNormBwd&);   // the same

bool takes(const AttentionFwd&);  // bf16, heads of at most 128 in multiples of 8, no row in two sequences
bool takes(const AttentionBwd&);
void attention_forward(const AttentionFwd&);
void attention_backward(const AttentionBwd&);

}  // namespace eng::cuda::cudnn
