// correct kernels of the kinds most likely to raise false alarms: partial masks,
// named barriers, byte arrays, atomics with fences, persistent blocks, 2-d blocks, spinning.
// Every build must stay silent under every schedule.
#include <numeric>

#include "ops/cuda/ptx.h"
#include "tests/cuemu/test.h"

using namespace eng::cuda;
using std::vector;

// Producer warps hand tiles to consumer warps through two buffers and named barriers.
__global__ void named_barriers(const float* x, float* y, int tiles) {
    in_turn();
    GPU_SHARED(buf, float[2][64]);
    const int t = threadIdx.x % 64;
    constexpr unsigned kFull = 1, kEmpty = 3;
    if (threadIdx.x < 64) {
        for (int i = 0; i < tiles; ++i) {
            if (i >= 2) named_barrier_sync(kEmpty + i % 2, 128);
            buf[i % 2][t] = x[i * 64 + t];
            named_barrier_arrive(kFull + i % 2, 128);
        }
    } else {
        float sum = 0;
        for (int i = 0; i < tiles; ++i) {
            named_barrier_sync(kFull + i % 2, 128);
            sum += buf[i % 2][63 - t];
            if (i + 2 < tiles) named_barrier_arrive(kEmpty + i % 2, 128);
        }
        y[t] = sum;
    }
}

// Lanes of a warp talk through shared memory and __syncwarp, in halves with their own masks.
__global__ void half_warps(const float* x, float* y) {
    in_turn();
    GPU_SHARED(s, float[2][64]);
    const unsigned lane = threadIdx.x % 32, mask = lane < 16 ? 0x0000ffffu : 0xffff0000u;
    float v = x[threadIdx.x];
    for (int r = 0; r < 6; ++r) {
        s[r % 2][threadIdx.x] = v;
        __syncwarp(mask);
        v = s[r % 2][threadIdx.x ^ 1] + 1;
        if (__any_sync(mask, lane % 16 == 3)) v += __shfl_sync(mask, 1.0f, 5, 16);
    }
    y[threadIdx.x] = v;
}

// Neighbouring bytes written by different threads; a histogram; warp votes and sums.
__global__ void bytes_and_votes(const float* x, unsigned char* flags, unsigned* counts, int n) {
    in_turn();
    GPU_SHARED(sflag, unsigned char[129]);
    GPU_SHARED(hist, unsigned[4]);
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (threadIdx.x < 4) hist[threadIdx.x] = 0;
    sflag[threadIdx.x] = i < n && x[i] > 0;
    __syncthreads();
    if (i < n) flags[i] = sflag[blockDim.x - 1 - threadIdx.x];
    const unsigned up = __popc(__ballot_sync(0xffffffffu, i < n && x[i] > 0));
    const unsigned same = __reduce_add_sync(0xffffffffu, unsigned(i < n && x[i] > 0));
    if (threadIdx.x % 32 == 0) atomicAdd(&hist[up == same ? 0 : 1], up);
    __syncthreads();
    if (threadIdx.x < 4) atomicAdd(&counts[threadIdx.x], hist[threadIdx.x]);
}

// Persistent blocks draw rows from a counter; thread 0 tells the others through shared memory.
__global__ void persistent(const float* x, float* y, int* next, int rows) {
    in_turn();
    GPU_SHARED(row, int);
    for (;;) {
        if (threadIdx.x == 0) row = atomicAdd(next, 1);
        __syncthreads();
        const int r = row;
        __syncthreads();
        if (r >= rows) return;
        y[r * 32 + threadIdx.x] = 2 * x[r * 32 + threadIdx.x];
    }
}

// Split-K in a fixed order: block b adds its part after block b-1, signalled by a semaphore.
// (Needs blocks to start in index order, as the emulator's forward order and GPUs do.)
__global__ void ordered_sum(const float* x, float* y, int* turn) {
    in_turn();
    if (threadIdx.x == 0)
        while (atomicAdd(turn, 0) != int(blockIdx.x)) __nanosleep(20);
    __syncthreads();
    __threadfence();
    y[threadIdx.x] += x[blockIdx.x * blockDim.x + threadIdx.x];
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        atomicExch(turn, int(blockIdx.x) + 1);
    }
}

