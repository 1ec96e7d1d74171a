// A stand-in for libcudnn.so.9 on the emulated GPU: the calls that ops/cuda/cudnn makes of convolution and batch norm, by
// plain loops after cuDNN's manual. It shows that shapes, orders, blending and types are handed over as the manual wants
// them; that the real library does what its manual says, only a GPU shows.
#include <cudnn.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "engine/dtype.h"

struct cudnnContext { cudaStream_t stream; };
struct cudnnTensorStruct { cudnnDataType_t type; int n, c, h, w; };
struct cudnnFilterStruct { cudnnDataType_t type; int k, c, h, w; };
struct cudnnConvolutionStruct { int pad, stride; };

namespace {

using Tensor = const cudnnTensorStruct&;
constexpr cudnnStatus_t ok = CUDNN_STATUS_SUCCESS, bad = CUDNN_STATUS_BAD_PARAM;
constexpr std::size_t kWorkspace = 48;
constexpr int kSameBits = 1;  // of the two algorithms that are offered, the slower one

double get(const void* p, cudnnDataType_t t, std::size_t i) {
    return t == CUDNN_DATA_FLOAT ? static_cast<const float*>(p)[i] : float(static_cast<const eng::bf16*>(p)[i]);
}
void blend(void* p, cudnnDataType_t t, std::size_t i, double v, const void* alpha, const void* beta) {
    const double a = *static_cast<const float*>(alpha), b = *static_cast<const float*>(beta);
    v = a * v + (b ? b * get(p, t, i) : 0);
    if (t == CUDNN_DATA_FLOAT) static_cast<float*>(p)[i] = float(v);
    else static_cast<eng::bf16*>(p)[i] = eng::bf16(float(v));
}
std::size_t at(Tensor t, int n, int y, int x, int c) { return ((std::size_t(n) * t.h + y) * t.w + x) * t.c + c; }

// f(element of y, element of x, element of w) for all that meet; false when the shapes do not fit.
template <class F> bool for_taps(Tensor x, Tensor y, const cudnnFilterStruct& w, const cudnnConvolutionStruct& s, F&& f) {
    const auto size = [&](int n, int k) { return (n + 2 * s.pad - k) / s.stride + 1; };
    if (x.n != y.n || x.c != w.c || y.c != w.k || y.h != size(x.h, w.h) || y.w != size(x.w, w.w) || x.type != y.type || x.type != w.type) return false;
    for (int n = 0; n < y.n; ++n)
        for (int oy = 0; oy < y.h; ++oy)
            for (int ox = 0; ox < y.w; ++ox)
                for (int ky = 0; ky < w.h; ++ky)
                    for (int kx = 0; kx < w.w; ++kx) {
                        const int iy = oy * s.stride + ky - s.pad, ix = ox * s.stride + kx - s.pad;
                        if (iy < 0 || ix < 0 || iy >= x.h || ix >= x.w) continue;
                        for (int k = 0; k < w.k; ++k)
                            for (int c = 0; c < w.c; ++c)
                                f(at(y, n, oy, ox, k), at(x, n, iy, ix, c), ((std::size_t(k) * w.h + ky) * w.w + kx) * w.c + c);
                    }
    return true;
}
void blend_all(void* p, cudnnDataType_t t, const std::vector<double>& v, const void* alpha, const void* beta) {
    for (std::size_t i = 0; i < v.size(); ++i) blend(p, t, i, v[i], alpha, beta);
}
template <class Perf> cudnnStatus_t offer(int room, int* count, Perf* results) {
    if (room < 2) return bad;
    *count = 2;
    for (int i = 0; i < 2; ++i) {
        results[i] = {};
        results[i].algo = decltype(results[i].algo)(i), results[i].status = ok, results[i].memory = kWorkspace;
        results[i].determinism = i == kSameBits ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC;
    }
    return ok;
}
bool usable(int algo, void* workspace, std::size_t size) {
    if (algo != kSameBits || size < kWorkspace) return false;
    std::memset(workspace, 0xff, kWorkspace);
    return true;
}
std::size_t size_of(Tensor t) { return std::size_t(t.n) * t.c * t.h * t.w; }

}  // namespace

