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

// first[c] (+)= the sum over chunks of partial[chunk][0][c], second[c] that of partial[chunk][1][c] if the grid has two rows: each row lane
// adds every 16th chunk, then lanes in order. This is a chain of L2's latencies: 396 chunks are 25 to a lane, and eight are
// asked for at a time.
constexpr int kChunkLanes = 16;
__global__ void __launch_bounds__(kColumns * kChunkLanes) add_chunks_kernel(const float* partial, int chunks, std::int64_t cols, Out first, Out second) {
    in_turn();
    GPU_SHARED(part, float[kChunkLanes][kColumns]);
    const std::int64_t c = std::int64_t(blockIdx.x) * kColumns + threadIdx.x, pitch = gridDim.y * cols;
    const float* column = partial + blockIdx.y * cols + c;
    float total = 0;
    if (c < cols)
#pragma unroll 8
        for (int k = threadIdx.y; k < chunks; k += kChunkLanes) total += column[k * pitch];
    part[threadIdx.y][threadIdx.x] = total;
    __syncthreads();  // every row lane has left its sum
    if (threadIdx.y != 0 || c >= cols) return;
    total = 0;
    for (int r = 0; r < kChunkLanes; ++r) total += part[r][threadIdx.x];
    if (blockIdx.y == 0) emit(first, c, total);
    else emit(second, c, total);
}

inline Launch chunk_grid(std::int64_t rows, std::int64_t cols) {
    return {{ceil_div(cols, kColumns), unsigned(row_chunks(rows))}, {kColumns, kRowLanes}};
}
inline Launch per_column(std::int64_t cols, unsigned sums) { return {{ceil_div(cols, kColumns), sums}, {kColumns, kChunkLanes}}; }
// partial [chunks][cols]
inline void add_chunks(const float* partial, int chunks, std::int64_t cols, const Out& y) {
    if (y.mode != Mode::skip) launch<add_chunks_kernel>(per_column(cols, 1), partial, chunks, cols, y, Out{});
}
// partial [chunks][2][cols]
inline void add_chunks(const float* partial, int chunks, std::int64_t cols, const Out& first, const Out& second) {
    if (first.mode != Mode::skip || second.mode != Mode::skip) launch<add_chunks_kernel>(per_column(cols, 2), partial, chunks, cols, first, second);
}

}  // namespace

}  // namespace eng::cuda
