#pragma once
// Sums over rows, for gradients of biases and norms, in two stages with a fixed order: chunks of rows first, in parallel,
// then over the chunks. How many chunks there are depends on the number of rows alone.
//
//      rows 0..R-1     -> partial[0][C]
//      rows R..2R-1    -> partial[1][C]   ->   y[c] (+)= partial[0][c] + partial[1][c] + ...
//      ...
#include <algorithm>

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
    const std::int64_t end = c < cols ? rows * (chunk + 1) / chunks : 0;  // not in the loop's condition: a division of 64 bits
    float s[K] = {};
    for (std::int64_t n = rows * chunk / chunks + threadIdx.y; n < end; n += kRowLanes) term(n, c, s);
    for (int k = 0; k < K; ++k) part[k][threadIdx.y][threadIdx.x] = s[k];
    __syncthreads();  // every row lane has left its sums
    if (threadIdx.y != 0 || c >= cols) return;
    for (int k = 0; k < K; ++k) {
        float total = 0;
        for (int r = 0; r < kRowLanes; ++r) total += part[k][r][threadIdx.x];
        partial[(chunk * K + k) * cols + c] = total;
    }
}

// y[c] (+)= the sum over chunks of partial[chunk pitch + c], of up to two y in one launch (a row of the grid each): each row lane
// adds every 16th chunk, then lanes in order. This is a chain of L2's latencies: 396 chunks are 25 to a lane, and eight are
// asked for at a time.
constexpr int kChunkLanes = 16;
struct ChunkSums {
    const float* partial;
    std::int64_t pitch, cols;
    int chunks;
    Out y;
};
__global__ void __launch_bounds__(kColumns * kChunkLanes) add_chunks_kernel(ChunkSums first, ChunkSums second) {
    in_turn();
    GPU_SHARED(part, float[kChunkLanes][kColumns]);
    const ChunkSums& s = blockIdx.y ? second : first;
    const std::int64_t c = std::int64_t(blockIdx.x) * kColumns + threadIdx.x;
    const int chunks = s.chunks;
    const std::int64_t pitch = s.pitch, cols = s.cols;
    const float* column = s.partial + c;
    float total = 0;
    for (int k = threadIdx.y; c < cols && k < chunks; k += 8 * kChunkLanes) {
        float x[8];
#pragma unroll
        for (int j = 0; j < 8; ++j) x[j] = k + j * kChunkLanes < chunks ? column[(k + j * kChunkLanes) * pitch] : 0.f;
#pragma unroll
        for (int j = 0; j < 8; ++j) total += x[j];
    }
    part[threadIdx.y][threadIdx.x] = total;
    __syncthreads();  // every row lane has left its sum
    if (threadIdx.y != 0 || c >= cols) return;
    total = 0;
    for (int r = 0; r < kChunkLanes; ++r) total += part[r][threadIdx.x];
    if (blockIdx.y == 0) emit(first.y, c, total);
    else emit(second.y, c, total);
}

inline Launch chunk_grid(std::int64_t rows, std::int64_t cols) {
    return {{ceil_div(cols, kColumns), unsigned(row_chunks(rows))}, {kColumns, kRowLanes}};
}
inline void add_chunks(const ChunkSums& first, const ChunkSums& second = {}) {
    const bool one = first.partial && first.y.mode != Mode::skip, two = second.partial && second.y.mode != Mode::skip;
    if (!one && !two) return;
    const ChunkSums &a = one ? first : second, &b = one && two ? second : a;
    launch<add_chunks_kernel>({{ceil_div(std::max(a.cols, b.cols), kColumns), one && two ? 2u : 1u}, {kColumns, kChunkLanes}}, a, b);
}
// partial [chunks][cols]
inline void add_chunks(const float* partial, int chunks, std::int64_t cols, const Out& y) { add_chunks(ChunkSums{partial, cols, cols, chunks, y}); }
// partial [chunks][2][cols]
inline void add_chunks(const float* partial, int chunks, std::int64_t cols, const Out& first, const Out& second) {
    add_chunks(ChunkSums{partial, 2 * cols, cols, chunks, first}, ChunkSums{partial + cols, 2 * cols, cols, chunks, second});
}

}  // namespace

}  // namespace eng::cuda
