#pragma once
// Sums over rows, for gradients of biases and norms, in two stages with a fixed order: chunks of rows first, in parallel,
// then over the chunks. How many chunks there are depends on the number of rows alone.
//
//      rows 0..R-1     -> partial[0][C]
//      rows R..2R-1    -> partial[1][C]   ->   y[c] (+)= partial[0][c] + partial[1][c] + ...
//      ...
#include "ops/cuda/kernel.h"

namespace eng::cuda {

constexpr int kColumns = 32, kRowLanes = 8;  // threads of a block over a tile of columns

inline int row_chunks(std::int64_t rows) { return int(ceil_div(rows, 128) < 64 ? ceil_div(rows, 128) : 64); }

namespace {

// term(n, c) summed over the rows of this block's chunk, for K sums at once; partial is [chunks][K][C].
template <int K, class Term>
__device__ void sum_chunk(std::int64_t rows, std::int64_t cols, float* partial, Term&& term) {
    GPU_SHARED(part, float[K][kRowLanes][kColumns]);
    const std::int64_t c = std::int64_t(blockIdx.x) * kColumns + threadIdx.x, chunk = blockIdx.y, chunks = gridDim.y;
    float s[K] = {};
    if (c < cols)
        for (std::int64_t n = rows * chunk / chunks + threadIdx.y; n < rows * (chunk + 1) / chunks; n += kRowLanes) term(n, c, s);
    for (int k = 0; k < K; ++k) part[k][threadIdx.y][threadIdx.x] = s[k];
    __syncthreads();  // every row lane has left its sums
    if (threadIdx.y != 0 || c >= cols) return;
    for (int k = 0; k < K; ++k) {
        float total = 0;
        for (int r = 0; r < kRowLanes; ++r) total += part[k][r][threadIdx.x];
        partial[(chunk * K + k) * cols + c] = total;
    }
}

// y[c] (+)= the sum over chunks of partial[chunk * pitch + c]: each row lane adds every eighth chunk, then lanes in order.
__global__ void __launch_bounds__(kColumns * kRowLanes) add_chunks_kernel(const float* partial, int chunks, std::int64_t pitch, Out y) {
    in_turn();
    GPU_SHARED(part, float[kRowLanes][kColumns]);
    const std::int64_t c = std::int64_t(blockIdx.x) * kColumns + threadIdx.x;
    float total = 0;
    if (c < y.numel())
        for (int k = threadIdx.y; k < chunks; k += kRowLanes) total += partial[k * pitch + c];
    part[threadIdx.y][threadIdx.x] = total;
    __syncthreads();  // every row lane has left its sum
    if (threadIdx.y != 0 || c >= y.numel()) return;
    total = 0;
    for (int r = 0; r < kRowLanes; ++r) total += part[r][threadIdx.x];
    emit(y, c, total);
}

inline Launch chunk_grid(std::int64_t rows, std::int64_t cols) {
    return {{ceil_div(cols, kColumns), unsigned(row_chunks(rows))}, {kColumns, kRowLanes}};
}
inline void add_chunks(const float* partial, int chunks, std::int64_t pitch, const Out& y) {
    if (y.mode != Mode::skip) launch<add_chunks_kernel>({ceil_div(y.numel(), kColumns), {kColumns, kRowLanes}}, partial, chunks, pitch, y);
}

}  // namespace

}  // namespace eng::cuda
