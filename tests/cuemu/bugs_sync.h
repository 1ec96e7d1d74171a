#pragma once
// Planted mistakes in block and warp synchronisation, shuffles and cp.async; each kernel with and without it.
#include <cstring>
#include <functional>
#include <map>

#include "ops/cuda/tma.h"
#include "tests/cuemu/test.h"

using namespace eng::cuda;
using std::vector;
constexpr int N = 128;  // most of these use one block of 128 threads

static vector<float> iota(size_t n, float first = 1) {
    vector<float> v(n);
    for (size_t i = 0; i < n; ++i) v[i] = first + float(i);
    return v;
}
static int compare(const vector<float>& got, const vector<float>& want) {
    for (size_t i = 0; i < want.size(); ++i)
        if (!(got[i] == want[i])) {
            printf("wrong result: element %zu is %g, expected %g\n", i, got[i], want[i]);
            return 1;
        }
    return 0;
}
// y = K(x), one block
template <auto K>
static int one_block(const vector<float>& x, const vector<float>& want, size_t smem = 0) {
    Device<float> dx(x), dy(want.size());
    launch<K>({dim3(1), dim3(N), smem}, (const float*)dx.p, dy.p);
    return compare(dy.host(), want);
}
static vector<float> reversed(vector<float> v) { return {v.rbegin(), v.rend()}; }

// ---- block and warp synchronisation ---------------------------------------------------
template <bool Bug>
__global__ void reverse_block(const float* x, float* y) {
    in_turn();
    GPU_SHARED(s, float[N]);
    s[threadIdx.x] = x[threadIdx.x];
    if (!Bug) __syncthreads();
    y[threadIdx.x] = s[N - 1 - threadIdx.x];
}

template <bool Bug>
__global__ void reduce_twice(const float* x, float* y) {  // shared array reused without a barrier
    in_turn();
    GPU_SHARED(part, float[N / 32]);
    float result[2];
    for (int r = 0; r < 2; ++r) {
        float v = x[threadIdx.x] + float(r);
        for (int d = 16; d; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
        if (!Bug) __syncthreads();
        if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
        __syncthreads();
        result[r] = part[0] + part[1] + part[2] + part[3];
    }
    y[threadIdx.x] = result[0];
    y[N + threadIdx.x] = result[1];
}

template <bool Bug>
__global__ void reverse_warp(const float* x, float* y) {
    in_turn();
    GPU_SHARED(s, float[N]);
    const int base = threadIdx.x / 32 * 32, lane = threadIdx.x % 32;
    s[threadIdx.x] = x[threadIdx.x];
    if (!Bug) __syncwarp();
    y[threadIdx.x] = s[base + 31 - lane];
}

template <bool Bug>
__global__ void early_exit(const float* x, float* y) {
    in_turn();
    GPU_SHARED(s, float[N]);
    if (Bug && threadIdx.x >= 100) return;
    if (threadIdx.x < 100) s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    if (threadIdx.x < 100) y[threadIdx.x] = s[99 - threadIdx.x];
}

template <bool Bug>
__global__ void split_barrier(const float* x, float* y) {
    in_turn();
    GPU_SHARED(s, float[N]);
    s[threadIdx.x] = x[threadIdx.x];
    if (!Bug) {
        __syncthreads();
    } else if (threadIdx.x < 64) {
        __syncthreads();
    } else {
        __syncthreads();  // works by luck on today's GPUs; the programming guide forbids it
    }
    y[threadIdx.x] = s[N - 1 - threadIdx.x];
}

template <bool Bug>
__global__ void barrier_count(const float* x, float* y) {  // two warps meet, a third was meant to
    in_turn();
    GPU_SHARED(s, float[N]);
    s[threadIdx.x] = x[threadIdx.x];
    if (threadIdx.x < 96) named_barrier_sync(1, Bug && threadIdx.x < 64 ? 64 : 96);
    y[threadIdx.x] = threadIdx.x < 96 ? s[95 - threadIdx.x] : x[threadIdx.x];
}

// ---- shuffles ---------------------------------------------------------------------------
template <bool Bug>
__global__ void shuffle_own_mask(const float* x, float* y) {
    in_turn();
    float v = x[threadIdx.x];
    if (threadIdx.x % 32 < 16) v += __shfl_xor_sync(Bug ? 0xffff0000u : 0x0000ffffu, v, 1);
    y[threadIdx.x] = v;
}
template <bool Bug>
__global__ void shuffle_missing_lane(const float* x, float* y) {
    in_turn();
    float v = x[threadIdx.x];
    if (!Bug || threadIdx.x % 32 != 31) v = __shfl_sync(0xffffffffu, v, 0);
    y[threadIdx.x] = v;
}
template <bool Bug>
__global__ void shuffle_after_exit(const float* x, float* y) {
    in_turn();
    if (Bug && threadIdx.x >= 120) return;
    float v = threadIdx.x < 120 ? x[threadIdx.x] : 0;
    for (int d = 16; d; d /= 2) v += __shfl_down_sync(0xffffffffu, v, d);
    if (threadIdx.x % 32 == 0) y[threadIdx.x / 32] = v;
}
template <bool Bug>
__global__ void shuffle_narrow_mask(const float* x, float* y) {  // reads lanes outside the mask
    in_turn();
    float v = x[threadIdx.x];
    if (threadIdx.x % 32 < 16) v = __shfl_xor_sync(0x0000ffffu, v, Bug ? 16 : 8);
    y[threadIdx.x] = v;
}

// ---- cp.async -----------------------------------------------------------------------------
enum class Cp { none, no_wait, no_barrier, refill_early, wrong_count };
template <Cp Bug>
__global__ void cp_pipeline(const float* x, float* y) {  // y[t] = sum over 8 tiles of x[tile][N-1-t]
    in_turn();
    GPU_DYN_SHARED(float, s);                            // two tiles
    const int t = threadIdx.x;
    auto fetch = [&](int tile) {
        if (t < N / 4) cp_async16(s + tile % 2 * N + 4 * t, x + tile * N + 4 * t);
        cp_async_commit();
    };
    float sum = 0;
    fetch(0);
    for (int i = 0; i < 8; ++i) {
        if (i + 1 < 8)
            fetch(i + 1);
        else
            cp_async_commit();
        if (Bug == Cp::wrong_count)
            cp_async_wait<2>();
        else if (Bug != Cp::no_wait)
            cp_async_wait<1>();
        if (Bug != Cp::no_barrier) __syncthreads();
        sum += s[i % 2 * N + N - 1 - t];
        if (Bug != Cp::refill_early) __syncthreads();
    }
    y[t] = sum;
}
template <Cp Bug>
static int cp_case() {
    auto x = iota(8 * N);
    vector<float> want(N);
    for (int t = 0; t < N; ++t)
        for (int i = 0; i < 8; ++i) want[t] += x[i * N + N - 1 - t];
    return one_block<cp_pipeline<Bug>>(x, want, 2 * N * sizeof(float));
}
