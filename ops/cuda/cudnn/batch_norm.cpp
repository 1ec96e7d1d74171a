// Batch norm by the rows' own statistics through cuDNN. With frozen statistics it is one pass over the elements, and stays
// with our kernels.
//
// Numerics     cuDNN keeps gamma, beta and their gradients in f32: bf16 ones are widened into scratch memory.
#include "ops/cuda/cudnn.h"
#include "ops/cuda/cudnn/library.h"

namespace eng::cuda::cudnn {
namespace {

constexpr cudnnBatchNormMode_t kMode = CUDNN_BATCHNORM_SPATIAL;  // a mean per channel

Pixels rows_of(const View& x) { return {x.dtype, 1, x.cols, x.rows, 1}; }
Pixels channels_of(const View& x) { return {DType::f32, 1, x.cols, 1, 1}; }

}  // namespace

void batch_norm_forward(const BatchNormFwd& a) {
    const std::int64_t C = a.x.cols;
    const Scratch memory(2 * std::size_t(C) * sizeof(float));
    const View gamma = matrix(memory.as<void>(), DType::f32, 1, C), beta = matrix(memory.as<float>() + C, DType::f32, 1, C);
    scale({a.gamma, output(gamma)}), scale({a.beta, output(beta)});
    const Pixels x = rows_of(a.x), channels = channels_of(a.x);
    CUDNN_CHECK(BatchNormalizationForwardTraining(handle(), kMode, &kOne, &kZero, x, a.x.p, x, a.y.p, channels, gamma.p, beta.p, a.momentum,
                                                  a.running_mean.p, a.running_var.p, a.eps, a.mean.p, a.rstd.p));
}

void batch_norm_backward(const BatchNormBwd& a) {
    const std::int64_t C = a.x.cols;
    const Scratch memory(3 * std::size_t(C) * sizeof(float));
    const View gamma = matrix(memory.as<void>(), DType::f32, 1, C), dgamma = matrix(memory.as<float>() + C, DType::f32, 1, C),
               dbeta = matrix(memory.as<float>() + 2 * C, DType::f32, 1, C);
    scale({a.gamma, output(gamma)});
    const Result dx(a.dx, a.x);
    const Pixels x = rows_of(a.x), channels = channels_of(a.x);
    const double eps = CUDNN_BN_MIN_EPSILON;  // already in rstd, which is handed over
    CUDNN_CHECK(BatchNormalizationBackward(handle(), kMode, &kOne, dx.blend(), &kOne, &kZero, x, a.x.p, x, a.dy.p, x, dx.p(), channels, gamma.p,
                                           dgamma.p, dbeta.p, eps, a.mean.p, a.rstd.p));
    dx.finish();
    scale({dgamma, a.dgamma}), scale({dbeta, a.dbeta});
}

}  // namespace eng::cuda::cudnn
