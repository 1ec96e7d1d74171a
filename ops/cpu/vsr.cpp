// The small steps of ops/vsr.cpp: one side of a pair spread over heads and slots, centred rows, softmax over slots.
#include "ops/cpu/math.h"
#include "ops/cpu/store.h"

namespace eng::cpu {

void spread_heads(const SpreadHeadsArgs& a) {
    dispatch_float(a.x.dtype, "spread_heads", [&](auto tag) {
        using T = decltype(tag);
        const std::int64_t C = a.x.cols, D = C / a.heads;
        parallel_for(a.y.rows, kGrain / C + 1, [&](std::int64_t b, std::int64_t e) {
            for (std::int64_t r = b; r < e; ++r) {
                const std::int64_t s = r % a.slots, h = r / a.slots % a.heads, seq = r / a.slots / a.heads;
                const T* x = row<T>(a.x, ptr<std::int32_t>(a.begin)[seq] + s);
                const bool taken = s < ptr<std::int32_t>(a.len)[seq];
                for (std::int64_t c = 0; c < C; ++c) row<T>(a.y, r)[c] = taken && c / D == h ? x[c] : T(0);
            }
        });
    });
}

void center_rows(const CenterRowsArgs& a) {
    dispatch_float(a.x.dtype, "center_rows", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        const std::int64_t C = a.x.cols;
        parallel_for(a.x.rows, kGrain / C + 1, [&](std::int64_t b, std::int64_t e) {
            for (std::int64_t r = b; r < e; ++r) {
                const T* x = row<T>(a.x, r);
                A mean = 0;
                for (std::int64_t c = 0; c < C; ++c) mean += A(x[c]);
                mean /= A(C);
                for (std::int64_t c = 0; c < C; ++c) {
                    const A y = A(x[c]) - mean;
                    store(row<T>(a.y, r)[c], y), store(row<T>(a.scaled, r)[c], y * A(ptr<T>(a.gamma)[c]));
                }
            }
        });
    });
}

void slot_softmax(const SlotSoftmaxArgs& a) {
    dispatch_float(a.y.dtype, "slot_softmax", [&](auto tag) {
        using T = decltype(tag);
        using A = acc_t<T>;
        parallel_for(a.x.rows, kGrain / a.x.cols + 1, [&](std::int64_t b, std::int64_t e) {
            std::vector<A> p(std::size_t(a.len));
            for (std::int64_t r = b; r < e; ++r)
                for (int h = 0; h < a.heads; ++h) {
                    const A* x = row<A>(a.x, r) + std::int64_t(h) * a.slots;
                    T* y = row<T>(a.y, r) + std::int64_t(h) * a.slots;
                    A top = x[0], sum = 0;
                    for (int s = 1; s < a.len; ++s) top = std::max(top, x[s]);
                    for (int s = 0; s < a.len; ++s) sum += p[std::size_t(s)] = exp_(A(a.scale) * (x[s] - top));
                    for (int s = 0; s < a.slots; ++s) y[s] = s < a.len ? T(p[std::size_t(s)] / sum) : T(0);
                }
        });
    });
}

}  // namespace eng::cpu
