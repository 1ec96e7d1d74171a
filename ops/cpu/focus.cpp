// DFA's focus: similarity, weights and weighted max-pool of one text's prompts, fused.
//   a_k = sim(t, L_k)   w = norm(a)   f[c] = max_k w_k L_k[c]
// Backward: f routes to the winning prompt k*(c): dL_k*[c] += w_k df[c], dw_k = sum over the c that k won of df[c] L_k[c];
// then through norm to da, and through sim to t and L.
#include <cmath>

#include "ops/cpu/math.h"
#include "ops/cpu/store.h"

namespace eng::cpu {
namespace {

// sim(t, l) = scale_t t.l with scale 1/sqrt(C), or 1/(|t||l|)
template <class T, class A>
A factor(Similarity sim, const T* t, const T* l, std::int64_t C) {
    if (sim == Similarity::dot) return A(1) / std::sqrt(A(C));
    const A n = std::sqrt(dot<T, A>(t, t, C) * dot<T, A>(l, l, C));
    return n > 0 ? A(1) / n : A(0);
}

}  // namespace

void focus_forward(const FocusFwd& a) {
    dispatch_float(a.t.dtype, "focus", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t C = a.t.cols;
        const auto *begin = ptr<std::int32_t>(a.begin), *len = ptr<std::int32_t>(a.len);
        parallel_for(a.t.rows, 4, [&](std::int64_t b, std::int64_t e) {
            for (std::int64_t n = b; n < e; ++n) {
                const T* t = row<T>(a.t, n);
                A* w = ptr<A>(a.w) + begin[n];
                A hi = -INFINITY, sum = 0;
                for (int k = 0; k < len[n]; ++k) {
                    const T* l = row<T>(a.l, begin[n] + k);
                    w[k] = factor<T, A>(a.sim, t, l, C) * dot<T, A>(t, l, C);
                    hi = std::max(hi, w[k]);
                }
                if (a.norm == WeightNorm::softmax) {
                    for (int k = 0; k < len[n]; ++k) sum += (w[k] = std::exp(w[k] - hi));
                    for (int k = 0; k < len[n]; ++k) w[k] /= sum;
                } else {
                    for (int k = 0; k < len[n]; ++k) w[k] = A(1) / (A(1) + std::exp(-w[k]));
                }
                T* f = row<T>(a.f, n);
                auto* at = row<std::int32_t>(a.argmax, n);
                for (std::int64_t c = 0; c < C; ++c) {
                    A best = w[0] * A(row<T>(a.l, begin[n])[c]);
                    at[c] = begin[n];
                    for (int k = 1; k < len[n]; ++k) {
                        const A v = w[k] * A(row<T>(a.l, begin[n] + k)[c]);
                        if (beats(v, best)) best = v, at[c] = begin[n] + k;
                    }
                    store(f[c], best);
                }
            }
        });
    });
}

namespace {

// da from dw, through softmax (over the segment) or sigmoid (each alone).
template <class A>
void weights_backward(WeightNorm norm, const A* w, const A* dw, A* da, int n) {
    A mean = 0;
    for (int k = 0; k < n; ++k) mean += w[k] * dw[k];
    for (int k = 0; k < n; ++k) da[k] = norm == WeightNorm::softmax ? w[k] * (dw[k] - mean) : w[k] * (1 - w[k]) * dw[k];
}

}  // namespace

void focus_backward(const FocusBwd& a) {
    dispatch_float(a.t.dtype, "focus", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t C = a.t.cols;
        const auto *begin = ptr<std::int32_t>(a.begin), *len = ptr<std::int32_t>(a.len);
        parallel_for(a.t.rows, 4, [&](std::int64_t b, std::int64_t e) {
            std::vector<A> dl, dt(C), dw, da;
            for (std::int64_t n = b; n < e; ++n) {
                const T *t = row<T>(a.t, n), *df = row<T>(a.df, n);
                const A* w = ptr<A>(a.w) + begin[n];
                const int K = len[n];
                dl.assign(K * C, 0), dw.assign(K, 0), da.resize(K), dt.assign(C, 0);
                for (std::int64_t c = 0; c < C; ++c) {
                    const int k = row<std::int32_t>(a.argmax, n)[c] - begin[n];
                    dl[k * C + c] += w[k] * A(df[c]);
                    dw[k] += A(df[c]) * A(row<T>(a.l, begin[n] + k)[c]);
                }
                weights_backward(a.norm, w, dw.data(), da.data(), K);
                const A tt = a.sim == Similarity::cosine ? dot<T, A>(t, t, C) : A(0);
                for (int k = 0; k < K; ++k) {
                    const T* l = row<T>(a.l, begin[n] + k);
                    const A s = factor<T, A>(a.sim, t, l, C) * da[k], sim = s * dot<T, A>(t, l, C);
                    const A ll = a.sim == Similarity::cosine ? dot<T, A>(l, l, C) : A(0);
                    const A back_t = tt > 0 ? sim / tt : A(0), back_l = ll > 0 ? sim / ll : A(0);
                    for (std::int64_t c = 0; c < C; ++c) {
                        dt[c] += s * A(l[c]) - back_t * A(t[c]);
                        dl[k * C + c] += s * A(t[c]) - back_l * A(l[c]);
                    }
                }
                emit(a.dt, n * C, (n + 1) * C, [&](std::int64_t i) { return dt[i - n * C]; });
                emit(a.dl, begin[n] * C, (begin[n] + K) * C, [&](std::int64_t i) { return dl[i - begin[n] * C]; });
            }
        });
    });
}

}  // namespace eng::cpu
