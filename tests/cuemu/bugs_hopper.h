#pragma once
// Planted mistakes in TMA, mbarrier and wgmma.
#include "ops/cuda/wgmma.h"
#include "tests/cuemu/bugs_sync.h"

// ---- TMA, mbarrier, wgmma: a small 64x128xK product with a two-stage ring ----------------------
enum class Hop {
    none,
    wrong_parity,
    no_full_wait,
    no_empty_wait,
    wrong_bytes,
    no_init_sync,
    released_early,
    no_wgmma_wait,
    no_wgmma_fence
};
struct __align__(1024) HopStage {
    bf16 a[64 * 64], w[128 * 64];
};
struct HopSmem {
    HopStage stage[2];
    uint64_t full[2], empty[2];
};

// acc [64,128] (+)= a wT of one stage, of a warpgroup's thread; and where its numbers go.
__device__ inline void multiply(float (&acc)[64], HopStage& st, bool accumulate) {
    for (int kk = 0; kk < 64; kk += 16)
        wgmma_bf16<128, Major::k, Major::k>(acc, wgmma_desc(st.a + kk), wgmma_desc(st.w + kk), accumulate || kk);
    wgmma_commit();
}
__device__ inline void store(const float (&acc)[64], float* c, int t) {
    for (int i = 0; i < 64; ++i)
        c[(t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8) * 128 + i / 4 * 8 + t % 4 * 2 + i % 2] = acc[i];
}

template <Hop Bug>
__global__ __launch_bounds__(256, 1) void hopper(const __grid_constant__ TensorMap map_a,
                                                 const __grid_constant__ TensorMap map_w, float* c, int k) {
    in_turn();
    GPU_DYN_SHARED(HopSmem, s);
    const int steps = k / 64, t = threadIdx.x % 128;
    if (threadIdx.x == 0) {
        for (int i = 0; i < 2; ++i) mbar_init(&s->full[i], 1), mbar_init(&s->empty[i], 128);
        fence_mbar_init();
    }
    if (Bug != Hop::no_init_sync) __syncthreads();
    if (threadIdx.x < 128) {
        if (t == 0)
            for (int i = 0; i < steps; ++i) {
                HopStage& st = s->stage[i % 2];
                uint64_t* full = &s->full[i % 2];
                if (Bug != Hop::no_empty_wait) mbar_wait(&s->empty[i % 2], (i / 2 + 1) % 2);
                mbar_arrive_expect_tx(full, sizeof(HopStage) + (Bug == Hop::wrong_bytes ? 16 : 0));
                tma_load_2d(st.a, map_a, full, i * 64, 0);
                tma_load_2d(st.w, map_w, full, i * 64, 0);
            }
    } else {
        float acc[64];
        for (int i = 0; i < steps; ++i) {
            HopStage& st = s->stage[i % 2];
            if (Bug == Hop::wrong_parity)
                mbar_wait(&s->full[i % 2], (i / 2 + 1) % 2);
            else if (Bug != Hop::no_full_wait)
                mbar_wait(&s->full[i % 2], i / 2 % 2);
            if (Bug != Hop::no_wgmma_fence) wgmma_fence();
            multiply(acc, st, i > 0);
            if (Bug == Hop::released_early) mbar_arrive(&s->empty[i % 2]);
            if (Bug != Hop::no_wgmma_wait || i + 1 < steps) wgmma_wait<0>();
            if (Bug != Hop::released_early) mbar_arrive(&s->empty[i % 2]);
        }
        store(acc, c, t);
        if (Bug == Hop::no_wgmma_wait) wgmma_wait<0>();
    }
}
static vector<bf16> small_ints(size_t n, int seed) {
    vector<bf16> v(n);
    for (size_t i = 0; i < n; ++i) v[i] = __float2bfloat16(float(int(i * 7 + i / 64 * 5 + seed) % 13 - 6));
    return v;
}
static vector<float> product(const vector<bf16>& a, const vector<bf16>& w, int m, int n, int k) {
    vector<float> c(size_t(m) * n);
    for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j)
            for (int q = 0; q < k; ++q)
                c[size_t(i) * n + j] += __bfloat162float(a[size_t(i) * k + q]) * __bfloat162float(w[size_t(j) * k + q]);
    return c;
}
template <auto Kernel>
static int product_case(int blocks) {  // a cluster of them; each loads its share of w
    const int m = 64 * blocks, k = 384;
    auto a = small_ints(m * k, 1), w = small_ints(128 * k, 2);
    Device<bf16> da(a), dw(w);
    Device<float> dc(m * 128);
    launch<Kernel>({dim3(blocks), dim3(256), sizeof(HopSmem), unsigned(blocks)}, make_tensor_map_bf16(da, m, k, 64, 64),
                   make_tensor_map_bf16(dw, 128, k, 128 / blocks, 64), dc.p, k);
    return compare(dc.host(), product(a, w, m, 128, k));
}
template <Hop Bug>
static int hopper_case() { return product_case<hopper<Bug>>(1); }

