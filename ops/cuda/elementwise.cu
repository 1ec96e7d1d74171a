// Element by element: y[i] = f(a[i], b[i]), written or added to y.
//
// Work split   a thread takes four neighbours, moved as one vector when every address allows it; else one element.
// Traffic      each operand once and y once (twice when it accumulates); 1 to 10 FLOPs an element: bound by memory.
// Numerics     arithmetic in f32 whatever the storage, one rounding at the end.
// Determinism  every element has one owner. Dropout draws number i of its Philox stream for element i, as the CPU does.
// Limits       any size; f32 and bf16, the output may have the other of the two.
#include "engine/rng.h"
#include "ops/cuda/kernel.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = 256;

// f(i, a[i], b[i]) for the formulas below; a missing operand is not read and counts as 0.
template <class T, int V, class F>
__global__ void __launch_bounds__(kThreads) map_kernel(F f, View a, View b, Out y) {
    in_turn();
    const std::int64_t n = y.numel(), i = (std::int64_t(blockIdx.x) * kThreads + threadIdx.x) * V;
    if (i + V <= n) {
        Vec<float, V> x{}, z{}, r;
        if (a.p) x = read<V>(ptr<T>(a) + i);
        if (b.p) z = read<V>(ptr<T>(b) + i);
#pragma unroll
        for (int j = 0; j < V; ++j) r[j] = f(i + j, x[j], z[j]);
        emit<V>(y, i, r);
    } else {  // the last few
        for (std::int64_t k = i; k < n; ++k)
            emit(y, k, f(k, a.p ? float(ptr<T>(a)[k]) : 0.f, b.p ? float(ptr<T>(b)[k]) : 0.f));
    }
}

template <class F> void map(const char* where, const F& f, const View& a, const View& b, const Out& y) {
    if (y.mode == Mode::skip) return;
    const bool fours = in_fours(4, {&a, &b, &y});  // seen as one long row: only the addresses matter
    dispatch(a.p ? a.dtype : y.dtype, fours, where, [&](auto tag, auto v) {
        launch<map_kernel<decltype(tag), v, F>>({ceil_div(y.numel(), kThreads * v), kThreads}, f, a, b, y);
    });
}

__device__ __forceinline__ float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }

struct Sum {
    __device__ float operator()(std::int64_t, float a, float b) const { return a + b; }
};
struct Product {
    __device__ float operator()(std::int64_t, float a, float b) const { return a * b; }
};
struct Scaled {
    float s;
    __device__ float operator()(std::int64_t, float x, float) const { return x * s; }
};
struct Constant {  // s g[0]
    View g;
    float s;
    __device__ float operator()(std::int64_t, float, float) const { return read_one(g, 0) * s; }
};
struct ExpScaled {  // exp(g[0]) x
    View g;
    __device__ float operator()(std::int64_t, float x, float) const { return x * expf(read_one(g, 0)); }
};
struct RowScaled {
    const float* s;
    std::int64_t cols;
    __device__ float operator()(std::int64_t i, float x, float) const { return s[i / cols] * x; }
};
struct Dropped {  // four neighbours share one Philox block
    float p, kept;
    std::uint64_t seed, stream;
    __device__ float operator()(std::int64_t i, float x, float) const {
        return uniform(seed, stream, std::uint64_t(i)) < p ? 0.f : x * kept;
    }
};
struct QuickGelu {
    __device__ float operator()(std::int64_t, float x, float) const { return x * sigmoid(1.702f * x); }
};
struct QuickGeluSlope {  // times dy
    __device__ float operator()(std::int64_t, float x, float dy) const {
        const float s = sigmoid(1.702f * x);
        return dy * (s + 1.702f * x * s * (1.f - s));
    }
};
struct Relu {
    __device__ float operator()(std::int64_t, float x, float) const { return x < 0.f ? 0.f : x; }  // NaN stays NaN
};
struct ReluSlope {  // times dy
    __device__ float operator()(std::int64_t, float y, float dy) const { return y > 0.f ? dy : 0.f; }
};

}  // namespace

void add(const AddArgs& a) { map("add", Sum{}, a.a, a.b, a.y); }
void mul(const MulArgs& a) { map("mul", Product{}, a.a, a.b, a.y); }
void scale(const ScaleArgs& a) { map("scale", Scaled{float(a.s)}, a.x, View{}, a.y); }
void broadcast(const BroadcastArgs& a) { map("broadcast", Constant{a.g, float(a.s)}, View{}, View{}, a.y); }
void exp_scale(const ExpScaleArgs& a) { map("exp_scale", ExpScaled{a.log_scale}, a.x, View{}, a.y); }
void row_scale(const RowScaleArgs& a) { map("row_scale", RowScaled{static_cast<const float*>(a.s.p), a.x.cols}, a.x, View{}, a.y); }
void dropout(const DropoutArgs& a) { map("dropout", Dropped{a.p, 1.f / (1.f - a.p), a.seed, a.stream}, a.x, View{}, a.y); }
void quick_gelu_forward(const QuickGeluFwd& a) { map("quick_gelu", QuickGelu{}, a.x, View{}, a.y); }
void quick_gelu_backward(const QuickGeluBwd& a) { map("quick_gelu", QuickGeluSlope{}, a.x, a.dy, a.dx); }
void relu_forward(const ReluFwd& a) { map("relu", Relu{}, a.x, View{}, a.y); }
void relu_backward(const ReluBwd& a) { map("relu", ReluSlope{}, a.y, a.dy, a.dx); }

}  // namespace eng::cuda