// A spin lock in shared memory.
__global__ void spin_lock(int* y) {
    in_turn();
    GPU_SHARED(lock, int);
    GPU_SHARED(value, int);
    if (threadIdx.x == 0) lock = 0, value = 0;
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
        while (atomicCAS(&lock, 0, 1) != 0) {}
        __threadfence_block();
        value = value + int(threadIdx.x);
        __threadfence_block();
        atomicExch(&lock, 0);
    }
    __syncthreads();
    if (threadIdx.x == 0) *y = value;
}

// Odd block shapes, a barrier with a count, bf16 atomics.
__global__ void shapes(bf16* sum, int* count) {
    in_turn();
    const int id = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const int c = __syncthreads_count(id % 3 == 0);
    if (id == 0) count[blockIdx.y] = c;
    if (id < 2) atomicAdd(reinterpret_cast<__nv_bfloat162*>(sum), __floats2bfloat162_rn(1, 2));
}

static vector<float> run(const char* name, const vector<float>& got, const vector<float>& want) {
    double worst = 0;
    for (size_t i = 0; i < want.size(); ++i)
        worst = std::fmax(worst, std::fabs(got[i] - want[i]) + (got[i] == got[i] ? 0 : INFINITY));
    expect(name, worst, 0);
    return got;
}
static vector<float> iota(int n) {
    vector<float> v(n);
    std::iota(v.begin(), v.end(), 1.0f);
    return v;
}

int main() {
    try {
        {
            Device<float> x(iota(10 * 64)), y(64);
            launch<named_barriers>({dim3(1), dim3(128)}, x.p, y.p, 10);
            vector<float> want(64);
            for (int t = 0; t < 64; ++t)
                for (int i = 0; i < 10; ++i) want[t] += float(i * 64 + 63 - t + 1);
            run("named_barriers", y.host(), want);
        }
        {
            Device<float> x(iota(64)), y(64);
            launch<half_warps>({dim3(1), dim3(64)}, x.p, y.p);
            vector<float> want(64);
            for (int t = 0; t < 64; ++t) want[t] = float(t + 1 + 12);
            run("half_warps", y.host(), want);
        }
        {
            const int n = 300;
            auto hx = iota(n);
            for (int i = 0; i < n; ++i) hx[i] = i % 3 ? 1.0f : -1.0f;
            Device<float> x(hx);
            Device<unsigned char> flags(n);
            Device<unsigned> counts(vector<unsigned>(4, 0));
            launch<bytes_and_votes>({dim3(3), dim3(128)}, x.p, flags.p, counts.p, n);
            run("bytes_and_votes", {float(counts.host()[0])}, {200});
        }
        {
            Device<float> x(iota(50 * 32)), y(50 * 32);
            Device<int> next(vector<int>{0});
            launch<persistent>({dim3(4), dim3(32)}, x.p, y.p, next.p, 50);
            auto want = iota(50 * 32);
            for (float& w : want) w *= 2;
            run("persistent", y.host(), want);
        }
#if GPU_EMULATED
        if (cuemu::options().order == cuemu::Options::Order::forward)
#endif
        {
            Device<float> x(iota(8 * 64)), y(vector<float>(64, 0));
            Device<int> turn(vector<int>{0});
            launch<ordered_sum>({dim3(8), dim3(64)}, x.p, y.p, turn.p);
            vector<float> want(64);
            for (int t = 0; t < 64; ++t)
                for (int b = 0; b < 8; ++b) want[t] += float(b * 64 + t + 1);
            run("ordered_sum", y.host(), want);
        }
        {
            Device<int> y(1);
            launch<spin_lock>({dim3(1), dim3(256)}, y.p);
            run("spin_lock", {float(y.host()[0])}, {896});
        }
        {
            Device<bf16> sum(to_bf16({0, 0}));
            Device<int> count(2);
            launch<shapes>({dim3(1, 2), dim3(5, 3, 7)}, sum.p, count.p);
            auto s = sum.host();
            run("shapes", {__bfloat162float(s[0]), __bfloat162float(s[1]), float(count.host()[1])}, {4, 8, 35});
        }
    } catch (const std::exception& e) {
        printf("%s\n", e.what());
        return 1;
    }
    printf("%d failures\n", failures);
    return failures != 0;
}
