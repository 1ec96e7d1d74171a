// AdamW, or Adam with L2, over the flat buffers: one read and one write of each, f32 masters and bf16 copy in one pass.
#include <cmath>

#include "ops/cpu/store.h"

namespace eng::cpu {

namespace {

template <class A>
void adamw_typed(const AdamWArgs& a) {
    const A* g = ptr<A>(a.grad);
    A *w = ptr<A>(a.master), *m = ptr<A>(a.m), *v = ptr<A>(a.v);
    bf16* c = a.compute.dtype == DType::bf16 ? ptr<bf16>(a.compute) : nullptr;
    const A b1 = A(a.beta1), b2 = A(a.beta2), gs = ptr<A>(a.scalars)[0], eps = A(a.eps);
    const A c1 = ptr<A>(a.scalars)[1], c2 = ptr<A>(a.scalars)[2];
    std::int64_t begin = 0;
    for (std::int64_t s = 0; s < a.ends.numel(); ++s) {
        const std::int64_t first = begin, n = ptr<std::int32_t>(a.ends)[s] - begin;
        const A lr = A(ptr<float>(a.lr)[s]), decay = A(ptr<float>(a.decay)[s]);
        const A pull = a.l2 ? decay : A(0), keep = a.l2 ? A(1) : A(1) - lr * decay;
        parallel_for(n, kGrain, [&](std::int64_t b, std::int64_t e) {
#pragma omp simd
            for (std::int64_t i = first + b; i < first + e; ++i) {
                const A d = g[i] * gs + pull * w[i];
                m[i] = b1 * m[i] + (A(1) - b1) * d;
                v[i] = b2 * v[i] + (A(1) - b2) * d * d;
                w[i] = keep * w[i] - lr * (m[i] * c1) / (std::sqrt(v[i] * c2) + eps);
                if (c) store(c[i], float(w[i]));
            }
        });
        begin += n;
    }
}

}  // namespace

void clip_scale(const ClipScaleArgs& a) {
    dispatch_float(a.scale.dtype, "clip_scale", [&](auto tag) {
        using T = decltype(tag);
        const double most = a.limit / std::sqrt(double(ptr<T>(a.sum_of_squares)[0]));
        if (most < double(ptr<T>(a.scale)[0])) ptr<T>(a.scale)[0] = T(most);
    });
}

void adamw(const AdamWArgs& a) { a.master.dtype == DType::f64 ? adamw_typed<double>(a) : adamw_typed<float>(a); }

}  // namespace eng::cpu
