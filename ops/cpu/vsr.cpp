// The small steps of ops/vsr.cpp: one side of a pair spread over heads and slots, centred rows, and how regions mix a text's values.
#include "ops/cpu/math.h"
#include "ops/cpu/store.h"

namespace eng::cpu {

void spread_heads_forward(const SpreadHeadsFwd& a) {
    dispatch_float(a.x.dtype, "spread_heads", [&](auto tag) {
        using T = decltype(tag);
        const std::int64_t C = a.x.cols, D = C / a.heads;
        parallel_for(a.y.rows, row_grain(C), [&](std::int64_t b, std::int64_t e) {
            for (std::int64_t r = b; r < e; ++r) {
                const std::int64_t s = r % a.slots, h = r / a.slots % a.heads, seq = r / a.slots / a.heads;
                const T* x = row<T>(a.x, ptr<std::int32_t>(a.begin)[seq] + s);
                const bool taken = s < ptr<std::int32_t>(a.len)[seq];
                for (std::int64_t c = 0; c < C; ++c) row<T>(a.y, r)[c] = taken && c / D == h ? x[c] : T(0);
            }
        });
    });
}

void spread_heads_backward(const SpreadHeadsBwd& a) {
    dispatch_float(a.dy.dtype, "spread_heads", [&](auto tag) {
        using T = decltype(tag);
        const std::int64_t C = a.dy.cols, D = C / a.heads, all = a.dx.cols;
        const auto at = [&](std::int64_t r, std::int64_t seq, std::int64_t s) {
            const std::int64_t begin = a.dx.mode == Mode::write ? 0 : a.first, end = a.dx.mode == Mode::write ? all : a.first + C;
            emit(a.dx, r * all + begin, r * all + end, [&](std::int64_t i) {
                const std::int64_t c = i - r * all - a.first;
                return c < 0 || c >= C ? acc_t<T>(0) : acc_t<T>(row<T>(a.dy, (seq * a.heads + c / D) * a.slots + s)[c]);
            });
        };
        parallel_for(a.begin.numel(), 1, [&](std::int64_t b, std::int64_t e) {
            for (std::int64_t seq = b; seq < e; ++seq)
                for (std::int64_t s = 0; s < ptr<std::int32_t>(a.len)[seq]; ++s) at(ptr<std::int32_t>(a.begin)[seq] + s, seq, s);
        });
    });
}

void center_rows(const CenterRowsArgs& a) {
    dispatch_float(a.x.dtype, "center_rows", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t C = a.x.cols;
        parallel_for(a.x.rows, row_grain(C), [&](std::int64_t b, std::int64_t e) {
            for (std::int64_t r = b; r < e; ++r) {
                const T* x = row<T>(a.x, r);
                A mean = 0;
                for (std::int64_t c = 0; c < C; ++c) mean += A(x[c]);
                mean /= A(C);
                emit(a.y, r * C, (r + 1) * C, [&](std::int64_t i) { return A(x[i - r * C]) - mean; });
            }
        });
    });
}

namespace {

// u = p G, over the slots that are taken
template <class A>
void times_gram(std::vector<A>& u, const std::vector<A>& p, const A* gram, std::int64_t K) {
    std::fill(u.begin(), u.end(), A(0));
    for (std::int64_t i = 0; i < K; ++i)
        if (p[std::size_t(i)] != 0)
#pragma omp simd
            for (std::int64_t j = 0; j < K; ++j) u[std::size_t(j)] += p[std::size_t(i)] * gram[i * K + j];
}

}  // namespace

void slot_mix_forward(const SlotMixFwd& a) {
    dispatch_float(a.y.dtype, "slot_mix", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t K = a.scores.cols, S = a.slots;
        parallel_for(a.scores.rows, row_grain(K), [&](std::int64_t first, std::int64_t last) {
            std::vector<A> p(std::size_t(K), A(0)), u(p);
            for (std::int64_t r = first; r < last; ++r) {
                const std::int64_t text = ptr<std::int32_t>(a.text)[r / a.patches], len = ptr<std::int32_t>(a.len)[text];
                for (std::int64_t h = 0; h < a.heads; ++h) {
                    const A* x = row<A>(a.scores, r) + h * S;
                    A* y = p.data() + h * S;
                    A top = x[0], sum = 0;
                    for (std::int64_t s = 1; s < len; ++s) top = std::max(top, x[s]);
                    for (std::int64_t s = 0; s < len; ++s) sum += y[s] = exp_(A(a.scale) * (x[s] - top));
                    for (std::int64_t s = 0; s < S; ++s) y[s] = s < len ? y[s] / sum : A(0);
                }
                times_gram(u, p, row<A>(a.gram, text * K), K);
                // Rounding may leave less than nothing of values that cancel.
                const A rstd = A(1) / std::sqrt(std::max(A(0), dot<A, A>(p.data(), u.data(), K)) / A(a.width) + A(a.eps));
                emit(a.rstd, r, r + 1, [&](std::int64_t) { return rstd; });
                emit(a.y, r * K, (r + 1) * K, [&](std::int64_t i) { return rstd * p[std::size_t(i - r * K)]; });
            }
        });
    });
}

void slot_mix_backward(const SlotMixBwd& a) {
    dispatch_float(a.y.dtype, "slot_mix", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t K = a.y.cols, S = a.slots;
        parallel_for(a.y.rows, row_grain(K), [&](std::int64_t first, std::int64_t last) {
            std::vector<A> p(std::size_t(K), A(0)), u(p), dp(p);
            for (std::int64_t r = first; r < last; ++r) {
                const A rstd = ptr<A>(a.rstd)[r];
                const T *y = row<T>(a.y, r), *dy = row<T>(a.dy, r);
                A drstd = 0;
                for (std::int64_t i = 0; i < K; ++i) p[std::size_t(i)] = A(y[i]) / rstd, drstd += p[std::size_t(i)] * A(dy[i]);
                const A w = -rstd * rstd * rstd * drstd / A(a.width);  // of p G: d rstd = -rstd^3 / width (p G) . dp
                times_gram(u, p, row<A>(a.gram, ptr<std::int32_t>(a.text)[r / a.patches] * K), K);
                for (std::int64_t i = 0; i < K; ++i) dp[std::size_t(i)] = rstd * A(dy[i]) + w * u[std::size_t(i)];
                for (std::int64_t h = 0; h < a.heads; ++h) {
                    const A along = dot<A, A>(p.data() + h * S, dp.data() + h * S, S);
                    for (std::int64_t i = h * S; i < (h + 1) * S; ++i) dp[std::size_t(i)] = A(a.scale) * p[std::size_t(i)] * (dp[std::size_t(i)] - along);
                }
                emit(a.dscores, r * K, (r + 1) * K, [&](std::int64_t i) { return dp[std::size_t(i - r * K)]; });
                emit(a.e, r * K, (r + 1) * K, [&](std::int64_t i) { return A(0.5) * w / rstd * p[std::size_t(i - r * K)]; });
            }
        });
    });
}

}  // namespace eng::cpu
