// Convolution through cuDNN: NHWC pictures, filters in the order (tap, channel) that its tensor-core kernels want.
//
// Numerics     f32 sums; f32 on ordinary cores (no TF32). cuDNN wants one type for all its operands: beside bf16
//              activations a weight gradient is rounded to bf16 once before it is added to its f32 buffer.
// Determinism  only algorithms that cuDNN calls deterministic.
#include <array>
#include <map>

#include "ops/cuda/conv.h"
#include "ops/cuda/cudnn.h"
#include "ops/cuda/cudnn/library.h"

namespace eng::cuda::cudnn {
namespace {

struct Problem {
    ConvShape s;
    DType type;
    std::int64_t pictures, inputs, outputs;
    Pixels x, y;
    cudnnFilterDescriptor_t w = nullptr;
    cudnnConvolutionDescriptor_t conv = nullptr;

    Problem(const View& pixels, std::int64_t outputs, const ConvShape& s)
        : s(s), type(pixels.dtype), pictures(pixels.rows / (std::int64_t(s.height) * s.width)), inputs(pixels.cols), outputs(outputs),
          x(type, pictures, inputs, s.height, s.width), y(type, pictures, outputs, s.out_height(), s.out_width()) {
        CUDNN_CHECK(CreateFilterDescriptor(&w));
        CUDNN_CHECK(SetFilter4dDescriptor(w, type_of(type), CUDNN_TENSOR_NHWC, int(outputs), int(inputs), s.kernel, s.kernel));
        CUDNN_CHECK(CreateConvolutionDescriptor(&conv));
        CUDNN_CHECK(SetConvolution2dDescriptor(conv, s.pad, s.pad, s.stride, s.stride, 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
        CUDNN_CHECK(SetConvolutionMathType(conv, type == DType::f32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH));
    }
    ~Problem() {
        library().DestroyFilterDescriptor(w);
        library().DestroyConvolutionDescriptor(conv);
    }
    Problem(const Problem&) = delete;
    std::int64_t filter_size() const { return inputs * s.kernel * s.kernel; }
};

struct Choice {
    int algorithm;
    std::size_t workspace;
};
// The first algorithm, in the order of cuDNN's own estimate of speed, that gives the same bits every time; asked for once
// per shape. ask(room, &count, results) is one of cuDNN's three questions.
template <class Perf, class Ask> Choice choose(const char* what, const Problem& p, Ask&& ask) {
    static std::map<std::array<std::int64_t, 9>, Choice> known;
    const std::array<std::int64_t, 9> key{int(p.type), p.pictures, p.inputs, p.outputs, p.s.height, p.s.width, p.s.kernel, p.s.stride, p.s.pad};
    if (const auto it = known.find(key); it != known.end()) return it->second;
    Perf results[16];
    int count = 0;
    ask(16, &count, results);
    for (int i = 0; i < count; ++i)
        if (results[i].status == CUDNN_STATUS_SUCCESS && results[i].determinism == CUDNN_DETERMINISTIC)
            return known[key] = {int(results[i].algo), results[i].memory};
    fail("cudnn", what, " has no deterministic algorithm for ", p.pictures, " pictures of ", p.s.height, "x", p.s.width, "x", p.inputs);
}

void input_gradient(const ConvBwd& a, const Problem& p) {
    const Scratch memory(std::size_t(p.outputs * p.filter_size()) * size_of(p.type));
    const View taps = matrix(memory.as<void>(), p.type, p.outputs, p.filter_size());
    filters_to_taps(a.w, taps, int(p.inputs));
    const Choice c = choose<cudnnConvolutionBwdDataAlgoPerf_t>("an input gradient", p, [&](int room, int* count, auto* results) {
        CUDNN_CHECK(GetConvolutionBackwardDataAlgorithm_v7(handle(), p.w, p.y, p.conv, p.x, room, count, results));
    });
    const Result dx(a.dx, a.x);
    const Scratch workspace(c.workspace);
    CUDNN_CHECK(ConvolutionBackwardData(handle(), &kOne, p.w, taps.p, p.y, a.dy.p, p.conv, cudnnConvolutionBwdDataAlgo_t(c.algorithm),
                                        workspace.as<void>(), c.workspace, dx.blend(), p.x, dx.p()));
    dx.finish();
}

void weight_gradient(const ConvBwd& a, const Problem& p) {
    const Scratch memory(std::size_t(p.outputs * p.filter_size()) * size_of(p.type));
    const View dtaps = matrix(memory.as<void>(), p.type, p.outputs, p.filter_size());
    const Choice c = choose<cudnnConvolutionBwdFilterAlgoPerf_t>("a weight gradient", p, [&](int room, int* count, auto* results) {
        CUDNN_CHECK(GetConvolutionBackwardFilterAlgorithm_v7(handle(), p.x, p.y, p.conv, p.w, room, count, results));
    });
    const Scratch workspace(c.workspace);
    CUDNN_CHECK(ConvolutionBackwardFilter(handle(), &kOne, p.x, a.x.p, p.y, a.dy.p, p.conv, cudnnConvolutionBwdFilterAlgo_t(c.algorithm),
                                          workspace.as<void>(), c.workspace, &kZero, p.w, dtaps.p));
    taps_to_filters(dtaps, a.dw, int(p.inputs));
}

}  // namespace

void conv_forward(const ConvFwd& a) {
    const Problem p(a.x, a.y.cols, a.s);
    const Scratch memory(std::size_t(p.outputs * p.filter_size()) * size_of(p.type));
    const View taps = matrix(memory.as<void>(), p.type, p.outputs, p.filter_size());
    filters_to_taps(a.w, taps, int(p.inputs));
    const Choice c = choose<cudnnConvolutionFwdAlgoPerf_t>("a convolution", p, [&](int room, int* count, auto* results) {
        CUDNN_CHECK(GetConvolutionForwardAlgorithm_v7(handle(), p.x, p.w, p.conv, p.y, room, count, results));
    });
    const Result y(a.y, a.y);
    const Scratch workspace(c.workspace);
    CUDNN_CHECK(ConvolutionForward(handle(), &kOne, p.x, a.x.p, p.w, taps.p, p.conv, cudnnConvolutionFwdAlgo_t(c.algorithm),
                                   workspace.as<void>(), c.workspace, y.blend(), p.y, y.p()));
    y.finish();
}

void conv_backward(const ConvBwd& a) {
    const Problem p(a.x, a.dy.cols, a.s);
    if (a.dx.mode != Mode::skip) input_gradient(a, p);
    if (a.dw.mode != Mode::skip) weight_gradient(a, p);
}

}  // namespace eng::cuda::cudnn
