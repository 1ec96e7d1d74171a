// Stands in for cuDNN's convolution and batch norm in a build that found none of its headers.
#include "ops/cuda/cudnn.h"
#include "ops/provider.h"

namespace eng::cuda {

void require_cudnn_conv() { fail("cudnn", "--conv cudnn: this binary was built without cuDNN's headers (cudnn.h)"); }

namespace cudnn {
void conv_forward(const ConvFwd&) { require_cudnn_conv(); }
void conv_backward(const ConvBwd&) { require_cudnn_conv(); }
void batch_norm_forward(const BatchNormFwd&) { require_cudnn_conv(); }
void batch_norm_backward(const BatchNormBwd&) { require_cudnn_conv(); }
}  // namespace cudnn

}  // namespace eng::cuda
