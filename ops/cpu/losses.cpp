#include <cmath>

#include "ops/cpu/math.h"
#include "ops/cpu/store.h"

namespace eng::cpu {

void softmax_xent_forward(const SoftmaxXentFwd& a) {
    dispatch_float(a.logits.dtype, "softmax_xent", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t C = a.logits.cols;
        const auto* target = ptr<std::int32_t>(a.target);
        for (std::int64_t n = 0; n < a.logits.rows; ++n) ENG_CHECK(target[n] >= 0 && target[n] < C, "softmax_xent", "target ", target[n], " of ", C, " classes");
        parallel_for(a.logits.rows, row_grain(C), [&](std::int64_t b, std::int64_t e) {
            for (std::int64_t n = b; n < e; ++n) {
                const T* x = row<T>(a.logits, n);
                const std::int32_t y = target[n];
                A hi = A(x[0]), s = 0;
                for (std::int64_t c = 1; c < C; ++c) hi = std::max(hi, A(x[c]));
#pragma omp simd reduction(+ : s)
                for (std::int64_t c = 0; c < C; ++c) s += exp_(A(x[c]) - hi);
                ptr<A>(a.lse)[n] = hi + std::log(s);
                ptr<A>(a.loss)[n] = ptr<A>(a.lse)[n] - A(x[y]);
            }
        });
    });
}

void softmax_xent_backward(const SoftmaxXentBwd& a) {
    dispatch_float(a.logits.dtype, "softmax_xent", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t C = a.logits.cols;
        parallel_for(a.logits.rows, row_grain(C), [&](std::int64_t b, std::int64_t e) {
            for (std::int64_t n = b; n < e; ++n) {
                const T* x = row<T>(a.logits, n);
                const A g = ptr<A>(a.dloss)[n], lse = ptr<A>(a.lse)[n];
                const std::int64_t y = n * C + ptr<std::int32_t>(a.target)[n];
                emit_range<T>(a.dlogits, n * C, (n + 1) * C, [=](std::int64_t i) { return g * (exp_(A(x[i - n * C]) - lse) - A(i == y)); });
            }
        });
    });
}

namespace {
// log(q_j + eps) for a match (q = 1/matches) and for a stranger (q = 0)
template <class A> struct LogTarget { A match, other; };
template <class A>
LogTarget<A> log_target(const std::int32_t* match, std::int64_t C, double eps) {
    std::int64_t matches = 0;
    for (std::int64_t c = 0; c < C; ++c) matches += match[c] == 1;
    return {A(std::log((matches ? 1.0 / double(matches) : 0.0) + eps)), A(std::log(eps))};
}
}  // namespace

void matching_forward(const MatchingFwd& a) {
    dispatch_float(a.scores.dtype, "matching_loss", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t C = a.scores.cols;
        for (std::int64_t n = 0; n < a.scores.rows; ++n) {
            const T* x = row<T>(a.scores, n);
            const auto* m = row<std::int32_t>(a.match, n);
            const LogTarget<A> log_q = log_target<A>(m, C, a.eps);
            A hi = -INFINITY, s = 0, loss = 0;
            for (std::int64_t c = 0; c < C; ++c)
                if (m[c] >= 0) hi = std::max(hi, A(a.scale) * A(x[c]));
            for (std::int64_t c = 0; c < C; ++c)
                if (m[c] >= 0) s += std::exp(A(a.scale) * A(x[c]) - hi);
            const A lse = hi + std::log(s);
            for (std::int64_t c = 0; c < C; ++c) {
                if (m[c] < 0) continue;
                const A log_p = A(a.scale) * A(x[c]) - lse;
                loss += std::exp(log_p) * (log_p - (m[c] ? log_q.match : log_q.other));
            }
            ptr<A>(a.lse)[n] = lse;
            ptr<A>(a.loss)[n] = loss;
        }
    });
}

// dloss/ds_k = scale p_k (log p_k - log(q_k+eps) - loss)
void matching_backward(const MatchingBwd& a) {
    dispatch_float(a.scores.dtype, "matching_loss", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t C = a.scores.cols;
        for (std::int64_t n = 0; n < a.scores.rows; ++n) {
            const T* x = row<T>(a.scores, n);
            const auto* m = row<std::int32_t>(a.match, n);
            const LogTarget<A> log_q = log_target<A>(m, C, a.eps);
            const A g = A(a.scale) * ptr<A>(a.dloss)[n], lse = ptr<A>(a.lse)[n], loss = ptr<A>(a.loss)[n];
            emit_range<T>(a.dscores, n * C, (n + 1) * C, [&](std::int64_t i) {
                const std::int64_t c = i - n * C;
                if (m[c] < 0) return A(0);
                const A log_p = A(a.scale) * A(x[c]) - lse;
                return g * std::exp(log_p) * (log_p - (m[c] ? log_q.match : log_q.other) - loss);
            });
        }
    });
}

}  // namespace eng::cpu
