// GEMM, rung 2: tiles in shared memory.
//
// Idea         a block of 32 x 32 threads makes 32 x 32 of c. For every 32 steps of k it copies 32 x 32 of a and of b into
//              shared memory, one element a thread, and each element is then used by 32 threads.
//
//                      b [32][32]      barrier: the tile is there
//              a [32]  c [32]          32 multiply-adds a thread
//                [32]    [32]          barrier: the tile is used up
//
// Traffic      global loads fall by 32. Shared memory still serves two operands for every multiply-add.
// Bottleneck   shared loads per multiply-add. Next rung: let a thread make several rows and columns, so that a value in a
//              register serves several sums.
#include "bench/ladder/ladder.h"
#include "ops/cuda/gemm.h"

namespace eng::ladder {
namespace {

using namespace eng::cuda;

constexpr int kTile = 32;

__global__ __launch_bounds__(kTile* kTile) void shared_kernel(Product p) {
    in_turn();
    GPU_SHARED(a, float[kTile][kTile + 1]);  // [row][k]; + 1: a column is read without bank conflicts
    GPU_SHARED(b, float[kTile][kTile + 1]);  // [k][col]
    const int x = threadIdx.x % kTile, y = threadIdx.x / kTile, row = int(blockIdx.y) * kTile + y, col = int(blockIdx.x) * kTile + x;
    const auto *ga = static_cast<const cuda::bf16*>(p.a), *gb = static_cast<const cuda::bf16*>(p.b);
    const int row0 = int(blockIdx.y) * kTile, col0 = int(blockIdx.x) * kTile;
    float sum = 0;
    for (int k0 = 0; k0 < p.k; k0 += kTile) {
        // x runs along the fast axis of the stored matrix: whole lines, whatever the layout
        const int ra = row0 + (p.ta ? x : y), ka = k0 + (p.ta ? y : x), cb = col0 + (p.tb ? y : x), kb = k0 + (p.tb ? x : y);
        const float va = ra < p.m && ka < p.k ? float(ga[p.ta ? std::int64_t(ka) * p.m + ra : std::int64_t(ra) * p.k + ka]) : 0.0f;
        const float vb = cb < p.n && kb < p.k ? float(gb[p.tb ? std::int64_t(cb) * p.k + kb : std::int64_t(kb) * p.n + cb]) : 0.0f;
        a[ra - row0][ka - k0] = va;
        b[kb - k0][cb - col0] = vb;
        __syncthreads();  // the tile is there
        for (int k = 0; k < kTile; ++k) sum += a[y][k] * b[k][x];
        __syncthreads();  // the tile is used up
    }
    if (row < p.m && col < p.n) emit1(p.out, row * p.out.n + col, col, sum);
}

}  // namespace

void gemm_shared(const GemmArgs& g) {
    const Product p = product_of(g);
    launch<shared_kernel>({dim3(ceil_div(p.n, kTile), ceil_div(p.m, kTile)), dim3(kTile * kTile)}, p);
}

}  // namespace eng::ladder
