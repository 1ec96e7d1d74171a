// y[C,N] = x[N,C].
//
// Work split   a block of 32x8 threads turns one 32x32 tile over in shared memory: rows of x in, rows of y out, so that
//              both sides move whole lines of memory.
//                   x: c ->                          y: n ->
//                 n  [tile]   --shared[32][33]-->  c  [tile^T]       a row of 33 keeps columns on different banks
// Traffic      x once, y once (twice when it accumulates); no FLOPs.
// Determinism  every element has one owner.
// Limits       any size; f32 and bf16.
#include "ops/cuda/kernel.h"

namespace eng::cuda {
namespace {

constexpr int kTile = 32, kRows = 8;

template <class T> __global__ void __launch_bounds__(kTile * kRows) transpose_kernel(TransposeArgs a) {
    in_turn();
    GPU_SHARED(tile, float[kTile][kTile + 1]);
    const std::int64_t n0 = std::int64_t(blockIdx.x) * kTile, c0 = std::int64_t(blockIdx.y) * kTile;
    for (int r = threadIdx.y; r < kTile; r += kRows)
        if (n0 + r < a.x.rows && c0 + threadIdx.x < a.x.cols)
            tile[r][threadIdx.x] = float(row<T>(a.x, n0 + r)[c0 + threadIdx.x]);
    __syncthreads();  // the tile is complete
    for (int r = threadIdx.y; r < kTile; r += kRows)
        if (c0 + r < a.x.cols && n0 + threadIdx.x < a.x.rows)
            emit(a.y, (c0 + r) * a.x.rows + n0 + threadIdx.x, tile[threadIdx.x][r]);
}

}  // namespace

void transpose(const TransposeArgs& a) {
    if (a.y.mode == Mode::skip) return;
    dispatch(a.x.dtype, "transpose", [&](auto tag) {
        launch<transpose_kernel<decltype(tag)>>({{ceil_div(a.x.rows, kTile), ceil_div(a.x.cols, kTile)}, {kTile, kRows}}, a);
    });
}

}  // namespace eng::cuda
