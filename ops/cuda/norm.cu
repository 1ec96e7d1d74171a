// Layer norm   y = gamma (x - mean) rstd + beta                        per row
//              dx = rstd (g - mean(g) - xhat mean(g xhat)),  xhat = (x - mean) rstd,  g = dy gamma
//              dgamma = sum over rows of dy xhat,  dbeta = sum over rows of dy
// with a max   y[b,c] = max over the rows of segment b of layer norm; dy belongs to the rows that reached it
//
// Work split   a warp per row, its lanes over the columns in vectors of four; rows of the model's widths are kept in registers, others
//              read again for each pass, from L1 after the first. Backward of the model's widths (layer_norm_backward_kernel): a warp
//              walks over rows of its block's chunk, adding up dgamma and dbeta on the way; the chunks' sums are added by
//              column_sums.h. Other widths: dx by one kernel, the parameters' sums by another.
//              With a max: a block per segment, each warp a stretch of its rows, the largest so far in registers beside the
//              numbers of their rows; backward is the one-pass kernel, which makes dy of the segment's, asked from L1. Other
//              widths: statistics of the rows, then a thread per column; backward spreads dy over the rows and is layer norm's.
// Traffic      forward reads x and writes y, backward reads dy and x and writes dx: 2 and 3 N C elements (4 to add, other widths 5),
//              about 8 and 20 FLOPs each: bound by memory. With a max forward only reads x, backward reads x and writes dx.
// Numerics     f32 statistics; the variance takes a second pass over the row, never E[x^2]-E[x]^2, which cancels.
// Determinism  no atomics: a row has one warp, columns are summed in a fixed order.
// Limits       any width and number of rows; f32 and bf16; statistics are f32.
#include <algorithm>

#include "ops/cuda/column_sums.h"

