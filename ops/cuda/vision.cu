// The operators that only the RN50 image encoder needs: the seam for cuDNN's convolution and batch norm.
// Not written yet; a model that asks for one of them on the GPU is told so. The ViT encoders need none of them.
#include "ops/kernels.h"

namespace eng::cuda {

#define NOT_YET(name, Args) \
    void name(const Args&) { fail(#name, "has no CUDA kernel yet: RN50 runs on the CPU only"); }
NOT_YET(conv_forward, ConvFwd)
NOT_YET(conv_backward, ConvBwd)
NOT_YET(batch_norm_forward, BatchNormFwd)
NOT_YET(batch_norm_backward, BatchNormBwd)
NOT_YET(relu_forward, ReluFwd)
NOT_YET(relu_backward, ReluBwd)
NOT_YET(avg_pool_forward, AvgPoolFwd)
NOT_YET(avg_pool_backward, AvgPoolBwd)
NOT_YET(mean_positions_forward, MeanPositionsFwd)
NOT_YET(mean_positions_backward, MeanPositionsBwd)
#undef NOT_YET

}  // namespace eng::cuda
