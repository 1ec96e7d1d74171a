// Layer norm   y = gamma (x - mean) rstd + beta                        per row
//              dx = rstd (g - mean(g) - xhat mean(g xhat)),  xhat = (x - mean) rstd,  g = dy gamma
//              dgamma = sum over rows of dy xhat,  dbeta = sum over rows of dy
// l2 norm      y = x / |x|,  dx = (dy - y (y.dy)) / |x|
//
// Work split   a warp per row, its lanes over the columns in vectors of four. A row is read again for each pass, from
//              L1 after the first. Backward of the model's widths (layer_norm_backward_kernel): a warp keeps its row in
//              registers and walks over rows of its block's chunk, adding up dgamma and dbeta on the way; the chunks' sums
//              are added by column_sums.h. Other widths: dx by one kernel, the parameters' sums by another.
// Traffic      forward reads x and writes y, backward reads dy and x and writes dx: 2 and 3 N C elements (4 to add, other widths 5),
//              about 8 and 20 FLOPs each: bound by memory.
// Numerics     f32 statistics; the variance takes a second pass over the row, never E[x^2]-E[x]^2, which cancels.
// Determinism  no atomics: a row has one warp, columns are summed in a fixed order.
// Limits       any width and number of rows; f32 and bf16; statistics are f32. A row of zeros has l2 norm y = 0.
#include <algorithm>

#include "ops/cuda/column_sums.h"

