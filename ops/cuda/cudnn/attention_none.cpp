// Stands in for cuDNN's attention in a build that did not find cuDNN's headers and cudnn-frontend's.
#include "ops/cuda/cudnn.h"
#include "ops/provider.h"

namespace eng::cuda {

void require_cudnn_attention() {
    fail("cudnn", "--attention cudnn: this binary was built without cuDNN's headers (cudnn.h) or cudnn-frontend's (cudnn_frontend.h)");
}

namespace cudnn {
bool takes(const AttentionFwd&) { return true; }  // and say why not
bool takes(const AttentionBwd&) { return true; }
void attention_forward(const AttentionFwd&) { require_cudnn_attention(); }
void attention_backward(const AttentionBwd&) { require_cudnn_attention(); }
}  // namespace cudnn

}  // namespace eng::cuda
