// Attention for any head width, f32 and bf16, on the ordinary cores: the fallback beside the tensor-core kernels.
//
// Work split   a warp per row of one head, eight rows a block. Forward and dq: a row is a query, and keys pass by in tiles
//              of 32, one a lane. dk, dv: a row is a key, and queries pass by.
// Tiling       q row . k tile -> 32 scores, one a lane -> softmax over the warp -> each score, broadcast, times the v tile,
//              where a lane holds columns d, d + 32, ... of the sum.
// Traffic      4 nq nk D FLOP forward, 10 backward (scores twice); a block reads the other side's rows once.
// Numerics     f32 sums, online softmax; backward recomputes p = exp(s - lse).
// Determinism  a row has one owner (attention.h); sums run in the order of keys, queries and sequences.
// Registers    60 to 80, no spills.
// Limits       two tiles of 32 rows and four rows per warp of D floats must fit into shared memory: D <= 600 on Hopper.
#include <cmath>

#include "ops/cuda/attention.h"
#include "ops/cuda/chip.h"

namespace eng::cuda {
namespace {

constexpr int kRows = 8, kTile = 32, kThreads = kRows * 32;

// Shared memory: two tiles [32][pitch], then four rows of D for each warp. An odd pitch spreads 32 rows over 32 banks.
struct Layout {
    int D, pitch;
    float* base;
    PTX_INLINE float* tile(int which) const { return base + which * kTile * pitch; }
    PTX_INLINE float* mine(int which) const { return base + 2 * kTile * pitch + (threadIdx.x / 32 * 4 + which) * D; }
    PTX_INLINE static Layout of(int D, float* base) { return {D, D | 1, base}; }
    static std::size_t bytes(int D) { return std::size_t(2 * kTile * (D | 1) + kRows * 4 * D) * sizeof(float); }
};

// Rows first.. of a head into a tile; rows past `rows` are not read, and nobody looks at them.
template <class T>
PTX_INLINE void load_tile(float* tile, const View& v, int first, int rows, int col, const Layout& l) {
    for (int i = threadIdx.x; i < kTile * l.D; i += kThreads) {
        const int r = i / l.D, d = i % l.D;
        if (r < rows) tile[r * l.pitch + d] = float(row<T>(v, first + r)[col + d]);
    }
}
template <class T>
PTX_INLINE void load_row(float* to, const View& v, int r, int col, int D) {
    for (int d = lane(); d < D; d += 32) to[d] = float(row<T>(v, r)[col + d]);
}
PTX_INLINE void fill(float* to, float v, int D) {
    for (int d = lane(); d < D; d += 32) to[d] = v;
}
PTX_INLINE float dot(const float* x, const float* y, int D) {
    float s = 0;
    for (int d = 0; d < D; ++d) s += x[d] * y[d];
    return s;
}
// acc[d] += sum over the tile's rows j of w_j tile[j][d], w_j in lane j
PTX_INLINE void add_rows(float* acc, float w, const float* tile, int rows, const Layout& l) {
    for (int j = 0; j < rows; ++j) {
        const float x = __shfl_sync(kAllLanes, w, j);
        for (int d = lane(); d < l.D; d += 32) acc[d] += x * tile[j * l.pitch + d];
    }
}
PTX_INLINE void put(const Out& o, std::int64_t r, int col, const float* acc, float scale, int D) {
    for (int d = lane(); d < D; d += 32) emit(o, r * o.pitch + col + d, acc[d] * scale);
}

template <class T>
__global__ __launch_bounds__(kThreads, 1) void forward_any_kernel(AttentionFwd a) {
    in_turn();
    GPU_DYN_SHARED(float, base);
    const Layout l = Layout::of(int(a.q.cols) / a.heads, base);
    const Place at = place_of<kRows>(blockIdx.x, a.heads, a.seqs.max_q);
    const Seq s = seq_at(a.seqs, at.b);
    const int i = at.tile * kRows + threadIdx.x / 32, col = at.head * l.D;
    if (at.tile * kRows >= s.nq) return;
    const bool live = i < s.nq;
    float *q = l.mine(0), *acc = l.mine(1);
    if (live) load_row<T>(q, a.q, s.q + i, col, l.D);
    fill(acc, 0, l.D);
    float top = -INFINITY, sum = 0;
    for (int k0 = 0; k0 < s.nk; k0 += kTile) {
        const int keys = min(kTile, s.nk - k0);
        load_tile<T>(l.tile(0), a.k, s.k + k0, keys, col, l);
        load_tile<T>(l.tile(1), a.v, s.k + k0, keys, col, l);
        __syncthreads();  // keys and values of the tile are there, and the row of q
        const bool sees = live && lane() < keys && !(a.causal && k0 + lane() > i);
        const float x = sees ? dot(q, l.tile(0) + lane() * l.pitch, l.D) * float(a.scale) : -INFINITY;
        const float high = fmaxf(top, warp_max(x));
        if (high > -INFINITY) {  // some key of the tile is in sight
            const float p = expf(x - high), shrink = expf(top - high);
            sum = sum * shrink + warp_sum(p), top = high;
            for (int d = lane(); d < l.D; d += 32) acc[d] *= shrink;
            add_rows(acc, p, l.tile(1), keys, l);
        }
        __syncthreads();  // the tile is used up: the next one overwrites it
    }
    if (!live) return;
    put(a.y, s.o + i, col, acc, 1 / sum, l.D);
    if (lane() == 0) ptr<float>(a.lse)[std::int64_t(s.o + i) * a.heads + at.head] = top + logf(sum);
}

template <class T>
__global__ __launch_bounds__(kThreads, 1) void dq_any_kernel(AttentionBwd a, const float* delta) {
    in_turn();
    GPU_DYN_SHARED(float, base);
    const Layout l = Layout::of(int(a.q.cols) / a.heads, base);
    const Place at = place_of<kRows>(blockIdx.x, a.heads, a.seqs.shared ? int(a.q.rows) : a.seqs.max_q);
    const Owner own = owner_of<kRows>(a.seqs, false, a.q.rows, at.tile, at.b);
    if (own.rows <= 0) return;
    const int r = own.first + threadIdx.x / 32, col = at.head * l.D;
    const bool mine = int(threadIdx.x / 32) < own.rows;
    float *q = l.mine(0), *dy = l.mine(1), *acc = l.mine(2);
    if (mine) load_row<T>(q, a.q, r, col, l.D);
    fill(acc, 0, l.D);
    for_owned<kRows, kThreads>(a.seqs, false, own, [&](const Seq& s) {
        const int i = r - s.q;
        const bool live = mine && i >= 0 && i < s.nq;
        float lse = 0, del = 0;
        if (live) {  // the previous sequence's dy was read before its last barrier
            load_row<T>(dy, a.dy, s.o + i, col, l.D);
            lse = ptr<float>(a.lse)[std::int64_t(s.o + i) * a.heads + at.head];
            del = delta[std::int64_t(s.o + i) * a.heads + at.head];
        }
        for (int k0 = 0; k0 < s.nk; k0 += kTile) {
            const int keys = min(kTile, s.nk - k0);
            load_tile<T>(l.tile(0), a.k, s.k + k0, keys, col, l);
            load_tile<T>(l.tile(1), a.v, s.k + k0, keys, col, l);
            __syncthreads();  // keys, values and the rows of q and dy are there
            float ds = 0;
            if (live && lane() < keys && !(a.causal && k0 + lane() > i)) {
                const float p = expf(dot(q, l.tile(0) + lane() * l.pitch, l.D) * float(a.scale) - lse);
                ds = p * (dot(dy, l.tile(1) + lane() * l.pitch, l.D) - del);
            }
            if (live) add_rows(acc, ds, l.tile(0), keys, l);
            __syncthreads();  // the tile is used up: the next one overwrites it
        }
    });
    if (mine) put(a.dq, r, col, acc, float(a.scale), l.D);
}

template <class T>
__global__ __launch_bounds__(kThreads, 1) void dkdv_any_kernel(AttentionBwd a, const float* delta) {
    in_turn();
    GPU_DYN_SHARED(float, base);
    const Layout l = Layout::of(int(a.q.cols) / a.heads, base);
    const Place at = place_of<kRows>(blockIdx.x, a.heads, a.seqs.shared ? int(a.k.rows) : a.seqs.max_k);
    const Owner own = owner_of<kRows>(a.seqs, true, a.k.rows, at.tile, at.b);
    if (own.rows <= 0) return;
    const int r = own.first + threadIdx.x / 32, col = at.head * l.D;
    const bool mine = int(threadIdx.x / 32) < own.rows;
    float *k = l.mine(0), *v = l.mine(1), *dk = l.mine(2), *dv = l.mine(3);
    if (mine) load_row<T>(k, a.k, r, col, l.D), load_row<T>(v, a.v, r, col, l.D);
    fill(dk, 0, l.D), fill(dv, 0, l.D);
    for_owned<kRows, kThreads>(a.seqs, true, own, [&](const Seq& s) {
        const int j = r - s.k;
        const bool live = mine && j >= 0 && j < s.nk;
        for (int q0 = 0; q0 < s.nq; q0 += kTile) {
            const int queries = min(kTile, s.nq - q0);
            load_tile<T>(l.tile(0), a.q, s.q + q0, queries, col, l);
            load_tile<T>(l.tile(1), a.dy, s.o + q0, queries, col, l);
            __syncthreads();  // queries, dy and the rows of k and v are there
            float p = 0, ds = 0;
            if (live && lane() < queries && !(a.causal && j > q0 + lane())) {
                const std::int64_t o = std::int64_t(s.o + q0 + lane()) * a.heads + at.head;
                p = expf(dot(k, l.tile(0) + lane() * l.pitch, l.D) * float(a.scale) - ptr<float>(a.lse)[o]);
                ds = p * (dot(v, l.tile(1) + lane() * l.pitch, l.D) - delta[o]);
            }
            if (live) add_rows(dk, ds, l.tile(0), queries, l), add_rows(dv, p, l.tile(1), queries, l);
            __syncthreads();  // the tile is used up: the next one overwrites it
        }
    });
    if (mine) put(a.dk, r, col, dk, float(a.scale), l.D), put(a.dv, r, col, dv, 1, l.D);
}

std::size_t smem_of(const View& q, int heads) {
    const int D = int(q.cols / heads);
    ENG_CHECK(Layout::bytes(D) + 1024 <= chip().smem, "attention", "heads of ", D, " columns need ", Layout::bytes(D),
              " bytes of shared memory; a block has ", chip().smem);
    return Layout::bytes(D);
}

}  // namespace

void attention_any(const AttentionFwd& a) {
    const unsigned blocks = unsigned(ceil_div(a.seqs.max_q, kRows) * a.seqs.q_begin.numel() * a.heads);
    dispatch(a.q.dtype, "attention", [&](auto tag) {
        launch<forward_any_kernel<decltype(tag)>>({dim3(blocks), dim3(kThreads), smem_of(a.q, a.heads)}, a);
    });
}

void attention_any(const AttentionBwd& a) {
    const Scratch delta(std::size_t(a.y.rows) * a.heads * sizeof(float));
    attention_delta(a, delta.as<float>());
    const unsigned q = unsigned(owners<kRows>(a.seqs, a.q.rows, a.seqs.max_q) * a.heads);
    const unsigned k = unsigned(owners<kRows>(a.seqs, a.k.rows, a.seqs.max_k) * a.heads);
    dispatch(a.q.dtype, "attention", [&](auto tag) {
        const Launch at{dim3(q), dim3(kThreads), smem_of(a.q, a.heads)};
        if (a.dq.mode != Mode::skip) launch<dq_any_kernel<decltype(tag)>>(at, a, delta.as<float>());
        if (a.dk.mode != Mode::skip || a.dv.mode != Mode::skip)
            launch<dkdv_any_kernel<decltype(tag)>>({dim3(k), dim3(kThreads), at.smem}, a, delta.as<float>());
    });
}

}  // namespace eng::cuda
