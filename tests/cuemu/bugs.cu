// kernels with one planted mistake each, and the same kernels without it.
//   bugs NAME          exit 0: nothing noticed   1: wrong result   2: fault reported
//   bugs NAME fixed    the correct version; must exit 0 in every build
// run_bugs.py runs them all and prints who notices what.
#include <cstring>
#include <functional>
#include <map>

#include "ops/cuda/tma.h"
#include "ops/cuda/wgmma.h"
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
    GPU_SHARED(s, float[N]);
    s[threadIdx.x] = x[threadIdx.x];
    if (!Bug) __syncthreads();
    y[threadIdx.x] = s[N - 1 - threadIdx.x];
}

template <bool Bug>
__global__ void reduce_twice(const float* x, float* y) {  // shared array reused without a barrier
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
    GPU_SHARED(s, float[N]);
    const int base = threadIdx.x / 32 * 32, lane = threadIdx.x % 32;
    s[threadIdx.x] = x[threadIdx.x];
    if (!Bug) __syncwarp();
    y[threadIdx.x] = s[base + 31 - lane];
}

template <bool Bug>
__global__ void early_exit(const float* x, float* y) {
    GPU_SHARED(s, float[N]);
    if (Bug && threadIdx.x >= 100) return;
    if (threadIdx.x < 100) s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    if (threadIdx.x < 100) y[threadIdx.x] = s[99 - threadIdx.x];
}

template <bool Bug>
__global__ void split_barrier(const float* x, float* y) {
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
    GPU_SHARED(s, float[N]);
    s[threadIdx.x] = x[threadIdx.x];
    if (threadIdx.x < 96) named_barrier_sync(1, Bug && threadIdx.x < 64 ? 64 : 96);
    y[threadIdx.x] = threadIdx.x < 96 ? s[95 - threadIdx.x] : x[threadIdx.x];
}

// ---- shuffles ---------------------------------------------------------------------------
template <bool Bug>
__global__ void shuffle_own_mask(const float* x, float* y) {
    float v = x[threadIdx.x];
    if (threadIdx.x % 32 < 16) v += __shfl_xor_sync(Bug ? 0xffff0000u : 0x0000ffffu, v, 1);
    y[threadIdx.x] = v;
}
template <bool Bug>
__global__ void shuffle_missing_lane(const float* x, float* y) {
    float v = x[threadIdx.x];
    if (!Bug || threadIdx.x % 32 != 31) v = __shfl_sync(0xffffffffu, v, 0);
    y[threadIdx.x] = v;
}
template <bool Bug>
__global__ void shuffle_after_exit(const float* x, float* y) {
    if (Bug && threadIdx.x >= 120) return;
    float v = threadIdx.x < 120 ? x[threadIdx.x] : 0;
    for (int d = 16; d; d /= 2) v += __shfl_down_sync(0xffffffffu, v, d);
    if (threadIdx.x % 32 == 0) y[threadIdx.x / 32] = v;
}
template <bool Bug>
__global__ void shuffle_narrow_mask(const float* x, float* y) {  // reads lanes outside the mask
    float v = x[threadIdx.x];
    if (threadIdx.x % 32 < 16) v = __shfl_xor_sync(0x0000ffffu, v, Bug ? 16 : 8);
    y[threadIdx.x] = v;
}

