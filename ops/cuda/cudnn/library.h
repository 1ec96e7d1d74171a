#pragma once
// cuDNN 9, loaded when it is first needed: a binary starts on machines that do not have it.
#include <cudnn.h>

#include "engine/context_cuda.h"
#include "ops/kernels.h"

namespace eng::cuda::cudnn {

#define CUDNN_FUNCTIONS(F)                                                                                            \
    F(Create) F(SetStream) F(GetErrorString) F(GetVersion)                                                            \
    F(CreateTensorDescriptor) F(SetTensor4dDescriptor) F(DestroyTensorDescriptor)                                     \
    F(CreateFilterDescriptor) F(SetFilter4dDescriptor) F(DestroyFilterDescriptor)                                     \
    F(CreateConvolutionDescriptor) F(SetConvolution2dDescriptor) F(SetConvolutionMathType) F(DestroyConvolutionDescriptor) \
    F(GetConvolutionForwardAlgorithm_v7) F(ConvolutionForward)                                                        \
    F(GetConvolutionBackwardDataAlgorithm_v7) F(ConvolutionBackwardData)                                              \
    F(GetConvolutionBackwardFilterAlgorithm_v7) F(ConvolutionBackwardFilter)                                          \
    F(BatchNormalizationForwardTraining) F(BatchNormalizationBackward)

struct Library {
    void* handle;  // dlopen's
#define CUDNN_MEMBER(name) decltype(&::cudnn##name) name;
    CUDNN_FUNCTIONS(CUDNN_MEMBER)
#undef CUDNN_MEMBER
};
const Library& library();  // error naming the file that could not be loaded
cudnnHandle_t handle();    // the process's, on the compute stream

#define CUDNN_CHECK(call)                                                                                    \
    do {                                                                                                     \
        if (const cudnnStatus_t s_ = library().call; s_ != CUDNN_STATUS_SUCCESS)                             \
            ::eng::fail("cudnn", #call, " at ", __FILE__, ":", __LINE__, ": ", library().GetErrorString(s_)); \
    } while (0)

inline cudnnDataType_t type_of(DType t) {
    ENG_CHECK(t == DType::f32 || t == DType::bf16, "cudnn", "computes in f32 and bf16, not in ", name_of(t));
    return t == DType::f32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16;
}

// n pictures of h x w pixels with c channels, channels innermost.
class Pixels {
public:
    Pixels(DType t, std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) {
        CUDNN_CHECK(CreateTensorDescriptor(&d_));
        CUDNN_CHECK(SetTensor4dDescriptor(d_, CUDNN_TENSOR_NHWC, type_of(t), int(n), int(c), int(h), int(w)));
    }
    ~Pixels() { library().DestroyTensorDescriptor(d_); }
    Pixels(const Pixels&) = delete;
    operator cudnnTensorDescriptor_t() const { return d_; }

private:
    cudnnTensorDescriptor_t d_ = nullptr;
};

inline constexpr float kOne = 1, kZero = 0;
inline View matrix(void* p, DType t, std::int64_t rows, std::int64_t cols) { return {p, t, rows, cols, cols}; }
inline Out output(const View& v) {
    Out o;
    static_cast<View&>(o) = v;
    return o;
}

// Where cuDNN puts a result of the shape and type of `like`: in place, or where the output has another type or is not
// wanted, in scratch memory.
class Result {
public:
    Result(const Out& o, const View& like)
        : out_(o), like_(like), direct_(o.dtype == like.dtype && o.mode != Mode::skip),
          memory_(direct_ ? 0 : std::size_t(like.numel()) * size_of(like.dtype)) {}
    void* p() const { return direct_ ? out_.p : memory_.as<void>(); }
    const float* blend() const { return direct_ && out_.mode == Mode::accumulate ? &kOne : &kZero; }  // result + blend * what is there
    void finish() const {
        if (!direct_) scale({matrix(memory_.as<void>(), like_.dtype, like_.rows, like_.cols), out_});
    }

private:
    Out out_;
    View like_;
    bool direct_;
    Scratch memory_;
};

}  // namespace eng::cuda::cudnn
