#pragma once
// Who computes convolutions (with trained batch norm) and attention on a GPU: our kernels, or NVIDIA's cuDNN where it is
// installed. A program sets them once, before it computes anything; on the CPU they mean nothing.
#include <cstdint>

namespace eng {

enum class Provider : std::uint8_t { scvd, cudnn };
inline Provider conv_provider = Provider::scvd, attention_provider = Provider::scvd;

namespace cuda {
// Errors, in one sentence, where this build or this machine cannot do it through cuDNN.
void require_cudnn_conv();
void require_cudnn_attention();
}  // namespace cuda

}  // namespace eng