// ---- cp.async -----------------------------------------------------------------------------
enum class Cp { none, no_wait, no_barrier, refill_early, wrong_count };
template <Cp Bug>
__global__ void cp_pipeline(const float* x, float* y) {  // y[t] = sum over 8 tiles of x[tile][N-1-t]
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

// ---- memory --------------------------------------------------------------------------------
template <bool Bug>
__global__ void oob_write(const float* x, float* y, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (Bug ? i <= n : i < n) y[i] = i < n ? x[i] : 0;
}
template <bool Bug>
__global__ void oob_read(const float* x, float* y, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] + ((Bug || i + 1 < n) && x[i + 1] > 1e30f ? 1 : 0);
}
template <bool Bug, bool Write>
static int oob() {
    const int n = 100;
    auto x = iota(n);
    Device<float> dx(x), dy(n);
    if (Write)
        launch<oob_write<Bug>>({dim3(1), dim3(N)}, dx.p, dy.p, n);
    else
        launch<oob_read<Bug>>({dim3(1), dim3(N)}, dx.p, dy.p, n);
    return compare(dy.host(), x);
}
template <bool Bug>
__global__ void oob_shared_dynamic(const float* x, float* y) {
    GPU_DYN_SHARED(float, s);
    s[threadIdx.x + (Bug ? 1 : 0)] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x + (Bug ? 1 : 0)];
}
template <bool Bug>
__global__ void oob_shared_static(const float* x, float* y) {
    GPU_SHARED(s, float[N]);
    float* p = s;  // through a pointer, so that the array's type does not give it away
    p[threadIdx.x + (Bug ? 1 : 0)] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = p[threadIdx.x + (Bug ? 1 : 0)];
}
template <bool Bug>
__global__ void oob_inner_dimension(const float* x, float* y) {  // inside the array, beyond the row
    GPU_SHARED(s, float[N][4]);
    for (int i = 0; i < 4; ++i) s[threadIdx.x][i] = x[threadIdx.x];
    __syncthreads();
    float v = 0;
    for (int i = 0; i < (Bug ? 5 : 4); ++i) v += threadIdx.x * 4 + i < N * 4 ? s[threadIdx.x][i] : 0;
    y[threadIdx.x] = v;
}
template <bool Bug>
__global__ void uninit_shared(const float* x, float* y) {  // the tail of the tile is not zeroed
    GPU_SHARED(s, float[N]);
    if (threadIdx.x < 100)
        s[threadIdx.x] = x[threadIdx.x];
    else if (!Bug)
        s[threadIdx.x] = 0;
    __syncthreads();
    float v = 0;
    for (int i = 0; i < N; ++i) v += s[i];
    y[threadIdx.x] = v;
}
template <bool Bug>
__global__ void uninit_global(const float* x, float* y) {
    if (!Bug) y[threadIdx.x] = 0;
    y[threadIdx.x] += x[threadIdx.x];
}
template <bool Bug>
__global__ void misaligned_vector(const float* x, float* y) {
    const int i = threadIdx.x;
    if (i >= N / 4) return;
    const float4 v = *reinterpret_cast<const float4*>(x + 4 * i + (Bug ? 1 : 0));
    y[4 * i] = v.x, y[4 * i + 1] = v.y, y[4 * i + 2] = v.z, y[4 * i + 3] = v.w;
}
template <bool Bug>
__global__ void int_overflow(const float* x, float* y, int big) {
    const int i = Bug ? (int(threadIdx.x) * big) / big : int(threadIdx.x);
    if (i >= 0) y[i] = x[i];
}
__global__ void copy(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }
template <bool Bug>
static int host_pointer() {
    auto x = iota(N);
    Device<float> dx(x), dy(N);
    launch<copy>({dim3(1), dim3(N)}, Bug ? x.data() : dx.p, dy.p);
    return compare(dy.host(), x);
}
template <bool Bug>
static int host_reads_device() {
    auto x = iota(N);
    Device<float> dx(x), dy(N);
    launch<copy>({dim3(1), dim3(N)}, (const float*)dx.p, dy.p);
    if (Bug) return dy.p[5] == x[5] ? 0 : 1;
    return compare(dy.host(), x);
}
template <bool Bug>
static int use_after_free() {
    auto x = iota(N);
    Device<float> dy(N);
    float* p = nullptr;
    cudaMalloc((void**)&p, N * sizeof(float));
    cudaMemcpy(p, x.data(), N * sizeof(float), cudaMemcpyHostToDevice);
    if (Bug) cudaFree(p);
    launch<copy>({dim3(1), dim3(N)}, p, dy.p);
    if (!Bug) cudaFree(p);
    return compare(dy.host(), x);
}

