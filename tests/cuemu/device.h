// What kernel source sees when it is compiled by g++/clang++.
// CUDA names on top, emulator primitives (core.h) underneath.
#pragma once

#include <cuda_bf16.h>  // both have full host paths for storage and conversion
#include <cuda_fp16.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "cuemu/core.h"

#define GPU_SITE_ONLY ::cuemu::Site site = ::cuemu::Site::here()
#define GPU_SITE , GPU_SITE_ONLY

// ---- qualifiers -------------------------------------------------------------------
#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __shared__
#undef __launch_bounds__
#undef __grid_constant__
#undef __forceinline__
#undef __cluster_dims__
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __launch_bounds__(...)
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __cluster_dims__(...)
// A bare __shared__ would have to become `static thread_local`, which no sanitizer
// can fence and which cannot be poisoned. Use the macros below.
#define __shared__ static_assert(false, "use GPU_SHARED or GPU_DYN_SHARED");

#define GPU_SHARED(name, ...)                                      \
    static const char name##_shared_key_ = 0;                      \
    auto& name = *static_cast<std::type_identity_t<__VA_ARGS__>*>( \
        ::cuemu::static_smem(&name##_shared_key_, sizeof(__VA_ARGS__), alignof(__VA_ARGS__)))
#define GPU_DYN_SHARED(T, name) T* name = reinterpret_cast<T*>(::cuemu::self->block->dyn_smem())

#define threadIdx (::cuemu::self->thread_idx)
#define blockIdx (::cuemu::self->block_idx)
#define blockDim (::cuemu::blk->block_dim)
#define gridDim (::cuemu::blk->grid_dim)
#define warpSize 32

// ---- launch: what eng::cuda::launch in ops/cuda/gpu.h is made of ----------
namespace cuemu {
// bit_cast that also takes bfloat162, which is not trivially copyable on the host.
template <class To, class From>
To bits(const From& f) {
    static_assert(sizeof(To) == sizeof(From));
    To t;
    memcpy(static_cast<void*>(&t), &f, sizeof t);
    return t;
}

template <auto Kernel>
const char* kernel_name() {
    return __PRETTY_FUNCTION__;
}

template <auto Kernel>
struct Invoke;  // kernel parameters are copied per launch and passed by value per thread
template <class... Params, void (*Kernel)(Params...)>
struct Invoke<Kernel> {
    std::tuple<std::remove_const_t<Params>...> args;
    static void call(void* p) { std::apply(Kernel, static_cast<Invoke*>(p)->args); }
};
}  // namespace cuemu

// ---- block and warp synchronisation ----------------------------------------------
inline void __syncthreads(GPU_SITE_ONLY) { cuemu::bar_sync(0, 0, site, "__syncthreads"); }
inline int __syncthreads_count(int p GPU_SITE) { return cuemu::bar_reduce(p != 0, site); }
inline void __threadfence() { cuemu::threadfence(); }
inline void __threadfence_block() { cuemu::threadfence(); }
inline void __nanosleep(unsigned) { cuemu::yield(); }
inline void __trap() { cuemu::fault("__trap()"); }
#undef assert
#define assert(e) ((e) ? void() : ::cuemu::fault("assert(%s) at %s:%d", #e, __FILE__, __LINE__))

namespace cuemu {
void finish_syncwarp(void* const*, unsigned mask);  // orders memory; the other warp ops do not

enum class Shfl { idx, up, down, xor_ };
template <class T>
struct ShflLane {
    T in, out;
    int arg, width;
};
void shfl_sources(const int* arg, const int* width, Shfl kind, unsigned mask, int* source);

template <class T, Shfl K>
void finish_shfl(void* const* p, unsigned mask) {
    int arg[kWarp], width[kWarp], source[kWarp];
    for (unsigned l = 0; l < kWarp; ++l)
        if (mask >> l & 1) arg[l] = ((ShflLane<T>*)p[l])->arg, width[l] = ((ShflLane<T>*)p[l])->width;
    shfl_sources(arg, width, K, mask, source);
    for (unsigned l = 0; l < kWarp; ++l)
        if (mask >> l & 1) ((ShflLane<T>*)p[l])->out = ((ShflLane<T>*)p[source[l]])->in;
}
template <class T, Shfl K>
T shfl(const char* name, unsigned mask, T v, int arg, int width, Site at) {
    static_assert(sizeof(T) <= 8);
    ShflLane<T> lane{v, v, arg, width};
    warp_op(name, mask, &lane, finish_shfl<T, K>, at);
    return lane.out;
}

template <class T>
struct ReduceLane {
    T in, out;
};
template <class T, class Op>
void finish_reduce(void* const* p, unsigned mask) {
    bool first = true;
    T acc{};
    for (unsigned l = 0; l < kWarp; ++l)
        if (mask >> l & 1) {
            T v = ((ReduceLane<T>*)p[l])->in;
            acc = first ? v : Op{}(acc, v);
            first = false;
        }
    for (unsigned l = 0; l < kWarp; ++l)
        if (mask >> l & 1) ((ReduceLane<T>*)p[l])->out = acc;
}
template <class Op, class T>
T reduce(const char* name, unsigned mask, T v, Site at) {
    ReduceLane<T> lane{v, v};
    warp_op(name, mask, &lane, finish_reduce<T, Op>, at);
    return lane.out;
}
struct Ballot {
    unsigned pred, out;
};
void finish_ballot(void* const* p, unsigned mask);
inline unsigned ballot(const char* name, unsigned mask, bool pred, Site at) {
    Ballot lane{pred, 0};
    warp_op(name, mask, &lane, finish_ballot, at);
    return lane.out;
}
struct Add {
    template <class T>
    T operator()(T a, T b) const {
        return a + b;
    }
};
struct Min {
    template <class T>
    T operator()(T a, T b) const {
        return a < b ? a : b;
    }
};
struct Max {
    template <class T>
    T operator()(T a, T b) const {
        return a < b ? b : a;
    }
};
struct Or {
    template <class T>
    T operator()(T a, T b) const {
        return a | b;
    }
};
}  // namespace cuemu

inline void __syncwarp(unsigned mask = 0xffffffffu GPU_SITE) {
    cuemu::warp_op("__syncwarp", mask, nullptr, cuemu::finish_syncwarp, site);
}
template <class T>
T __shfl_sync(unsigned m, T v, int src, int w = 32 GPU_SITE) {
    return cuemu::shfl<T, cuemu::Shfl::idx>("__shfl_sync", m, v, src, w, site);
}
template <class T>
T __shfl_up_sync(unsigned m, T v, unsigned d, int w = 32 GPU_SITE) {
    return cuemu::shfl<T, cuemu::Shfl::up>("__shfl_up_sync", m, v, int(d), w, site);
}
template <class T>
T __shfl_down_sync(unsigned m, T v, unsigned d, int w = 32 GPU_SITE) {
    return cuemu::shfl<T, cuemu::Shfl::down>("__shfl_down_sync", m, v, int(d), w, site);
}
template <class T>
T __shfl_xor_sync(unsigned m, T v, int x, int w = 32 GPU_SITE) {
    return cuemu::shfl<T, cuemu::Shfl::xor_>("__shfl_xor_sync", m, v, x, w, site);
}
inline unsigned __ballot_sync(unsigned m, int p GPU_SITE) { return cuemu::ballot("__ballot_sync", m, p, site); }
inline int __any_sync(unsigned m, int p GPU_SITE) { return cuemu::ballot("__any_sync", m, p, site) != 0; }
inline int __all_sync(unsigned m, int p GPU_SITE) { return cuemu::ballot("__all_sync", m, !p, site) == 0; }
template <class T>
T __reduce_add_sync(unsigned m, T v GPU_SITE) {
    return cuemu::reduce<cuemu::Add>("__reduce_add_sync", m, v, site);
}
template <class T>
T __reduce_min_sync(unsigned m, T v GPU_SITE) {
    return cuemu::reduce<cuemu::Min>("__reduce_min_sync", m, v, site);
}
template <class T>
T __reduce_max_sync(unsigned m, T v GPU_SITE) {
    return cuemu::reduce<cuemu::Max>("__reduce_max_sync", m, v, site);
}
inline unsigned __reduce_or_sync(unsigned m, unsigned v GPU_SITE) {
    return cuemu::reduce<cuemu::Or>("__reduce_or_sync", m, v, site);
}

// ---- atomics (instantiated in core.cpp for the types CUDA has) ----------------------
namespace cuemu {
template <class T>
T atomic_add(T* p, T v);
template <class T>
T atomic_exch(T* p, T v);
template <class T>
T atomic_cas(T* p, T expect, T v);
template <class T>
using Same = std::type_identity_t<T>;
}  // namespace cuemu
template <class T>
T atomicAdd(T* p, cuemu::Same<T> v) {
    return cuemu::atomic_add<T>(p, v);
}
template <class T>
T atomicExch(T* p, cuemu::Same<T> v) {
    return cuemu::atomic_exch<T>(p, v);
}
template <class T>
T atomicCAS(T* p, cuemu::Same<T> e, cuemu::Same<T> v) {
    return cuemu::atomic_cas<T>(p, e, v);
}

// ---- arithmetic intrinsics ----------------------------------------------------------
namespace cuemu {
// x rounded to so many significant bits: what an approximate instruction may give.
inline float to_bits(float x, int significant) {
    const unsigned half = 1u << (23 - significant);
    return bits<float>((bits<unsigned>(x) + half) & ~(2 * half - 1));
}
}  // namespace cuemu
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
// A function's struct result that goes straight to memory is a store g++ does not announce to the access checker.
#define __float2bfloat16(x) __nv_bfloat16(x)
inline float __fdividef(float a, float b) { return a / b; }
inline unsigned __float_as_uint(float f) { return cuemu::bits<unsigned>(f); }
inline float __int_as_float(int i) { return cuemu::bits<float>(i); }
inline float __uint_as_float(unsigned i) { return cuemu::bits<float>(i); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a < b ? b : a; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
