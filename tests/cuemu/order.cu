// What is put on the stream happens in order though kernels come before their turn: kernels, copies, fills and clusters behind each
// other, launched one by one and as a recorded graph. Built by g++ this tests the emulator, by nvcc the launches.
#include "engine/graph.h"
#include "ops/cuda/chip.h"
#include "ops/cuda/ptx.h"
#include "tests/cuemu/test.h"

using namespace eng::cuda;
using std::vector;

constexpr int kBlocks = 160, kThreads = 128, kValues = kBlocks * kThreads;

// Each block reads what another one of the kernel before wrote; blocks end at different times.
__global__ void k_add_one(const int* from, int* to) {
    in_turn();
    const unsigned n = gridDim.x * blockDim.x, i = blockIdx.x * blockDim.x + threadIdx.x;
    __nanosleep(blockIdx.x % 7 * 3000);
    to[i] = from[(i + n / 2 + 1) % n] + 1;
}
static void add_one(const int* from, int* to, unsigned cluster = 1) { launch<k_add_one>({dim3(kBlocks), dim3(kThreads), 0, cluster}, from, to); }
static int wrong(const Device<int>& values, int want) {
    int bad = 0;
    for (const int v : values.host()) bad += v != want;
    return bad;
}

static void kernels() {
    const Device<int> a(vector<int>(kValues, 0)), b(kValues);
    for (int k = 0; k < 20; ++k) add_one(k % 2 ? b : a, k % 2 ? a : b);
    expect("kernels wait for the one before", wrong(a, 20), 0);
}

// Adds five to a. Whatever is not in order reads or leaves 0x7f7f7f7f.
static void add_five(const Device<int>& a, const Device<int>& b, const Device<int>& c) {
    const std::size_t bytes = kValues * sizeof(int);
    const unsigned cluster = clusters_are_wanted() ? 2 : 1;
    add_one(a, b);
    CUDA_CHECK(cudaMemcpyAsync(c.p, b.p, bytes, cudaMemcpyDeviceToDevice, stream()));  // behind a kernel
    CUDA_CHECK(cudaMemsetAsync(b.p, 0x7f, bytes, stream()));                          // behind a copy that reads it
    add_one(c, a);
    CUDA_CHECK(cudaMemsetAsync(c.p, 0x7f, bytes, stream()));  // behind a kernel that reads it
    add_one(a, b, cluster);
    add_one(b, c, cluster);
    CUDA_CHECK(cudaMemsetAsync(a.p, 0x7f, bytes, stream()));
    add_one(c, a);
}
static void eager() {
    const Device<int> a(vector<int>(kValues, 0)), b(kValues), c(kValues);
    for (int k = 0; k < 4; ++k) add_five(a, b, c);
    expect("kernels, copies and fills in order", wrong(a, 20), 0);
}
static void recorded() {
    const Device<int> a(vector<int>(kValues, 0)), b(kValues), c(kValues);
    add_five(a, b, c);  // what happens when a kernel is first launched is not recorded
    const auto replay = capture([&] { add_five(a, b, c); });
    for (int k = 0; k < 3; ++k) replay->launch();
    add_five(a, b, c);
    expect("the same, recorded", wrong(a, 25), 0);
}

int main() {
    try {
        kernels();
        eager();
        recorded();
    } catch (const std::exception& e) {
        printf("%s\n", e.what());
        return 1;
    }
    printf("%d failures\n", failures);
    return failures != 0;
}
