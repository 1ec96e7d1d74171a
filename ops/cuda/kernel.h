#pragma once
// What kernels share: element access, vectors, sums over a warp and a block, outputs that honour Mode, dispatch.
#include "ops/cuda/ptx.h"
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
// V elements as floats, whatever they are stored as.
template <int V, class T> __device__ __forceinline__ Vec<float, V> read(const T* p) {
    const Vec<T, V> x = *reinterpret_cast<const Vec<T, V>*>(p);
    Vec<float, V> v;
#pragma unroll
    for (int j = 0; j < V; ++j) v[j] = float(x[j]);
    return v;
}
__device__ __forceinline__ float read_one(const View& v, std::int64_t i) {
    return v.dtype == DType::f32 ? ptr<float>(v)[i] : float(ptr<bf16>(v)[i]);
}

template <class T, int V> __device__ __forceinline__ void write(T* y, bool add, Vec<float, V> v) {
    if (add) {
        const Vec<float, V> old = read<V>(y);
#pragma unroll
        for (int j = 0; j < V; ++j) v[j] += old[j];
    }
    Vec<T, V> r;
#pragma unroll
    for (int j = 0; j < V; ++j) r[j] = T(v[j]);
    *reinterpret_cast<Vec<T, V>*>(y) = r;
}
// o[i..] (+)= v. The type of an output is known at run time (parameter gradients are f32 beside bf16 activations); the
// branch goes the same way in every thread.
template <int V> __device__ __forceinline__ void emit(const Out& o, std::int64_t i, const Vec<float, V>& v) {
    if (o.mode == Mode::skip) return;
    const bool add = o.mode == Mode::accumulate;
    o.dtype == DType::f32 ? write<float, V>(ptr<float>(o) + i, add, v) : write<bf16, V>(ptr<bf16>(o) + i, add, v);
}
__device__ __forceinline__ void emit(const Out& o, std::int64_t i, float v) { emit<1>(o, i, Vec<float, 1>{{v}}); }

// Whether rows of `cols` elements in all these views can be moved as vectors of four.
inline bool in_fours(std::int64_t cols, std::initializer_list<const View*> views) {
    if (cols % 4) return false;
    for (const View* v : views)
        if (reinterpret_cast<std::uintptr_t>(v->p) % (4 * size_of(v->dtype)) ) return false;
    return true;
}

// Kernels that give a row to a warp.
constexpr int kWarps = 8;
__device__ __forceinline__ int lane() { return threadIdx.x % 32; }
__device__ __forceinline__ std::int64_t warp_row() { return std::int64_t(blockIdx.x) * kWarps + threadIdx.x / 32; }
// f(c) for the vectors of a row that this lane owns: neighbours of a warp touch neighbours in memory.
template <int V, class F> __device__ __forceinline__ void for_columns(std::int64_t cols, F&& f) {
    for (std::int64_t c = lane() * V; c < cols; c += 32 * V) f(c);
}

// Whether v is the maximum from here on: the first of equals stays, NaN wins over every number.
__device__ __forceinline__ bool beats(float v, float best) { return v > best || v != v; }

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
// The same over the four lanes that share a row of an mma's accumulators.
__device__ __forceinline__ float quad_sum(float v) {
    v += __shfl_xor_sync(kAllLanes, v, 1);
    return v + __shfl_xor_sync(kAllLanes, v, 2);
}
__device__ __forceinline__ float quad_max(float v) {
    v = fmaxf(v, __shfl_xor_sync(kAllLanes, v, 1));
    return fmaxf(v, __shfl_xor_sync(kAllLanes, v, 2));
}
// What `warp` makes of a warp's values and `fold` of the warps', over a block of Threads threads; in every thread.
template <int Threads, class Warp, class Fold> __device__ float block_fold(float v, Warp warp, Fold fold) {
    GPU_SHARED(part, float[Threads / 32]);
    v = warp(v);
    __syncthreads();  // the previous call's readers are done with part
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();  // part is complete
    v = part[0];
    for (int i = 1; i < Threads / 32; ++i) v = fold(v, part[i]);
    return v;
}
template <int Threads> __device__ float block_sum(float v) {
    return block_fold<Threads>(v, [](float x) { return warp_sum(x); }, [](float x, float y) { return x + y; });
}
template <int Threads> __device__ float block_max(float v) {
    return block_fold<Threads>(v, [](float x) { return warp_max(x); }, [](float x, float y) { return fmaxf(x, y); });
}

// The sum of v over the threads before this one, and over all, of a block of at most Most.
struct Scan { int before, all; };
template <int Most> __device__ Scan block_scan(int v) {
    GPU_SHARED(of_warp, int[Most / 32]);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int upto = v;
    for (int d = 1; d < 32; d *= 2) {
        const int other = __shfl_up_sync(kAllLanes, upto, d);
        if (lane >= d) upto += other;
    }
    if (lane == 31) of_warp[warp] = upto;
    __syncthreads();  // every warp's sum is there
    Scan s{upto - v, 0};
    for (int w = 0; w < int(blockDim.x) / 32; ++w) {
        if (w < warp) s.before += of_warp[w];
        s.all += of_warp[w];
    }
    __syncthreads();  // the sums are read: the next call overwrites them
    return s;
}

inline unsigned ceil_div(std::int64_t n, std::int64_t d) { return unsigned((n + d - 1) / d); }

inline Launch warp_per_row(std::int64_t rows) { return {ceil_div(rows, kWarps), kWarps * 32}; }

// Calls f with a value of the device type behind t.
template <class F> void dispatch(DType t, const char* where, F&& f) {
    switch (t) {
        case DType::f32: return f(float{});
        case DType::bf16: return f(bf16{});
        default: fail(where, "CUDA computes in f32 and bf16, not in ", name_of(t));
    }
}

// Calls f with the vector width as a constant.
template <class F> void dispatch_width(bool fours, F&& f) {
    fours ? f(std::integral_constant<int, 4>{}) : f(std::integral_constant<int, 1>{});
}
// Both of them.
template <class F> void dispatch(DType t, bool fours, const char* where, F&& f) {
    dispatch(t, where, [&](auto tag) { dispatch_width(fours, [&](auto v) { f(tag, v); }); });
}

}  // namespace eng::cuda