namespace eng::cuda {
namespace {

struct Stats { float mean, rstd; };
// Of a warp's row; in every lane.
template <int V, class T> __device__ __forceinline__ Stats stats_of(const T* x, std::int64_t C, float eps) {
    float sum = 0, square = 0;
    for_columns<V>(C, [&](std::int64_t c) {
        const Vec<float, V> v = read<V>(x + c);
        for (int j = 0; j < V; ++j) sum += v[j];
    });
    const float mean = warp_sum(sum) / float(C);
    for_columns<V>(C, [&](std::int64_t c) {
        const Vec<float, V> v = read<V>(x + c);
        for (int j = 0; j < V; ++j) square += (v[j] - mean) * (v[j] - mean);
    });
    return {mean, rsqrtf(warp_sum(square) / float(C) + eps)};
}

template <class T, int V> __global__ void __launch_bounds__(kWarps * 32) layer_norm_forward_kernel(LayerNormFwd a) {
    in_turn();
    const std::int64_t n = warp_row(), C = a.x.cols;
    if (n >= a.x.rows) return;
    const T* x = row<T>(a.x, n);
    const auto [mean, rstd] = stats_of<V>(x, C, a.eps);
    for_columns<V>(C, [&](std::int64_t c) {
        const Vec<float, V> v = read<V>(x + c), gamma = read<V>(ptr<T>(a.gamma) + c), beta = read<V>(ptr<T>(a.beta) + c);
        Vec<float, V> y;
        for (int j = 0; j < V; ++j) y[j] = (v[j] - mean) * rstd * gamma[j] + beta[j];
        emit<V>(a.y, n * C + c, y);
    });
    if (lane() == 0) ptr<float>(a.mean)[n] = mean, ptr<float>(a.rstd)[n] = rstd;
}

// A row of K x 128 columns in a warp's registers, all of it asked for at once: this lane has four neighbours of each 128, less the mean.
template <class T, int K> struct Row {
    Vec<float, 4> x[K];
    float mean, rstd;
    __device__ __forceinline__ Row(const T* row, float eps) {
        constexpr float share = 1.f / (K * 128);
        float sum = 0, square = 0;
#pragma unroll
        for (int k = 0; k < K; ++k) x[k] = read<4>(row + k * 128 + lane() * 4);
#pragma unroll
        for (int k = 0; k < K; ++k)
            for (int j = 0; j < 4; ++j) sum += x[k][j];
        mean = warp_sum(sum) * share;
#pragma unroll
        for (int k = 0; k < K; ++k)
            for (int j = 0; j < 4; ++j) x[k][j] -= mean, square += x[k][j] * x[k][j];
        rstd = rsqrtf(warp_sum(square) * share + eps);
    }
};

template <class T, int K> __global__ void __launch_bounds__(kWarps * 32) layer_norm_row_kernel(LayerNormFwd a) {
    in_turn();
    const std::int64_t n = warp_row();
    if (n >= a.x.rows) return;
    Row<T, K> of(row<T>(a.x, n), a.eps);
    const int c = lane() * 4;
#pragma unroll
    for (int k = 0; k < K; ++k) {  // all of gamma and beta is asked for before the first store
        const Vec<float, 4> gamma = read<4>(ptr<T>(a.gamma) + k * 128 + c), beta = read<4>(ptr<T>(a.beta) + k * 128 + c);
        for (int j = 0; j < 4; ++j) of.x[k][j] = of.x[k][j] * of.rstd * gamma[j] + beta[j];
    }
    if (a.y.mode == Mode::write && a.y.dtype == a.x.dtype) {
#pragma unroll
        for (int k = 0; k < K; ++k) write<T, 4>(ptr<T>(a.y) + n * K * 128 + k * 128 + c, false, of.x[k]);
    } else {
#pragma unroll
        for (int k = 0; k < K; ++k) emit<4>(a.y, n * K * 128 + k * 128 + c, of.x[k]);
    }
    if (lane() == 0) ptr<float>(a.mean)[n] = of.mean, ptr<float>(a.rstd)[n] = of.rstd;
}

template <class T, int K> __global__ void __launch_bounds__(kWarps * 32, K <= 6 ? 2 : 1) layer_norm_max_kernel(LayerNormMaxFwd a) {
    in_turn();
    constexpr int C = K * 128;
    GPU_SHARED(most, float[kWarps][128]);
    GPU_SHARED(where, int[kWarps][128]);
    const int rows = int(a.x.rows / a.y.rows), first = int(blockIdx.x) * rows, warp = int(threadIdx.x) / 32, col = lane() * 4;
    Vec<float, 4> best[K];
    Vec<int, 4> at[K];
    for (int k = 0; k < K; ++k)
        for (int j = 0; j < 4; ++j) best[k][j] = -INFINITY, at[k][j] = first + rows * warp / kWarps;
    for (int n = first + rows * warp / kWarps; n < first + rows * (warp + 1) / kWarps; ++n) {
        const Row<T, K> of(row<T>(a.x, n), a.eps);
        for (int k = 0; k < K; ++k) {
            const Vec<float, 4> gamma = read<4>(ptr<T>(a.gamma) + k * 128 + col), beta = read<4>(ptr<T>(a.beta) + k * 128 + col);
            for (int j = 0; j < 4; ++j) {
                const float v = of.x[k][j] * of.rstd * gamma[j] + beta[j];
                if (beats(v, best[k][j])) best[k][j] = v, at[k][j] = n;
            }
        }
        if (lane() == 0) ptr<float>(a.mean)[n] = of.mean, ptr<float>(a.rstd)[n] = of.rstd;
    }
    for (int k = 0; k < K; ++k) {  // 128 columns at a time, warps in order
        for (int j = 0; j < 4; ++j) most[warp][col + j] = best[k][j], where[warp][col + j] = at[k][j];
        __syncthreads();  // every warp has left its maxima
        if (const int c = int(threadIdx.x); c < 128) {
            int w = 0;
            for (int other = 1; other < kWarps; ++other)
                if (beats(most[other][c], most[w][c])) w = other;
            emit(a.y, std::int64_t(blockIdx.x) * C + k * 128 + c, most[w][c]);
            row<std::int32_t>(a.argmax, blockIdx.x)[k * 128 + c] = where[w][c];
        }
        __syncthreads();  // they are read: the next columns overwrite them
    }
}

template <class T> __global__ void __launch_bounds__(kWarps * 32) layer_norm_max_any_kernel(LayerNormMaxFwd a) {
    in_turn();
    const std::int64_t C = a.x.cols, rows = a.x.rows / a.y.rows, first = blockIdx.x * rows;
    float *mean = ptr<float>(a.mean), *rstd = ptr<float>(a.rstd);
    for (std::int64_t n = first + threadIdx.x / 32; n < first + rows; n += kWarps) {
        const Stats s = stats_of<1>(row<T>(a.x, n), C, a.eps);
        if (lane() == 0) mean[n] = s.mean, rstd[n] = s.rstd;
    }
    __syncthreads();  // the statistics of every row are there
    for (std::int64_t c = threadIdx.x; c < C; c += kWarps * 32) {
        const float gamma = float(ptr<T>(a.gamma)[c]), beta = float(ptr<T>(a.beta)[c]);
        float best = -INFINITY;
        std::int64_t at = first;
        for (std::int64_t n = first; n < first + rows; ++n) {
            const float v = (float(row<T>(a.x, n)[c]) - mean[n]) * rstd[n] * gamma + beta;
            if (beats(v, best)) best = v, at = n;
        }
        emit(a.y, blockIdx.x * C + c, best);
        row<std::int32_t>(a.argmax, blockIdx.x)[c] = std::int32_t(at);
    }
}

template <class T, int V> __global__ void __launch_bounds__(kWarps * 32) layer_norm_dx_kernel(LayerNormBwd a) {
    in_turn();
    const std::int64_t n = warp_row(), C = a.x.cols;
    if (n >= a.x.rows) return;
    const float mean = ptr<float>(a.mean)[n], rstd = ptr<float>(a.rstd)[n];
    float sum_g = 0, sum_gx = 0;
    const auto each = [&](auto&& use) {  // use(c, xhat, g) for this lane's vectors
        for_columns<V>(C, [&](std::int64_t c) {
            Vec<float, V> xhat = read<V>(row<T>(a.x, n) + c), g = read<V>(row<T>(a.dy, n) + c);
            const Vec<float, V> gamma = read<V>(ptr<T>(a.gamma) + c);
            for (int j = 0; j < V; ++j) xhat[j] = (xhat[j] - mean) * rstd, g[j] *= gamma[j];
            use(c, xhat, g);
        });
    };
    each([&](std::int64_t, const Vec<float, V>& xhat, const Vec<float, V>& g) {
        for (int j = 0; j < V; ++j) sum_g += g[j], sum_gx += g[j] * xhat[j];
    });
    const float mean_g = warp_sum(sum_g) / float(C), mean_gx = warp_sum(sum_gx) / float(C);
    each([&](std::int64_t c, const Vec<float, V>& xhat, const Vec<float, V>& g) {
        Vec<float, V> dx;
        for (int j = 0; j < V; ++j) dx[j] = rstd * (g[j] - mean_g - xhat[j] * mean_gx);
        emit<V>(a.dx, n * C + c, dx);
    });
}

// Rows of K x 128 columns. partial [gridDim.x][2][C]: this block's sums of dgamma and dbeta. All that a row needs, with the gradient
// that is added to, is asked for at once, and kept as it is stored: as f32 it left registers for 8 warps a multiprocessor, which have
// too little under way for memory's latency (12 rows of 4.6 KB are 7 MB on all of them; 4.3 TB/s times 0.7 us are 3).
// Max: dy is a segment's, and belongs to the rows that `argmax` names.
constexpr int kRowWarps = 4;
template <class T, int K, bool Max> __global__ void __launch_bounds__(kRowWarps * 32, sizeof(T) == 2 && K <= 6 ? 3 : 2) layer_norm_backward_kernel(LayerNormBwd a, View argmax, float* partial) {
    in_turn();
    constexpr int C = K * 128;
    const int rows = Max ? int(a.x.rows / argmax.rows) : 1;
    GPU_SHARED(part, float[kRowWarps][2][128]);
    const std::int64_t chunk = blockIdx.x, chunks = gridDim.x;
    const int warp = int(threadIdx.x / 32), at = lane() * 4;
    const bool add = a.dx.mode == Mode::accumulate;
    Vec<float, 4> dgamma[K] = {}, dbeta[K] = {};
    const std::int64_t end = a.x.rows * (chunk + 1) / chunks;
    for (std::int64_t n = a.x.rows * chunk / chunks + warp; n < end; n += kRowWarps) {
        const float mean = ptr<float>(a.mean)[n], rstd = ptr<float>(a.rstd)[n];
        const std::int64_t of = Max ? int(n) / rows : n;  // the row of dy
        Vec<T, 4> x[K], dy[K], old[K];
#pragma unroll
        for (int k = 0; k < K; ++k) {
            x[k] = *reinterpret_cast<const Vec<T, 4>*>(row<T>(a.x, n) + k * 128 + at);
            dy[k] = *reinterpret_cast<const Vec<T, 4>*>(row<T>(a.dy, of) + k * 128 + at);
            if (add) old[k] = *reinterpret_cast<const Vec<T, 4>*>(row<T>(a.dx, n) + k * 128 + at);
        }
        if constexpr (Max)
            for (int k = 0; k < K; ++k) {
                const Vec<int, 4> winner = *reinterpret_cast<const Vec<int, 4>*>(row<int>(argmax, of) + k * 128 + at);
                for (int j = 0; j < 4; ++j)
                    if (winner[j] != n) dy[k][j] = T(0.f);
            }
        const auto each = [&](auto&& use) {  // use(k, j, xhat, dy, g)
#pragma unroll
            for (int k = 0; k < K; ++k) {
                const Vec<float, 4> gamma = read<4>(ptr<T>(a.gamma) + k * 128 + at);
                for (int j = 0; j < 4; ++j) use(k, j, (float(x[k][j]) - mean) * rstd, float(dy[k][j]), float(dy[k][j]) * gamma[j]);
            }
        };
        float sum_g = 0, sum_gx = 0;
        each([&](int k, int j, float xhat, float d, float g) {
            dgamma[k][j] += d * xhat, dbeta[k][j] += d;
            sum_g += g, sum_gx += g * xhat;
        });
        if (a.dx.mode == Mode::skip) continue;
        const float mean_g = warp_sum(sum_g) * (1.f / C), mean_gx = warp_sum(sum_gx) * (1.f / C);
        each([&](int k, int j, float xhat, float, float g) {
            const float dx = rstd * (g - mean_g - xhat * mean_gx);
            dy[k][j] = T(add ? dx + float(old[k][j]) : dx);
        });
#pragma unroll
        for (int k = 0; k < K; ++k) *reinterpret_cast<Vec<T, 4>*>(row<T>(a.dx, n) + k * 128 + at) = dy[k];
    }
    for (int k = 0; k < K; ++k) {  // 128 columns at a time, warps in order
        for (int j = 0; j < 4; ++j) part[warp][0][at + j] = dgamma[k][j], part[warp][1][at + j] = dbeta[k][j];
        __syncthreads();  // every warp has left its sums
        for (int which = 0; which < 2; ++which) {
            float total = 0;
            for (int w = 0; w < kRowWarps; ++w) total += part[w][which][threadIdx.x];
            partial[(chunk * 2 + which) * C + k * 128 + threadIdx.x] = total;
        }
        __syncthreads();  // the sums are read: the next columns overwrite them
    }
}

template <class T> __global__ void __launch_bounds__(kColumns * kRowLanes) layer_norm_affine_kernel(LayerNormBwd a, float* partial) {
    in_turn();
    sum_chunk<2>(a.x.rows, a.x.cols, partial, [&](std::int64_t n, std::int64_t c, float (&s)[2]) {
        const float dy = float(row<T>(a.dy, n)[c]);
        s[0] += dy * (float(row<T>(a.x, n)[c]) - ptr<float>(a.mean)[n]) * ptr<float>(a.rstd)[n];
        s[1] += dy;
    });
}

}  // namespace

// run(K) for the widths K 128 whose rows are kept in registers; false for others.
template <class Run> static bool with_row_in_registers(std::int64_t cols, Run&& run) {
    if (cols % 128) return false;
    switch (cols / 128) {
        case 1: return run(std::integral_constant<int, 1>{}), true;
        case 2: return run(std::integral_constant<int, 2>{}), true;
        case 4: return run(std::integral_constant<int, 4>{}), true;
        case 6: return run(std::integral_constant<int, 6>{}), true;
        case 8: return run(std::integral_constant<int, 8>{}), true;
    }
    return false;
}

void layer_norm_forward(const LayerNormFwd& a) {
    dispatch(a.x.dtype, in_fours(a.x.cols, {&a.x, &a.gamma, &a.beta, &a.y}), "layer_norm", [&](auto tag, auto v) {
        using T = decltype(tag);
        const bool known = v == 4 && with_row_in_registers(a.x.cols, [&](auto k) { launch<layer_norm_row_kernel<T, k>>(warp_per_row(a.x.rows), a); });
        if (!known) launch<layer_norm_forward_kernel<T, v>>(warp_per_row(a.x.rows), a);
    });
}

template <bool Max> static bool layer_norm_backward_in_one_pass(const LayerNormBwd& a, const View& argmax) {
    const std::int64_t N = a.x.rows, C = a.x.cols;
    if (!N || (a.dx.p && a.dx.dtype != a.x.dtype) || !in_fours(C, {&a.x, &a.dy, &a.gamma, &a.dx, &argmax})) return false;
    return with_row_in_registers(C, [&](auto k) {
        const int chunks = int(std::min<std::int64_t>(ceil_div(N, 8 * kRowWarps), 396));  // three blocks for each of an H200's multiprocessors
        const Scratch partial(std::size_t(chunks) * 2 * std::size_t(C) * sizeof(float));
        dispatch(a.x.dtype, "layer_norm", [&](auto tag) {
            launch<layer_norm_backward_kernel<decltype(tag), k, Max>>({unsigned(chunks), kRowWarps * 32}, a, argmax, partial.as<float>());
        });
        add_chunks(partial.as<float>(), chunks, C, a.dgamma, a.dbeta);
    });
}

void layer_norm_backward(const LayerNormBwd& a) {
    const std::int64_t N = a.x.rows, C = a.x.cols;
    if (layer_norm_backward_in_one_pass<false>(a, {})) return;
    if (a.dx.mode != Mode::skip)
        dispatch(a.x.dtype, in_fours(C, {&a.x, &a.dy, &a.gamma, &a.dx}), "layer_norm", [&](auto tag, auto v) {
            launch<layer_norm_dx_kernel<decltype(tag), v>>(warp_per_row(N), a);
        });
    if (a.dgamma.mode == Mode::skip && a.dbeta.mode == Mode::skip) return;
    const int chunks = row_chunks(N);
    const Scratch partial(std::size_t(chunks) * 2 * std::size_t(C) * sizeof(float));
    dispatch(a.x.dtype, "layer_norm", [&](auto tag) {
        launch<layer_norm_affine_kernel<decltype(tag)>>(chunk_grid(N, C), a, partial.as<float>());
    });
    add_chunks(partial.as<float>(), chunks, C, a.dgamma, a.dbeta);
}

void layer_norm_max_forward(const LayerNormMaxFwd& a) {
    const Launch segments{unsigned(a.y.rows), kWarps * 32};
    dispatch(a.x.dtype, "layer_norm_max", [&](auto tag) {
        using T = decltype(tag);
        const bool known = in_fours(a.x.cols, {&a.x, &a.gamma, &a.beta}) && with_row_in_registers(a.x.cols, [&](auto k) { launch<layer_norm_max_kernel<T, k>>(segments, a); });
        if (!known) launch<layer_norm_max_any_kernel<T>>(segments, a);
    });
}

void layer_norm_max_backward(const LayerNormMaxBwd& a) {
    if (layer_norm_backward_in_one_pass<true>(a.norm, a.argmax)) return;
    const Scratch spread(std::size_t(a.norm.x.numel()) * size_of(a.norm.x.dtype));
    LayerNormBwd norm = a.norm;
    norm.dy = {spread.as<void>(), a.norm.x.dtype, a.norm.x.rows, a.norm.x.cols, a.norm.x.cols};
    segment_max_backward({a.norm.dy, a.argmax, {norm.dy, Mode::write}});
    layer_norm_backward(norm);
}

}  // namespace eng::cuda
