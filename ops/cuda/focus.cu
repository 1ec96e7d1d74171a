// DFA's focus: similarity, weights and weighted max-pool over the prompts k of one text, fused.
//
//   a_k = sim(t, L_k)    w = norm(a)    f[c] = max_k w_k L_k[c]
//
// Backward: f[c] came from the winner k*(c), so dL_k*[c] = w_k* df[c] and dw_k = sum of df[c] L_k[c] over the c that k won;
// then through norm to da, and through sim to t and L. The softmax needs sum_k w_k dw_k, which is sum_c df[c] w_k* L_k*[c]:
// one pass over the columns before the loop over k.
//
// Work split   a warp per text, lanes over the columns. Traffic: forward reads L twice (sim, max), backward three times,
//              from L1 after the first; about 6 and 20 FLOPs an element of L.
// Numerics     f32; full-precision exp, divisions by squared lengths within 2 ulp. The weights are f32 outputs.
// Determinism  texts share no prompts: every element has one owner. The first of equal maxima wins.
// Limits       every text has a prompt; any width; f32 and bf16.
#include "ops/cuda/kernel.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = kWarps * 32;

template <class T, int V> __device__ float row_product(const T* a, const T* b, std::int64_t C) {
    float s = 0;
    for_columns<V>(C, [&](std::int64_t c) {
        const Vec<float, V> x = read<V>(a + c), y = read<V>(b + c);
        for (int j = 0; j < V; ++j) s += x[j] * y[j];
    });
    return warp_sum(s);
}
// sim = factor t.l
__device__ __forceinline__ float factor(Similarity sim, float tt, float ll, std::int64_t C) {
    if (sim == Similarity::dot) return rsqrtf(float(C));
    return tt * ll > 0 ? rsqrtf(tt * ll) : 0.f;
}

template <class T, int V> __global__ void __launch_bounds__(kThreads) focus_forward_kernel(FocusFwd a) {
    in_turn();
    const std::int64_t n = warp_row(), C = a.t.cols;
    if (n >= a.t.rows) return;
    const int first = ptr<std::int32_t>(a.begin)[n], count = ptr<std::int32_t>(a.len)[n];
    const T* t = row<T>(a.t, n);
    float* w = ptr<float>(a.w) + first;
    const float tt = a.sim == Similarity::cosine ? row_product<T, V>(t, t, C) : 0.f;
    float top = -INFINITY;
    for (int k = 0; k < count; ++k) {
        const T* l = row<T>(a.l, first + k);
        const float ll = a.sim == Similarity::cosine ? row_product<T, V>(l, l, C) : 0.f;
        const float s = factor(a.sim, tt, ll, C) * row_product<T, V>(t, l, C);
        if (lane() == k % 32) w[k] = s;  // lane k % 32 owns weight k
        top = fmaxf(top, s);
    }
    float sum = 0;
    for (int k = lane(); k < count; k += 32) {
        w[k] = a.norm == WeightNorm::softmax ? expf(w[k] - top) : 1.f / (1.f + expf(-w[k]));
        sum += w[k];
    }
    if (a.norm == WeightNorm::softmax) {
        sum = warp_sum(sum);
        for (int k = lane(); k < count; k += 32) w[k] /= sum;
    }
    __syncwarp();  // every lane sees the weights
    for (std::int64_t c = lane(); c < C; c += 32) {
        float best = w[0] * float(row<T>(a.l, first)[c]);
        int at = first;
        for (int k = 1; k < count; ++k) {
            const float v = w[k] * float(row<T>(a.l, first + k)[c]);
            if (beats(v, best)) best = v, at = first + k;
        }
        emit(a.f, n * C + c, best);
        row<std::int32_t>(a.argmax, n)[c] = at;
    }
}

// `slope` [prompts]: what t.L_k is multiplied by in da_k's way back.
template <class T, int V> __global__ void __launch_bounds__(kThreads, 1) focus_backward_kernel(FocusBwd a, float* slope) {
    in_turn();
    const std::int64_t n = warp_row(), C = a.t.cols;
    if (n >= a.t.rows) return;
    const int first = ptr<std::int32_t>(a.begin)[n], count = ptr<std::int32_t>(a.len)[n];
    const T *t = row<T>(a.t, n), *df = row<T>(a.df, n);
    const std::int32_t* winner = row<std::int32_t>(a.argmax, n);
    const float* w = ptr<float>(a.w);
    float mean = 0;
    for (std::int64_t c = lane(); c < C; c += 32) mean += float(df[c]) * w[winner[c]] * float(row<T>(a.l, winner[c])[c]);
    mean = warp_sum(mean);

    const bool cosine = a.sim == Similarity::cosine;
    const float tt = cosine ? row_product<T, V>(t, t, C) : 0.f;
    float back_t = 0;  // cosine: the part of dt along t, over all prompts
    for (int k = first; k < first + count; ++k) {
        const T* l = row<T>(a.l, k);
        float dw = 0;
        for (std::int64_t c = lane(); c < C; c += 32) dw += winner[c] == k ? float(df[c]) * float(l[c]) : 0.f;
        dw = warp_sum(dw);
        const float da = a.norm == WeightNorm::softmax ? w[k] * (dw - mean) : w[k] * (1.f - w[k]) * dw;
        const float ll = cosine ? row_product<T, V>(l, l, C) : 0.f;
        const float s = factor(a.sim, tt, ll, C) * da, sim = cosine ? s * row_product<T, V>(t, l, C) : 0.f;
        const float back_l = ll > 0 ? __fdividef(sim, ll) : 0.f;
        back_t += tt > 0 ? __fdividef(sim, tt) : 0.f;
        if (lane() == 0) slope[k] = s;
        for (std::int64_t c = lane(); c < C; c += 32)
            emit(a.dl, k * C + c, (winner[c] == k ? w[k] * float(df[c]) : 0.f) + s * float(t[c]) - back_l * float(l[c]));
    }
    __syncwarp();  // every lane sees the slopes
    for (std::int64_t c = lane(); c < C; c += 32) {
        float dt = -back_t * float(t[c]);
        for (int k = first; k < first + count; ++k) dt += slope[k] * float(row<T>(a.l, k)[c]);
        emit(a.dt, n * C + c, dt);
    }
}

}  // namespace

void focus_forward(const FocusFwd& a) {
    dispatch(a.t.dtype, in_fours(a.t.cols, {&a.t, &a.l}), "focus", [&](auto tag, auto v) {
        launch<focus_forward_kernel<decltype(tag), v>>(warp_per_row(a.t.rows), a);
    });
}

void focus_backward(const FocusBwd& a) {
    const Scratch slope(std::size_t(a.l.rows) * sizeof(float));
    dispatch(a.t.dtype, in_fours(a.t.cols, {&a.t, &a.l}), "focus", [&](auto tag, auto v) {
        launch<focus_backward_kernel<decltype(tag), v>>(warp_per_row(a.t.rows), a, slope.as<float>());
    });
}

}  // namespace eng::cuda