extern "C" {

cudnnStatus_t cudnnCreate(cudnnHandle_t* h) { return *h = new cudnnContext{}, ok; }
cudnnStatus_t cudnnSetStream(cudnnHandle_t h, cudaStream_t s) { return h->stream = s, ok; }
const char* cudnnGetErrorString(cudnnStatus_t s) { return s == ok ? "success" : "bad parameter"; }
size_t cudnnGetVersion() { return 90000; }

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* d) { return *d = new cudnnTensorStruct{}, ok; }
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t d) { return delete d, ok; }
cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t d, cudnnTensorFormat_t f, cudnnDataType_t t, int n, int c, int h, int w) {
    return *d = {t, n, c, h, w}, f == CUDNN_TENSOR_NHWC ? ok : bad;
}
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* d) { return *d = new cudnnFilterStruct{}, ok; }
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t d) { return delete d, ok; }
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t d, cudnnDataType_t t, cudnnTensorFormat_t f, int k, int c, int h, int w) {
    return *d = {t, k, c, h, w}, f == CUDNN_TENSOR_NHWC ? ok : bad;
}
cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* d) { return *d = new cudnnConvolutionStruct{}, ok; }
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t d) { return delete d, ok; }
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t, cudnnMathType_t) { return ok; }
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t d, int ph, int pw, int u, int v, int dh, int dw, cudnnConvolutionMode_t m,
                                              cudnnDataType_t t) {
    *d = {ph, u};
    return ph == pw && u == v && dh == 1 && dw == 1 && m == CUDNN_CROSS_CORRELATION && t == CUDNN_DATA_FLOAT ? ok : bad;
}

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, const cudnnTensorDescriptor_t, const cudnnFilterDescriptor_t, const cudnnConvolutionDescriptor_t,
                                                     const cudnnTensorDescriptor_t, const int room, int* count, cudnnConvolutionFwdAlgoPerf_t* r) {
    return offer(room, count, r);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t, const cudnnFilterDescriptor_t, const cudnnTensorDescriptor_t, const cudnnConvolutionDescriptor_t,
                                                          const cudnnTensorDescriptor_t, const int room, int* count, cudnnConvolutionBwdDataAlgoPerf_t* r) {
    return offer(room, count, r);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t, const cudnnTensorDescriptor_t, const cudnnTensorDescriptor_t, const cudnnConvolutionDescriptor_t,
                                                            const cudnnFilterDescriptor_t, const int room, int* count, cudnnConvolutionBwdFilterAlgoPerf_t* r) {
    return offer(room, count, r);
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t h, const void* alpha, const cudnnTensorDescriptor_t xd, const void* x, const cudnnFilterDescriptor_t wd, const void* w,
                                      const cudnnConvolutionDescriptor_t s, cudnnConvolutionFwdAlgo_t algo, void* workspace, size_t size, const void* beta,
                                      const cudnnTensorDescriptor_t yd, void* y) {
    cudaStreamSynchronize(h->stream);  // this stand-in computes at once
    std::vector<double> sum(size_of(*yd));
    const bool fits = for_taps(*xd, *yd, *wd, *s, [&](auto o, auto i, auto f) { sum[o] += get(x, xd->type, i) * get(w, wd->type, f); });
    if (!fits || !usable(algo, workspace, size)) return bad;
    return blend_all(y, yd->type, sum, alpha, beta), ok;
}
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t h, const void* alpha, const cudnnFilterDescriptor_t wd, const void* w, const cudnnTensorDescriptor_t dyd, const void* dy,
                                           const cudnnConvolutionDescriptor_t s, cudnnConvolutionBwdDataAlgo_t algo, void* workspace, size_t size, const void* beta,
                                           const cudnnTensorDescriptor_t dxd, void* dx) {
    cudaStreamSynchronize(h->stream);  // this stand-in computes at once
    std::vector<double> sum(size_of(*dxd));
    const bool fits = for_taps(*dxd, *dyd, *wd, *s, [&](auto o, auto i, auto f) { sum[i] += get(dy, dyd->type, o) * get(w, wd->type, f); });
    if (!fits || !usable(algo, workspace, size)) return bad;
    return blend_all(dx, dxd->type, sum, alpha, beta), ok;
}
cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t h, const void* alpha, const cudnnTensorDescriptor_t xd, const void* x, const cudnnTensorDescriptor_t dyd, const void* dy,
                                             const cudnnConvolutionDescriptor_t s, cudnnConvolutionBwdFilterAlgo_t algo, void* workspace, size_t size, const void* beta,
                                             const cudnnFilterDescriptor_t dwd, void* dw) {
    cudaStreamSynchronize(h->stream);  // this stand-in computes at once
    std::vector<double> sum(std::size_t(dwd->k) * dwd->c * dwd->h * dwd->w);
    const bool fits = for_taps(*xd, *dyd, *dwd, *s, [&](auto o, auto i, auto f) { sum[f] += get(dy, dyd->type, o) * get(x, xd->type, i); });
    if (!fits || !usable(algo, workspace, size)) return bad;
    return blend_all(dw, dwd->type, sum, alpha, beta), ok;
}

