// Rows by index: gather (CLS and EOS tokens, top-k tokens, pairs), its transpose, token embedding and its gradient.
//
// Work split   forward: a warp per output row. Backward: a warp per *destination* row looks through all indices, 32 at a
//              time, and adds the rows that name it: there is nothing to synchronise and the order is that of n.
//                   idx:  4 0 0 2 | 4 4 . .     warp of row 4: ballot 1 0 0 0 | 1 1  -> adds dy[0], dy[4], dy[5]
// Traffic      forward moves each row once. Backward reads the n indices once per destination row (from L2: 64 steps for
//              2,000 tokens), each dy row once, and writes every row of dx (only those named, when it accumulates).
// Numerics     sums of repeated rows are kept in f32 and rounded once.
// Determinism  no atomics; rows are added in the order of n.
// Limits       any size; f32 and bf16. An index outside the table gives a row of NaN; no memory outside is touched.
#include "ops/cuda/kernel.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = kWarps * 32;
constexpr int kTiles = 8;  // vectors of a row that a lane sums at once

__device__ __forceinline__ int index_at(const View& idx, std::int64_t n) { return ptr<std::int32_t>(idx)[n]; }

// A row of the table, or NaN.
template <class T, int V> __device__ __forceinline__ Vec<float, V> table_row(const View& table, int i, std::int64_t c) {
    if (i >= 0 && i < table.rows) return read<V>(row<T>(table, i) + c);
    Vec<float, V> nan;
    for (int j = 0; j < V; ++j) nan[j] = __int_as_float(0x7fffffff);
    return nan;
}

template <class T, int V> __global__ void __launch_bounds__(kThreads) gather_rows_kernel(GatherRowsArgs a) {
    const std::int64_t n = warp_row();
    if (n >= a.y.rows) return;
    const int i = index_at(a.idx, n);
    for_columns<V>(a.x.cols, [&](std::int64_t c) { emit<V>(a.y, n * a.x.cols + c, table_row<T, V>(a.x, i, c)); });
}

template <class T, int V> __global__ void __launch_bounds__(kThreads) embed_kernel(EmbedFwd a) {
    const std::int64_t t = warp_row();
    if (t >= a.y.rows) return;
    const int id = index_at(a.ids, t), position = index_at(a.positions, t);
    for_columns<V>(a.y.cols, [&](std::int64_t c) {
        Vec<float, V> y = table_row<T, V>(a.table, id, c);
        const Vec<float, V> p = table_row<T, V>(a.pos, position, c);
        for (int j = 0; j < V; ++j) y[j] += p[j];
        emit<V>(a.y, t * a.y.cols + c, y);
    });
}

// dx[r] (+)= the sum of dy[n] over the n with idx[n] = r
template <class T, int V> __global__ void __launch_bounds__(kThreads) scatter_kernel(View dy, View idx, Out dx) {
    const std::int64_t r = warp_row(), C = dx.cols, count = dy.rows;
    if (r >= dx.rows) return;
    for (std::int64_t c0 = lane() * V; c0 - lane() * V < C; c0 += 32 * V * kTiles) {
        float sum[kTiles][V] = {};
        bool named = false;
        for (std::int64_t n0 = 0; n0 < count; n0 += 32) {
            unsigned hits = __ballot_sync(kAllLanes, n0 + lane() < count && index_at(idx, n0 + lane()) == r);
            named |= hits != 0;
            for (; hits; hits &= hits - 1) {
                const T* g = row<T>(dy, n0 + __ffs(int(hits)) - 1);
#pragma unroll
                for (int k = 0; k < kTiles; ++k) {
                    if (c0 + k * 32 * V >= C) break;
                    const Vec<float, V> v = read<V>(g + c0 + k * 32 * V);
                    for (int j = 0; j < V; ++j) sum[k][j] += v[j];
                }
            }
        }
        if (!named && dx.mode == Mode::accumulate) return;
#pragma unroll
        for (int k = 0; k < kTiles; ++k) {
            if (c0 + k * 32 * V >= C) break;
            Vec<float, V> v;
            for (int j = 0; j < V; ++j) v[j] = sum[k][j];
            emit<V>(dx, r * C + c0 + k * 32 * V, v);
        }
    }
}

void scatter(const char* where, const View& dy, const View& idx, const Out& dx) {
    if (dx.mode == Mode::skip) return;
    dispatch(dy.dtype, in_fours(dx.cols, {&dy, &dx}), where, [&](auto tag, auto v) {
        launch<scatter_kernel<decltype(tag), v>>(warp_per_row(dx.rows), dy, idx, dx);
    });
}

}  // namespace

void gather_rows(const GatherRowsArgs& a) {
    dispatch(a.x.dtype, in_fours(a.x.cols, {&a.x, &a.y}), "gather_rows", [&](auto tag, auto v) {
        launch<gather_rows_kernel<decltype(tag), v>>(warp_per_row(a.y.rows), a);
    });
}
void scatter_add_rows(const ScatterAddRowsArgs& a) { scatter("scatter_add_rows", a.dy, a.idx, a.dx); }

void embed_forward(const EmbedFwd& a) {
    dispatch(a.table.dtype, in_fours(a.y.cols, {&a.table, &a.pos, &a.y}), "embed_tokens", [&](auto tag, auto v) {
        launch<embed_kernel<decltype(tag), v>>(warp_per_row(a.y.rows), a);
    });
}
void embed_backward(const EmbedBwd& a) {
    scatter("embed_tokens", a.dy, a.ids, a.dtable);
    scatter("embed_tokens", a.dy, a.positions, a.dpos);
}

}  // namespace eng::cuda
