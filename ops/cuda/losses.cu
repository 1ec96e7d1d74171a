// Losses over rows of scores, one number per row.
//
//   softmax_xent   loss = lse - x[target],  dx[c] = dloss (p[c] - [c = target])                        (identity loss, ITC)
//   matching       p = softmax(scale x) over the candidates, q = match / sum(match):
//                  loss = sum_j p_j (log p_j - log(q_j + eps)),  dx_k = dloss scale p_k (log p_k - log(q_k + eps) - loss)
//                                                                                           (CMPM, SDM and their pairwise form)
//
// Work split   a block of 128 threads per row; threads stride over the columns.
// Traffic      forward reads a row three times (maximum, sum, loss), from L1 after the first; backward reads and writes it
//              once. About 10 FLOPs and one exp an element.
// Numerics     f32 whatever the storage, full-precision exp and log, the maximum is subtracted first.
// Determinism  block sums in a fixed order; no atomics.
// Limits       any size; f32 and bf16. A target that is no class gives a loss of NaN.
#include "ops/cuda/kernel.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = 128;

// f(c) summed, or its maximum, over the columns of a block's row
template <class F> __device__ float sum_columns(std::int64_t cols, F&& f) {
    float s = 0;
    for (std::int64_t c = threadIdx.x; c < cols; c += kThreads) s += f(c);
    return block_sum<kThreads>(s);
}
template <class F> __device__ float max_columns(std::int64_t cols, F&& f) {
    float top = -INFINITY;
    for (std::int64_t c = threadIdx.x; c < cols; c += kThreads) top = fmaxf(top, f(c));
    return block_max<kThreads>(top);
}

template <class T> __global__ void __launch_bounds__(kThreads) softmax_xent_kernel(SoftmaxXentFwd a) {
    in_turn();
    const std::int64_t n = blockIdx.x, C = a.logits.cols;
    const T* x = row<T>(a.logits, n);
    const float top = max_columns(C, [&](std::int64_t c) { return float(x[c]); });
    const float lse = top + logf(sum_columns(C, [&](std::int64_t c) { return expf(float(x[c]) - top); }));
    if (threadIdx.x != 0) return;
    const int y = ptr<std::int32_t>(a.target)[n];
    ptr<float>(a.lse)[n] = lse;
    ptr<float>(a.loss)[n] = y >= 0 && y < C ? lse - float(x[y]) : __int_as_float(0x7fffffff);
}

template <class T> __global__ void __launch_bounds__(kThreads) softmax_xent_backward_kernel(SoftmaxXentBwd a) {
    in_turn();
    const std::int64_t n = blockIdx.x, C = a.logits.cols;
    const float g = ptr<float>(a.dloss)[n], lse = ptr<float>(a.lse)[n];
    const int y = ptr<std::int32_t>(a.target)[n];
    for (std::int64_t c = threadIdx.x; c < C; c += kThreads)
        emit(a.dlogits, n * C + c, g * (expf(float(row<T>(a.logits, n)[c]) - lse) - (c == y ? 1.f : 0.f)));
}

// log(q_j + eps) for a match (q = 1/matches) and for a stranger (q = 0)
struct LogTarget {
    float match, other;
    __device__ float of(int m) const { return m ? match : other; }
};
__device__ LogTarget log_target(const std::int32_t* match, std::int64_t C, double eps) {
    const float matches = sum_columns(C, [&](std::int64_t c) { return match[c] == 1 ? 1.f : 0.f; });
    return {float(log((matches > 0 ? 1.0 / double(matches) : 0.0) + eps)), float(log(eps))};
}

template <class T> __global__ void __launch_bounds__(kThreads) matching_kernel(MatchingFwd a) {
    in_turn();
    const std::int64_t n = blockIdx.x, C = a.scores.cols;
    const T* x = row<T>(a.scores, n);
    const std::int32_t* m = row<std::int32_t>(a.match, n);
    const float scale = float(a.scale);
    const LogTarget log_q = log_target(m, C, a.eps);
    const float top = max_columns(C, [&](std::int64_t c) { return m[c] >= 0 ? scale * float(x[c]) : -INFINITY; });
    const float sum = sum_columns(C, [&](std::int64_t c) { return m[c] >= 0 ? expf(scale * float(x[c]) - top) : 0.f; });
    const float lse = top + logf(sum);
    const float loss = sum_columns(C, [&](std::int64_t c) {
        if (m[c] < 0) return 0.f;
        const float log_p = scale * float(x[c]) - lse;
        return expf(log_p) * (log_p - log_q.of(m[c]));
    });
    if (threadIdx.x == 0) ptr<float>(a.lse)[n] = lse, ptr<float>(a.loss)[n] = loss;
}

template <class T> __global__ void __launch_bounds__(kThreads) matching_backward_kernel(MatchingBwd a) {
    in_turn();
    const std::int64_t n = blockIdx.x, C = a.scores.cols;
    const std::int32_t* m = row<std::int32_t>(a.match, n);
    const float scale = float(a.scale), g = scale * ptr<float>(a.dloss)[n], lse = ptr<float>(a.lse)[n], loss = ptr<float>(a.loss)[n];
    const LogTarget log_q = log_target(m, C, a.eps);
    for (std::int64_t c = threadIdx.x; c < C; c += kThreads) {
        const float log_p = scale * float(row<T>(a.scores, n)[c]) - lse;
        emit(a.dscores, n * C + c, m[c] < 0 ? 0.f : g * expf(log_p) * (log_p - log_q.of(m[c]) - loss));
    }
}

template <auto Kernel, class Args> void block_per_row(std::int64_t rows, const Args& a) { launch<Kernel>({unsigned(rows), kThreads}, a); }

}  // namespace

void softmax_xent_forward(const SoftmaxXentFwd& a) {
    dispatch(a.logits.dtype, "softmax_xent", [&](auto tag) { block_per_row<softmax_xent_kernel<decltype(tag)>>(a.logits.rows, a); });
}
void softmax_xent_backward(const SoftmaxXentBwd& a) {
    if (a.dlogits.mode == Mode::skip) return;
    dispatch(a.logits.dtype, "softmax_xent", [&](auto tag) {
        block_per_row<softmax_xent_backward_kernel<decltype(tag)>>(a.logits.rows, a);
    });
}
void matching_forward(const MatchingFwd& a) {
    dispatch(a.scores.dtype, "matching_loss", [&](auto tag) { block_per_row<matching_kernel<decltype(tag)>>(a.scores.rows, a); });
}
void matching_backward(const MatchingBwd& a) {
    if (a.dscores.mode == Mode::skip) return;
    dispatch(a.scores.dtype, "matching_loss", [&](auto tag) {
        block_per_row<matching_backward_kernel<decltype(tag)>>(a.scores.rows, a);
    });
}

}  // namespace eng::cuda