namespace eng::cuda {
namespace {

template <class T, int V> __global__ void __launch_bounds__(kWarps * 32) layer_norm_forward_kernel(LayerNormFwd a) {
    in_turn();
    const std::int64_t n = warp_row(), C = a.x.cols;
    if (n >= a.x.rows) return;
    const T* x = row<T>(a.x, n);
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
    const float rstd = rsqrtf(warp_sum(square) / float(C) + a.eps);
    for_columns<V>(C, [&](std::int64_t c) {
        const Vec<float, V> v = read<V>(x + c), gamma = read<V>(ptr<T>(a.gamma) + c), beta = read<V>(ptr<T>(a.beta) + c);
        Vec<float, V> y;
        for (int j = 0; j < V; ++j) y[j] = (v[j] - mean) * rstd * gamma[j] + beta[j];
        emit<V>(a.y, n * C + c, y);
    });
    if (lane() == 0) ptr<float>(a.mean)[n] = mean, ptr<float>(a.rstd)[n] = rstd;
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
constexpr int kRowWarps = 4;
template <class T, int K> __global__ void __launch_bounds__(kRowWarps * 32, sizeof(T) == 2 && K <= 6 ? 3 : 2) layer_norm_backward_kernel(LayerNormBwd a, float* partial) {
    in_turn();
    constexpr int C = K * 128;
    GPU_SHARED(part, float[kRowWarps][2][128]);
    const std::int64_t chunk = blockIdx.x, chunks = gridDim.x;
    const int warp = int(threadIdx.x / 32), at = lane() * 4;
    const bool add = a.dx.mode == Mode::accumulate;
    Vec<float, 4> dgamma[K] = {}, dbeta[K] = {};
    for (std::int64_t n = a.x.rows * chunk / chunks + warp; n < a.x.rows * (chunk + 1) / chunks; n += kRowWarps) {
        const float mean = ptr<float>(a.mean)[n], rstd = ptr<float>(a.rstd)[n];
        Vec<T, 4> x[K], dy[K], old[K];
#pragma unroll
        for (int k = 0; k < K; ++k) {
            x[k] = *reinterpret_cast<const Vec<T, 4>*>(row<T>(a.x, n) + k * 128 + at);
            dy[k] = *reinterpret_cast<const Vec<T, 4>*>(row<T>(a.dy, n) + k * 128 + at);
            if (add) old[k] = *reinterpret_cast<const Vec<T, 4>*>(row<T>(a.dx, n) + k * 128 + at);
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
        const float mean_g = warp_sum(sum_g) / float(C), mean_gx = warp_sum(sum_gx) / float(C);
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

template <class T, int V> __global__ void __launch_bounds__(kWarps * 32) l2_normalize_forward_kernel(L2NormalizeFwd a) {
    in_turn();
    const std::int64_t n = warp_row(), C = a.x.cols;
    if (n >= a.x.rows) return;
    float square = 0;
    for_columns<V>(C, [&](std::int64_t c) {
        const Vec<float, V> x = read<V>(row<T>(a.x, n) + c);
        for (int j = 0; j < V; ++j) square += x[j] * x[j];
    });
    square = warp_sum(square);
    const float r = square > 0 ? 1.f / sqrtf(square) : square == 0 ? 0.f : square;  // NaN stays NaN
    for_columns<V>(C, [&](std::int64_t c) {
        Vec<float, V> y = read<V>(row<T>(a.x, n) + c);
        for (int j = 0; j < V; ++j) y[j] *= r;
        emit<V>(a.y, n * C + c, y);
    });
    if (lane() == 0) ptr<float>(a.rnorm)[n] = r;
}

template <class T, int V> __global__ void __launch_bounds__(kWarps * 32) l2_normalize_backward_kernel(L2NormalizeBwd a) {
    in_turn();
    const std::int64_t n = warp_row(), C = a.y.cols;
    if (n >= a.y.rows) return;
    float along = 0;
    for_columns<V>(C, [&](std::int64_t c) {
        const Vec<float, V> y = read<V>(row<T>(a.y, n) + c), dy = read<V>(row<T>(a.dy, n) + c);
        for (int j = 0; j < V; ++j) along += y[j] * dy[j];
    });
    along = warp_sum(along);
    const float r = ptr<float>(a.rnorm)[n];
    for_columns<V>(C, [&](std::int64_t c) {
        const Vec<float, V> y = read<V>(row<T>(a.y, n) + c);
        Vec<float, V> dx = read<V>(row<T>(a.dy, n) + c);
        for (int j = 0; j < V; ++j) dx[j] = r * (dx[j] - y[j] * along);
        emit<V>(a.dx, n * C + c, dx);
    });
}

}  // namespace

void layer_norm_forward(const LayerNormFwd& a) {
    dispatch(a.x.dtype, in_fours(a.x.cols, {&a.x, &a.gamma, &a.beta, &a.y}), "layer_norm", [&](auto tag, auto v) {
        launch<layer_norm_forward_kernel<decltype(tag), v>>(warp_per_row(a.x.rows), a);
    });
}

// Whether the widths that keep a row in registers know this one; runs it then.
static bool layer_norm_backward_in_one_pass(const LayerNormBwd& a) {
    const std::int64_t N = a.x.rows, C = a.x.cols;
    if (!N || C % 128 || (a.dx.p && a.dx.dtype != a.x.dtype) || !in_fours(C, {&a.x, &a.dy, &a.gamma, &a.dx})) return false;
    const int chunks = int(std::min<std::int64_t>(ceil_div(N, 8 * kRowWarps), 396));  // three blocks for each of an H200's multiprocessors
    const Scratch partial(std::size_t(chunks) * 2 * std::size_t(C) * sizeof(float));
    const auto run = [&](auto k) {
        dispatch(a.x.dtype, "layer_norm", [&](auto tag) {
            launch<layer_norm_backward_kernel<decltype(tag), k>>({unsigned(chunks), kRowWarps * 32}, a, partial.as<float>());
        });
        return true;
    };
    bool known = false;
    switch (C / 128) {
        case 1: known = run(std::integral_constant<int, 1>{}); break;
        case 2: known = run(std::integral_constant<int, 2>{}); break;
        case 4: known = run(std::integral_constant<int, 4>{}); break;
        case 6: known = run(std::integral_constant<int, 6>{}); break;
        case 8: known = run(std::integral_constant<int, 8>{}); break;
    }
    if (!known) return false;
    add_chunks(partial.as<float>(), chunks, 2 * C, a.dgamma);
    add_chunks(partial.as<float>() + C, chunks, 2 * C, a.dbeta);
    return true;
}

void layer_norm_backward(const LayerNormBwd& a) {
    const std::int64_t N = a.x.rows, C = a.x.cols;
    if (layer_norm_backward_in_one_pass(a)) return;
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
    add_chunks(partial.as<float>(), chunks, 2 * C, a.dgamma);
    add_chunks(partial.as<float>() + C, chunks, 2 * C, a.dbeta);
}

void l2_normalize_forward(const L2NormalizeFwd& a) {
    dispatch(a.x.dtype, in_fours(a.x.cols, {&a.x, &a.y}), "l2_normalize", [&](auto tag, auto v) {
        launch<l2_normalize_forward_kernel<decltype(tag), v>>(warp_per_row(a.x.rows), a);
    });
}

void l2_normalize_backward(const L2NormalizeBwd& a) {
    if (a.dx.mode == Mode::skip) return;
    dispatch(a.y.dtype, in_fours(a.y.cols, {&a.y, &a.dy, &a.dx}), "l2_normalize", [&](auto tag, auto v) {
        launch<l2_normalize_backward_kernel<decltype(tag), v>>(warp_per_row(a.y.rows), a);
    });
}

}  // namespace eng::cuda