// ---- races whose result depends on the schedule ----------------------------------------------
template <bool Bug>
__global__ void race_order(const float* x, float* y) {  // Bug: whoever comes last wins
    GPU_SHARED(s, float);
    if (threadIdx.x == 0) s = 0;
    __syncthreads();
    if (Bug) {
        if (x[threadIdx.x] > s) s = x[threadIdx.x] * 0.5f + s * 0.5f;  // read, then write, unsynchronised
    } else {
        atomicAdd(&s, 1.0f);
    }
    __syncthreads();
    y[threadIdx.x] = s;
}
template <bool Bug>
__global__ void race_grid(const float* x, float* y) {
    if (threadIdx.x == 0) {
        if (Bug)
            y[0] += x[blockIdx.x];
        else
            atomicAdd(y, x[blockIdx.x]);
    }
}
template <bool Bug>
static int race_grid_case() {
    auto x = iota(64);
    Device<float> dx(x), dy(vector<float>{0});
    launch<race_grid<Bug>>({dim3(64), dim3(32)}, dx.p, dy.p);
    return compare(dy.host(), {64 * 65 / 2});
}
template <bool Bug>
__global__ void last_block(const float* x, float* part, unsigned* arrived, float* y) {
    GPU_SHARED(last, bool);
    if (threadIdx.x == 0) {
        part[blockIdx.x] = x[blockIdx.x];
        if (!Bug) __threadfence();
        last = atomicAdd(arrived, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        float v = 0;
        for (unsigned i = 0; i < gridDim.x; ++i) v += part[i];
        *y = v;
    }
}
template <bool Bug>
static int last_block_case() {
    auto x = iota(64);
    Device<float> dx(x), part(64), dy(1);
    Device<unsigned> arrived(vector<unsigned>{0});
    launch<last_block<Bug>>({dim3(64), dim3(32)}, dx.p, part.p, arrived.p, dy.p);
    return compare(dy.host(), {64 * 65 / 2});
}

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

template <Hop Bug>
__global__ __launch_bounds__(256, 1) void hopper(const __grid_constant__ TensorMap map_a,
                                                 const __grid_constant__ TensorMap map_w, float* c, int k) {
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
            for (int kk = 0; kk < 64; kk += 16)
                wgmma_bf16<128, Major::k, Major::k>(acc, wgmma_desc(st.a + kk), wgmma_desc(st.w + kk), i + kk > 0);
            wgmma_commit();
            if (Bug == Hop::released_early) mbar_arrive(&s->empty[i % 2]);
            if (Bug != Hop::no_wgmma_wait || i + 1 < steps) wgmma_wait<0>();
            if (Bug != Hop::released_early) mbar_arrive(&s->empty[i % 2]);
        }
        for (int i = 0; i < 64; ++i)
            c[(t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8) * 128 + i / 4 * 8 + t % 4 * 2 + i % 2] = acc[i];
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
template <Hop Bug>
static int hopper_case() {
    const int k = 384;
    auto a = small_ints(64 * k, 1), w = small_ints(128 * k, 2);
    Device<bf16> da(a), dw(w);
    Device<float> dc(64 * 128);
    launch<hopper<Bug>>({dim3(1), dim3(256), sizeof(HopSmem)}, make_tensor_map_bf16(da, 64, k, 64, 64),
                        make_tensor_map_bf16(dw, 128, k, 128, 64), dc.p, k);
    return compare(dc.host(), product(a, w, 64, 128, k));
}

// wgmma operands written by ordinary stores: they need the swizzle and the proxy fence
enum class Fill { none, no_proxy_fence, no_swizzle };
template <Fill Bug>
__global__ __launch_bounds__(128, 1) void wgmma_filled(const bf16* a, const bf16* w, float* c) {
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
    for (int kk = 0; kk < 64; kk += 16)
        wgmma_bf16<128, Major::k, Major::k>(acc, wgmma_desc(s->a + kk), wgmma_desc(s->w + kk), kk > 0);
    wgmma_commit();
    wgmma_wait<0>();
    const int t = threadIdx.x;
    for (int i = 0; i < 64; ++i)
        c[(t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8) * 128 + i / 4 * 8 + t % 4 * 2 + i % 2] = acc[i];
}
template <Fill Bug>
static int filled_case() {
    auto a = small_ints(64 * 64, 3), w = small_ints(128 * 64, 4);
    Device<bf16> da(a), dw(w);
    Device<float> dc(64 * 128);
    launch<wgmma_filled<Bug>>({dim3(1), dim3(128), sizeof(HopStage)}, da.p, dw.p, dc.p);
    return compare(dc.host(), product(a, w, 64, 128, 64));
}

// ---- the list --------------------------------------------------------------------------------
struct Case {
    std::function<int()> bug, fixed;
};
#define ONE(k, x, want)                                                                         \
    {                                                                                           \
        [] { return one_block<k<true>>(x, want); }, [] { return one_block<k<false>>(x, want); } \
    }
#define CP(b) \
    { cp_case<Cp::b>, cp_case<Cp::none> }
#define HOP(b) \
    { hopper_case<Hop::b>, hopper_case<Hop::none> }

static vector<float> twice() {
    vector<float> v(2 * N, N * (N + 1) / 2);
    for (int i = 0; i < N; ++i) v[N + i] += N;
    return v;
}
static vector<float> warps(const vector<float>& x) {
    vector<float> v(N);
    for (int i = 0; i < N; ++i) v[i] = x[i / 32 * 32 + 31 - i % 32];
    return v;
}
static vector<float> xored(vector<float> v, int x, bool add) {
    auto r = v;
    for (int i = 0; i < N; ++i)
        if (i % 32 < 16) r[i] = v[i ^ x] + (add ? v[i] : 0);
    return r;
}
static vector<float> lane0() {
    vector<float> v(N);
    for (int i = 0; i < N; ++i) v[i] = float(i / 32 * 32 + 1);
    return v;
}
static vector<float> first96() {
    auto v = iota(N);
    std::reverse(v.begin(), v.begin() + 96);
    return v;
}

int main(int argc, char** argv) {
    const std::vector<std::pair<std::string, Case>> cases = {
        {"missing_syncthreads", ONE(reverse_block, iota(N), reversed(iota(N)))},
        {"missing_sync_on_reuse", ONE(reduce_twice, iota(N), twice())},
        {"missing_syncwarp", ONE(reverse_warp, iota(N), warps(iota(N)))},
        {"exit_before_barrier", ONE(early_exit, iota(N), reversed(iota(100)))},
        {"split_barrier", ONE(split_barrier, iota(N), reversed(iota(N)))},
        {"named_barrier_count", ONE(barrier_count, iota(N), first96())},
        {"shuffle_own_mask", ONE(shuffle_own_mask, iota(N), xored(iota(N), 1, true))},
        {"shuffle_missing_lane", ONE(shuffle_missing_lane, iota(N), lane0())},
        {"shuffle_after_exit", ONE(shuffle_after_exit, iota(N), (vector<float>{528, 1552, 2576, 2604}))},
        {"shuffle_reads_unmasked", ONE(shuffle_narrow_mask, iota(N), xored(iota(N), 8, false))},
        {"cp_async_no_wait", CP(no_wait)},
        {"cp_async_wait_count", CP(wrong_count)},
        {"cp_async_no_barrier", CP(no_barrier)},
        {"cp_async_refill_early", CP(refill_early)},
        {"oob_global_write", {oob<true, true>, oob<false, true>}},
        {"oob_global_read", {oob<true, false>, oob<false, false>}},
        {"oob_shared_dynamic",
         {[] { return one_block<oob_shared_dynamic<true>>(iota(N), iota(N), N * 4); },
          [] { return one_block<oob_shared_dynamic<false>>(iota(N), iota(N), N * 4); }}},
        {"oob_shared_static", ONE(oob_shared_static, iota(N), iota(N))},
        {"oob_inner_dimension", ONE(oob_inner_dimension, vector<float>(N, 0), vector<float>(N, 0))},
        {"uninit_shared", ONE(uninit_shared, iota(N), vector<float>(N, 5050))},
        {"uninit_global", ONE(uninit_global, iota(N), iota(N))},
        {"misaligned_float4",
         {[] { return one_block<misaligned_vector<true>>(iota(N + 4), iota(N, 2)); },
          [] { return one_block<misaligned_vector<false>>(iota(N + 4), iota(N)); }}},
        {"int_overflow",
         {[] {
              auto x = iota(N);
              Device<float> a(x), b(x);
              launch<int_overflow<true>>({dim3(1), dim3(N)}, a.p, b.p, 1 << 25);
              return compare(b.host(), x);
          },
          [] {
              auto x = iota(N);
              Device<float> a(x), b(x);
              launch<int_overflow<false>>({dim3(1), dim3(N)}, a.p, b.p, 1 << 25);
              return compare(b.host(), x);
          }}},
        {"host_pointer", {host_pointer<true>, host_pointer<false>}},
        {"host_reads_device", {host_reads_device<true>, host_reads_device<false>}},
        {"use_after_free", {use_after_free<true>, use_after_free<false>}},
        {"race_shared_update", ONE(race_order, iota(N), vector<float>(N, 128))},
        {"race_between_blocks", {race_grid_case<true>, race_grid_case<false>}},
        {"last_block_no_fence", {last_block_case<true>, last_block_case<false>}},
        {"mbar_wrong_parity", HOP(wrong_parity)},
        {"mbar_no_full_wait", HOP(no_full_wait)},
        {"mbar_no_empty_wait", HOP(no_empty_wait)},
        {"mbar_wrong_tx_bytes", HOP(wrong_bytes)},
        {"mbar_init_unsynced", HOP(no_init_sync)},
        {"stage_released_early", HOP(released_early)},
        {"wgmma_no_wait", HOP(no_wgmma_wait)},
        {"wgmma_no_fence", HOP(no_wgmma_fence)},
        {"wgmma_no_proxy_fence", {filled_case<Fill::no_proxy_fence>, filled_case<Fill::none>}},
        {"wgmma_wrong_swizzle", {filled_case<Fill::no_swizzle>, filled_case<Fill::none>}},
    };
    if (argc < 2) {
        for (auto& [name, c] : cases) puts(name.c_str());
        return 0;
    }
    for (auto& [name, c] : cases)
        if (name == argv[1]) try {
                return argc > 2 && !strcmp(argv[2], "fixed") ? c.fixed() : c.bug();
            } catch (const std::exception& e) {
                printf("%s\n", e.what());
                return 2;
            }
    return 3;
}
