// Rows by index: gather (CLS and EOS tokens, top-k tokens, pairs), its transpose, token embedding and its gradient.
//
// Work split   forward: a warp per output row. Backward: a block per *index* n, whose warps split the columns. Each warp
//              looks through all indices for those that name the same row. If the first of them is not n, somebody else
//              owns the row and the warp leaves; else it adds all of theirs.
//                   idx:  4 0 0 2 | 4 4 . .     n = 0: finds 0, 4, 5 -> adds dy[0], dy[4], dy[5];  n = 4: finds 0 -> leaves
// Traffic      forward moves each row once. Backward reads each dy row once and each named row of dx at most once, writes it
//              once, after clearing dx where it does not accumulate. An index that is the first of its kind reads all n
//              indices (from L1, once per 128 columns), the others those up to the first of theirs: where tens of thousands
//              all differ that is the most of it, and what names every row by a formula has kernels of its own (drop_class).
// Latency      a row that is named often is one warp's sum per 128 columns: 12 loads are under way at a time.
// Numerics     sums of repeated rows are kept in f32 and rounded once.
// Determinism  no atomics; rows are added in the order of n.
// Limits       fewer than 2^30 indices; f32 and bf16. An index outside the table gives a row of NaN and takes no gradient; no memory
//              outside is touched.
#include "ops/cuda/kernel.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = kWarps * 32;
constexpr int kScan = 4;           // indices that a lane compares at once
constexpr int kFlight = 12;        // rows whose loads are under way at once, at most
constexpr unsigned kPlaces = 256;  // of a warp's ring of found rows: 32 * kScan new ones, fewer than kFlight old ones
static_assert(32 * kScan + kFlight <= kPlaces);

__device__ __forceinline__ int index_at(const View& idx, std::int64_t n) { return ptr<std::int32_t>(idx)[n]; }

// A row of the table, or NaN.
template <class T, int V> __device__ __forceinline__ Vec<float, V> table_row(const View& table, int i, std::int64_t c) {
    if (i >= 0 && i < table.rows) return read<V>(row<T>(table, i) + c);
    Vec<float, V> nan;
    for (int j = 0; j < V; ++j) nan[j] = __int_as_float(0x7fffffff);
    return nan;
}

template <class T, int V> __global__ void __launch_bounds__(kThreads) gather_rows_kernel(GatherRowsArgs a) {
    in_turn();
    const std::int64_t n = warp_row();
    if (n >= a.y.rows) return;
    const int i = index_at(a.idx, n);
    for_columns<V>(a.x.cols, [&](std::int64_t c) { emit<V>(a.y, n * a.x.cols + c, table_row<T, V>(a.x, i, c)); });
}

template <class T, int V> __global__ void __launch_bounds__(kThreads) embed_kernel(EmbedFwd a) {
    in_turn();
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

// sum += the `rows` <= Flight rows of dy that `ring` lists from place `first` on: all loads, then the additions in order.
template <class T, int Flight, int V>
__device__ __forceinline__ void add_rows(float (&sum)[V], const View& dy, std::int64_t c, const int* ring, unsigned first, unsigned rows) {
    Vec<T, V> g[Flight];
#pragma unroll
    for (unsigned k = 0; k < Flight; ++k)
        if (k < rows) g[k] = *reinterpret_cast<const Vec<T, V>*>(row<T>(dy, ring[(first + k) % kPlaces]) + c);
#pragma unroll
    for (unsigned k = 0; k < Flight; ++k)
        if (k < rows)
            for (int j = 0; j < V; ++j) sum[j] += float(g[k][j]);
}

// dx[r] (+)= the sum of dy[m] over the m with idx[m] = r, where r = idx[n] and n is the first of these m.
template <class T, int V> __global__ void __launch_bounds__(kThreads, 3) scatter_kernel(View dy, View idx, Out dx) {
    in_turn();
    constexpr unsigned flight = std::min(kFlight, int(128 / sizeof(Vec<T, V>)));  // 32 registers
    GPU_SHARED(rings, int[kWarps][kPlaces]);
    int* ring = rings[threadIdx.x / 32];
    const int n = int(blockIdx.x), count = int(dy.rows), r = index_at(idx, n);
    const std::int64_t c = (std::int64_t(blockIdx.y) * blockDim.x + threadIdx.x) * V;
    if (r < 0 || r >= dx.rows) return;
    float sum[V] = {};
    unsigned found = 0, added = 0;
    for (int first = 0; first < count; first += 32 * kScan) {
        const int m = first + lane();
        const std::int32_t* at = ptr<std::int32_t>(idx) + m;
        bool equal[kScan], any = false;
#pragma unroll
        for (int j = 0; j < kScan; ++j) {
            equal[j] = j * 32 < count - m && at[j * 32] == r;
            any |= equal[j];
        }
        if (!__any_sync(kAllLanes, any)) continue;
        const bool fresh = found == 0;
        __syncwarp();  // the rows listed before have been read
#pragma unroll
        for (int j = 0; j < kScan; ++j) {
            const unsigned hits = __ballot_sync(kAllLanes, equal[j]);
            if (equal[j]) ring[(found + __popc(hits & ((1u << lane()) - 1))) % kPlaces] = m + j * 32;
            found += __popc(hits);
        }
        __syncwarp();  // the list is complete
        if (fresh && ring[0] != n) return;
        for (; found - added >= flight; added += flight)
            if (c < dx.cols) add_rows<T, flight>(sum, dy, c, ring, added, flight);
    }
    if (c >= dx.cols) return;
    add_rows<T, flight>(sum, dy, c, ring, added, found - added);
    Vec<float, V> v;
    for (int j = 0; j < V; ++j) v[j] = sum[j];
    emit<V>(dx, r * dx.cols + c, v);
}

void scatter(const char* where, const View& dy, const View& idx, const Out& dx) {
    if (dx.mode == Mode::skip) return;
    ENG_CHECK(dy.rows < 1 << 30, where, "more than 2^30 indices: ", dy.rows);
    if (dx.mode == Mode::write) CUDA_CHECK(cudaMemsetAsync(dx.p, 0, std::size_t(dx.numel()) * size_of(dx.dtype), stream()));
    dispatch(dy.dtype, in_fours(dx.cols, {&dy, &dx}), where, [&](auto tag, auto v) {
        const unsigned warps = std::min(ceil_div(dx.cols, 32 * v), unsigned(kWarps));
        launch<scatter_kernel<decltype(tag), v>>({{unsigned(dy.rows), ceil_div(dx.cols, 32 * v * warps)}, 32 * warps}, dy, idx, dx);
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
