#pragma once
// Planted mistakes in memory accesses, and races whose result depends on the schedule.
#include "tests/cuemu/bugs_sync.h"

// ---- memory --------------------------------------------------------------------------------
template <bool Bug>
__global__ void oob_write(const float* x, float* y, int n) {
    in_turn();
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (Bug ? i <= n : i < n) y[i] = i < n ? x[i] : 0;
}
template <bool Bug>
__global__ void oob_read(const float* x, float* y, int n) {
    in_turn();
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
    in_turn();
    GPU_DYN_SHARED(float, s);
    s[threadIdx.x + (Bug ? 1 : 0)] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x + (Bug ? 1 : 0)];
}
template <bool Bug>
__global__ void oob_shared_static(const float* x, float* y) {
    in_turn();
    GPU_SHARED(s, float[N]);
    float* p = s;  // through a pointer, so that the array's type does not give it away
    p[threadIdx.x + (Bug ? 1 : 0)] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = p[threadIdx.x + (Bug ? 1 : 0)];
}
template <bool Bug>
__global__ void oob_inner_dimension(const float* x, float* y) {  // inside the array, beyond the row
    in_turn();
    GPU_SHARED(s, float[N][4]);
    for (int i = 0; i < 4; ++i) s[threadIdx.x][i] = x[threadIdx.x];
    __syncthreads();
    float v = 0;
    for (int i = 0; i < (Bug ? 5 : 4); ++i) v += threadIdx.x * 4 + i < N * 4 ? s[threadIdx.x][i] : 0;
    y[threadIdx.x] = v;
}
template <bool Bug>
__global__ void uninit_shared(const float* x, float* y) {  // the tail of the tile is not zeroed
    in_turn();
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
    in_turn();
    if (!Bug) y[threadIdx.x] = 0;
    y[threadIdx.x] += x[threadIdx.x];
}
template <bool Bug>
__global__ void misaligned_vector(const float* x, float* y) {
    in_turn();
    const int i = threadIdx.x;
    if (i >= N / 4) return;
    const float4 v = *reinterpret_cast<const float4*>(x + 4 * i + (Bug ? 1 : 0));
    y[4 * i] = v.x, y[4 * i + 1] = v.y, y[4 * i + 2] = v.z, y[4 * i + 3] = v.w;
}
template <bool Bug>
__global__ void int_overflow(const float* x, float* y, int big) {
    in_turn();
    const int i = Bug ? (int(threadIdx.x) * big) / big : int(threadIdx.x);
    if (i >= 0) y[i] = x[i];
}
__global__ void copy(const float* x, float* y) { in_turn(); y[threadIdx.x] = x[threadIdx.x]; }
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
    cudaMemcpyAsync(p, x.data(), N * sizeof(float), cudaMemcpyHostToDevice, stream());
    if (Bug) cudaFree(p);
    launch<copy>({dim3(1), dim3(N)}, p, dy.p);
    if (!Bug) cudaFree(p);
    return compare(dy.host(), x);
}

template <bool Bug>
__global__ void before_its_turn(const float* x, float* y) {
    const float early = Bug ? x[threadIdx.x] : 0;
    in_turn();
    y[threadIdx.x] = Bug ? early : x[threadIdx.x];
}
template <bool Bug>
__global__ void never_in_turn(const float* x, float* y) {
    if (Bug && threadIdx.x == 7) return;
    in_turn();
    y[threadIdx.x] = x[threadIdx.x];
}

// ---- races whose result depends on the schedule ----------------------------------------------
template <bool Bug>
__global__ void race_order(const float* x, float* y) {  // Bug: whoever comes last wins
    in_turn();
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
    in_turn();
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
    in_turn();
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

// ---- streams: a batch through a pinned slot and a copy stream, as the engine sends it ------------
enum class Order { right, no_arrival, slot_taken, no_result };
template <Order Bug>
static int stream_case() {
    const size_t bytes = N * sizeof(float);
    Device<float> there(N), slot(N);
    float* pinned = nullptr;
    cudaMallocHost(reinterpret_cast<void**>(&pinned), bytes);
    cudaStream_t copy, compute;
    cudaEvent_t arrived;
    cudaStreamCreateWithFlags(&copy, cudaStreamNonBlocking), cudaStreamCreateWithFlags(&compute, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&arrived, cudaEventDisableTiming);
    vector<float> got(N);
    const auto x = iota(N);
    std::copy(x.begin(), x.end(), pinned);
    cudaMemsetAsync(slot.p, 0, bytes, copy);
    cudaMemcpyAsync(slot.p, pinned, bytes, cudaMemcpyHostToDevice, copy);
    cudaEventRecord(arrived, copy);
    if (Bug == Order::slot_taken) pinned[3] = -1;  // the copy may not have read it yet
    if (Bug != Order::no_arrival) cudaStreamWaitEvent(compute, arrived, 0);
    cudaMemcpyAsync(there.p, slot.p, bytes, cudaMemcpyDeviceToDevice, compute);
    cudaMemcpyAsync(got.data(), there.p, bytes, cudaMemcpyDeviceToHost, compute);
    if (Bug != Order::no_result) cudaStreamSynchronize(compute);
    const int wrong = compare(got, x);
    cudaDeviceSynchronize();  // before got goes
    return wrong;
}
