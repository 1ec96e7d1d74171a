// AdamW over the flat buffers (Loshchilov & Hutter, "Decoupled weight decay regularization", 2019), in one pass:
//
//   g = scale grad
//   m = b1 m + (1-b1) g    v = b2 v + (1-b2) g^2    w = (1 - lr decay) w - lr m^ / (sqrt(v^) + eps)    bf16 copy of w
//
// or Adam with L2 (Kingma & Ba 2015), where g = scale grad + decay w, and w does not shrink apart from that.
//
// Work split   a thread per four neighbours; it finds their segment (a parameter with its own rate and decay) by bisection
//              in `ends`, which stays in L1. Segments of the real buffers end at multiples of 128, so a vector of four
//              lies in one; the last elements of a segment that does not are taken one by one.
// Traffic      reads w, g, m, v and writes w, m, v and the copy: 30 bytes an element, 17 FLOPs: bound by memory. The gradient stays: the
//              next step's first contribution overwrites it.
// Numerics     f32 masters and moments, the copy is rounded to nearest.
// Determinism  one owner per element.
// Limits       fewer than 2^31 elements (`ends` is i32); copy bf16, or the master itself.
#include "ops/cuda/kernel.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = 256;

__device__ int segment_of(const View& ends, std::int64_t i) {  // the first s with i < ends[s]
    int low = 0, high = int(ends.numel()) - 1;
    while (low < high) {
        const int mid = (low + high) / 2;
        if (i < ptr<std::int32_t>(ends)[mid]) high = mid;
        else low = mid + 1;
    }
    return low;
}

template <int V> __device__ void update(const AdamWArgs& a, std::int64_t i, int s) {  // in segment s
    const float* scalar = ptr<float>(a.scalars);
    const float lr = ptr<float>(a.lr)[s], decay = ptr<float>(a.decay)[s];
    const float pull = a.l2 ? decay : 0.f, keep = a.l2 ? 1.f : 1.f - lr * decay;
    Vec<float, V> w = read<V>(ptr<float>(a.master) + i), m = read<V>(ptr<float>(a.m) + i), v = read<V>(ptr<float>(a.v) + i);
    const Vec<float, V> g = read<V>(ptr<float>(a.grad) + i);
#pragma unroll
    for (int j = 0; j < V; ++j) {
        const float d = g[j] * scalar[0] + pull * w[j];
        m[j] = a.beta1 * m[j] + (1.f - a.beta1) * d;
        v[j] = a.beta2 * v[j] + (1.f - a.beta2) * d * d;
        w[j] = keep * w[j] - lr * (m[j] * scalar[1]) / (sqrtf(v[j] * scalar[2]) + a.eps);
    }
    write(ptr<float>(a.master) + i, false, w);
    write(ptr<float>(a.m) + i, false, m);
    write(ptr<float>(a.v) + i, false, v);
    if (a.compute.dtype == DType::bf16) write(ptr<bf16>(a.compute) + i, false, w);
}

__global__ void __launch_bounds__(kThreads) adamw_kernel(AdamWArgs a) {
    in_turn();
    const std::int64_t n = a.master.numel(), i = (std::int64_t(blockIdx.x) * kThreads + threadIdx.x) * 4;
    if (i >= n) return;
    const int s = segment_of(a.ends, i);
    if (i + 4 <= n && i + 4 <= ptr<std::int32_t>(a.ends)[s]) return update<4>(a, i, s);
    for (std::int64_t k = i; k < n && k < i + 4; ++k) update<1>(a, k, segment_of(a.ends, k));
}

// What gradients are multiplied by, so that their norm stays below a limit: the norm never leaves the device.
__global__ void clip_scale_kernel(ClipScaleArgs a) {
    in_turn();
    const float most = float(a.limit) / sqrtf(ptr<float>(a.sum_of_squares)[0]);
    if (most < ptr<float>(a.scale)[0]) ptr<float>(a.scale)[0] = most;
}

}  // namespace

void clip_scale(const ClipScaleArgs& a) {
    ENG_CHECK(a.scale.dtype == DType::f32, "clip_scale", "CUDA keeps gradients in f32, not in ", name_of(a.scale.dtype));
    launch<clip_scale_kernel>({1, 1}, a);
}
void adamw(const AdamWArgs& a) {
    ENG_CHECK(a.master.dtype == DType::f32, "adamw", "CUDA keeps masters in f32, not in ", name_of(a.master.dtype));
    launch<adamw_kernel>({ceil_div(a.master.numel(), kThreads * 4), kThreads}, a);
}

}  // namespace eng::cuda
