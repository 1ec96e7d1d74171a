#pragma once
// What kernels share: element access, vectors, sums over a warp and a block, outputs that honour Mode, dispatch.
#include "ops/cuda/gpu.h"
#include "ops/kernels.h"

namespace eng::cuda {

using bf16 = __nv_bfloat16;  // storage; eng::bf16 is its twin on the host
constexpr unsigned kAllLanes = 0xffffffffu;

template <class T> __device__ __forceinline__ T* ptr(const View& v) { return static_cast<T*>(v.p); }
template <class T> __device__ __forceinline__ T* row(const View& v, std::int64_t r) { return ptr<T>(v) + r * v.pitch; }

// V neighbouring elements, moved by one instruction; the address must be a multiple of the whole.
template <class T, int V> struct alignas(sizeof(T) * V) Vec {
    T e[V];
    __device__ T& operator[](int i) { return e[i]; }
    __device__ const T& operator[](int i) const { return e[i]; }
};
template <int V, class T> __device__ __forceinline__ Vec<T, V> load(const T* p) { return *reinterpret_cast<const Vec<T, V>*>(p); }
template <int V, class T> __device__ __forceinline__ void store(T* p, const Vec<T, V>& v) { *reinterpret_cast<Vec<T, V>*>(p) = v; }

// o[i] (+)= v for an output whose type is known only at run time: the branch is the same in every thread.
__device__ __forceinline__ void emit(const Out& o, std::int64_t i, float v) {
    if (o.mode == Mode::skip) return;
    const bool add = o.mode == Mode::accumulate;
    if (o.dtype == DType::f32) {
        float* y = ptr<float>(o) + i;
        *y = add ? *y + v : v;
    } else {
        bf16* y = ptr<bf16>(o) + i;
        *y = bf16(add ? float(*y) + v : v);
    }
}
__device__ __forceinline__ float read(const View& v, std::int64_t i) {
    return v.dtype == DType::f32 ? ptr<float>(v)[i] : float(ptr<bf16>(v)[i]);
}

// The same sum in every lane; the order is a tree over the lanes and never changes.
__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int d = 16; d; d /= 2) v += __shfl_xor_sync(kAllLanes, v, d);
    return v;
}
__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
    for (int d = 16; d; d /= 2) v = fmaxf(v, __shfl_xor_sync(kAllLanes, v, d));
    return v;
}
// The sum over a block of Threads threads, in every thread.
template <int Threads> __device__ float block_sum(float v) {
    GPU_SHARED(part, float[Threads / 32]);
    v = warp_sum(v);
    __syncthreads();  // the previous call's readers are done with part
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();  // part is complete
    v = 0;
    for (int i = 0; i < Threads / 32; ++i) v += part[i];
    return v;
}

inline unsigned ceil_div(std::int64_t n, std::int64_t d) { return unsigned((n + d - 1) / d); }

// Calls f with a value of the device type behind t.
template <class F> void dispatch(DType t, const char* where, F&& f) {
    switch (t) {
        case DType::f32: return f(float{});
        case DType::bf16: return f(bf16{});
        default: fail(where, "CUDA computes in f32 and bf16, not in ", name_of(t));
    }
}

}  // namespace eng::cuda