cudnnStatus_t cudnnBatchNormalizationForwardTraining(cudnnHandle_t h, cudnnBatchNormMode_t mode, const void* alpha, const void* beta, const cudnnTensorDescriptor_t xd,
                                                     const void* x, const cudnnTensorDescriptor_t yd, void* y, const cudnnTensorDescriptor_t cd, const void* scale,
                                                     const void* bias, double factor, void* running_mean, void* running_var, double eps, void* saved_mean, void* saved_rstd) {
    cudaStreamSynchronize(h->stream);  // this stand-in computes at once
    if (mode != CUDNN_BATCHNORM_SPATIAL || xd->type != yd->type || cd->type != CUDNN_DATA_FLOAT || size_of(*cd) != std::size_t(xd->c)) return bad;
    const std::size_t C = xd->c, N = size_of(*xd) / C;
    const auto move = [&](void* p, std::size_t c, double to) { static_cast<float*>(p)[c] = float((1 - factor) * static_cast<float*>(p)[c] + factor * to); };
    for (std::size_t c = 0; c < C; ++c) {
        double mean = 0, square = 0;
        for (std::size_t n = 0; n < N; ++n) mean += get(x, xd->type, n * C + c) / double(N);
        for (std::size_t n = 0; n < N; ++n) square += std::pow(get(x, xd->type, n * C + c) - mean, 2);
        const double rstd = 1 / std::sqrt(square / double(N) + eps);
        for (std::size_t n = 0; n < N; ++n)
            blend(y, yd->type, n * C + c, (get(x, xd->type, n * C + c) - mean) * rstd * get(scale, cd->type, c) + get(bias, cd->type, c), alpha, beta);
        move(running_mean, c, mean), move(running_var, c, square / double(N - 1));
        static_cast<float*>(saved_mean)[c] = float(mean), static_cast<float*>(saved_rstd)[c] = float(rstd);
    }
    return ok;
}

cudnnStatus_t cudnnBatchNormalizationBackward(cudnnHandle_t h, cudnnBatchNormMode_t mode, const void* alpha, const void* beta, const void* alpha_p, const void* beta_p,
                                              const cudnnTensorDescriptor_t xd, const void* x, const cudnnTensorDescriptor_t dyd, const void* dy,
                                              const cudnnTensorDescriptor_t dxd, void* dx, const cudnnTensorDescriptor_t cd, const void* scale, void* dscale, void* dbias,
                                              double, const void* mean, const void* rstd) {
    cudaStreamSynchronize(h->stream);  // this stand-in computes at once
    if (mode != CUDNN_BATCHNORM_SPATIAL || xd->type != dyd->type || xd->type != dxd->type || cd->type != CUDNN_DATA_FLOAT || size_of(*cd) != std::size_t(xd->c)) return bad;
    const std::size_t C = xd->c, N = size_of(*xd) / C;
    for (std::size_t c = 0; c < C; ++c) {
        const double m = get(mean, CUDNN_DATA_FLOAT, c), r = get(rstd, CUDNN_DATA_FLOAT, c);
        double dgamma = 0, dbeta = 0;
        for (std::size_t n = 0; n < N; ++n) {
            const double g = get(dy, dyd->type, n * C + c);
            dgamma += g * (get(x, xd->type, n * C + c) - m) * r, dbeta += g;
        }
        for (std::size_t n = 0; n < N; ++n) {
            const double xhat = (get(x, xd->type, n * C + c) - m) * r;
            blend(dx, dxd->type, n * C + c, get(scale, cd->type, c) * r * (get(dy, dyd->type, n * C + c) - (dbeta + xhat * dgamma) / double(N)), alpha, beta);
        }
        blend(dscale, CUDNN_DATA_FLOAT, c, dgamma, alpha_p, beta_p), blend(dbias, CUDNN_DATA_FLOAT, c, dbeta, alpha_p, beta_p);
    }
    return ok;
}

}  // extern "C"
