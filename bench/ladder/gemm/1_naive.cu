// GEMM, rung 1: one thread per element of c.
//
// Idea         the definition. A thread walks k and keeps its sum in a register; neighbours in a warp make neighbours in a
//              row of c, so that b (as [k][n]) and c are read and written in whole lines.
// Traffic      every multiply-add loads two operands: 2 m n k loads for 2 m n k FLOP. Caches catch most of them, but a load
//              unit delivers one operand pair where a core could do many multiply-adds.
// Bottleneck   loads per multiply-add. Next rung: load a tile once for a whole block of threads.
#include "bench/ladder/ladder.h"
#include "ops/cuda/gemm.h"

namespace eng::ladder {
namespace {

using namespace eng::cuda;

__global__ __launch_bounds__(256) void naive_kernel(Product p) {
    in_turn();
    const int col = int(blockIdx.x * 32 + threadIdx.x % 32), row = int(blockIdx.y * 8 + threadIdx.x / 32);
    if (row >= p.m || col >= p.n) return;
    const auto *a = static_cast<const cuda::bf16*>(p.a), *b = static_cast<const cuda::bf16*>(p.b);
    float sum = 0;
    for (int k = 0; k < p.k; ++k)
        sum += float(a[p.ta ? std::int64_t(k) * p.m + row : std::int64_t(row) * p.k + k]) *
               float(b[p.tb ? std::int64_t(col) * p.k + k : std::int64_t(k) * p.n + col]);
    emit1(p.out, row * p.out.n + col, col, sum);
}

}  // namespace

void gemm_naive(const GemmArgs& g) {
    const Product p = product_of(g);
    launch<naive_kernel>({dim3(ceil_div(p.n, 32), ceil_div(p.m, 8)), dim3(256)}, p);
}

}  // namespace eng::ladder