// ---- clusters: two blocks, each of which brings half of w for both ---------------------------------
enum class Pair { none, no_first_sync, no_last_sync, peer_not_told, own_bytes_only };

template <Pair Bug>
__global__ __launch_bounds__(256, 1) void paired(const __grid_constant__ TensorMap map_a,
                                                 const __grid_constant__ TensorMap map_w, float* c, int k) {
    in_turn();
    GPU_DYN_SHARED(HopSmem, s);
    const int steps = k / 64, t = threadIdx.x % 128, rank = cluster_rank();
    const bool tell = Bug != Pair::peer_not_told;
    if (threadIdx.x == 0) {
        for (int i = 0; i < 2; ++i) mbar_init(&s->full[i], 1), mbar_init(&s->empty[i], tell ? 8 : 4);
        fence_mbar_init();
    }
    if (Bug == Pair::no_first_sync) __syncthreads();
    else cluster_sync();
    if (threadIdx.x < 128) {
        if (t == 0)
            for (int i = 0; i < steps; ++i) {
                HopStage& st = s->stage[i % 2];
                uint64_t* full = &s->full[i % 2];
                mbar_wait(&s->empty[i % 2], (i / 2 + 1) % 2);
                mbar_arrive_expect_tx(full, sizeof(HopStage) - (Bug == Pair::own_bytes_only ? 64 * 128 : 0));
                tma_load_2d(st.a, map_a, full, i * 64, rank * 64);
                tma_load_2d_multicast(st.w + rank * 64 * 64, map_w, full, i * 64, rank * 64, 3);
            }
    } else {
        float acc[64];
        for (int i = 0; i < steps; ++i) {
            HopStage& st = s->stage[i % 2];
            mbar_wait(&s->full[i % 2], i / 2 % 2);
            wgmma_fence();
            multiply(acc, st, i > 0);
            wgmma_wait<0>();
            if (!tell && t % 32 == 0) mbar_arrive(&s->empty[i % 2]);
            if (tell && t % 32 < 2) mbar_arrive_at(&s->empty[i % 2], t % 32);
        }
        store(acc, c + rank * 64 * 128, t);
    }
    if (Bug != Pair::no_last_sync) cluster_sync();
}
template <Pair Bug>
static int pair_case() { return product_case<paired<Bug>>(2); }

// wgmma operands written by ordinary stores: they need the swizzle and the proxy fence
enum class Fill { none, no_proxy_fence, no_swizzle };
template <Fill Bug>
__global__ __launch_bounds__(128, 1) void wgmma_filled(const bf16* a, const bf16* w, float* c) {
    in_turn();
    GPU_DYN_SHARED(HopStage, s);
    auto fill = [&](bf16* dst, const bf16* src, int rows) {
        for (int i = threadIdx.x; i < rows * 8; i += 128) {
            const int r = i / 8, q = i % 8;
            reinterpret_cast<uint4*>(dst)[r * 8 + (Bug == Fill::no_swizzle ? q : q ^ r % 8)] =
                reinterpret_cast<const uint4*>(src)[i];
        }
    };
    fill(s->a, a, 64);
    fill(s->w, w, 128);
    if (Bug != Fill::no_proxy_fence) fence_proxy_async();
    __syncthreads();
    float acc[64];
    wgmma_fence();
    multiply(acc, *s, false);
    wgmma_wait<0>();
    store(acc, c, threadIdx.x);
}
template <Fill Bug>
static int filled_case() {
    auto a = small_ints(64 * 64, 3), w = small_ints(128 * 64, 4);
    Device<bf16> da(a), dw(w);
    Device<float> dc(64 * 128);
    launch<wgmma_filled<Bug>>({dim3(1), dim3(128), sizeof(HopStage)}, da.p, dw.p, dc.p);
    return compare(dc.host(), product(a, w, 64, 128, 64));
}
