// The small steps of ops/vsr.cpp: one side of a pair spread over heads and slots, centred rows, and how regions mix a text's values.
//
//   spread_heads   y[(b,h,s), c] = x[begin[b] + s, c] in head h's columns, else 0; backwards each element comes from one place
//   center_rows    y = x - mean(x)                            column_scale   y[n,c] = s[c] x[n,c]
//   slot_mix       p = softmax over the taken slots of each head     rstd = 1 / sqrt(p G p^T / width + eps)     y = rstd p
//      backward    w = -rstd^3 (p . dy) / width     dp = rstd dy + w p G     dscores = scale p (dp - sum over the head of p dp)
//                  e = w / (2 rstd) p, so that y^T e, over a text's rows, is G's gradient
//
// Work split   a warp per row, lanes over its columns (four at a time where heads are spread). slot_mix: a warp has four rows of one pair,
//              so that an element of G is read once for four rows; a lane makes two columns of p G at once; for the softmax it has a
//              (row, head). In shared memory the four rows' values of a slot lie side by side, and heads one slot apart, so that 8 heads
//              x 4 rows meet no bank twice.
// Traffic      each element is read and written once (center_rows reads twice, from L1). slot_mix at 64 slots and heads: 256 bytes of scores and
//              128 of y a row, 8.4 kFLOP; 196,608 rows are 75 MB (17 us), 30 us of FMAs, and 128 + 64 wavefronts of G and p a warp, 40 us.
// Numerics     f32 inside, rounded at the store. Determinism: every element has one owner.
// Limits       any size; f32 and bf16. A text has a prompt. slot_mix keeps 16 bytes a slot and head in shared memory (backward 32), for 8 warps.
#include "ops/cuda/chip.h"
#include "ops/cuda/kernel.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = kWarps * 32, kRows = 4;

template <class T, int V> __global__ void __launch_bounds__(kThreads) spread_heads_kernel(SpreadHeadsFwd a) {
    in_turn();
    const std::int64_t r = warp_row(), C = a.y.cols;
    if (r >= a.y.rows) return;
    const int s = int(r % a.slots), h = int(r / a.slots % a.heads), seq = int(r / a.slots / a.heads), D = int(C) / a.heads;
    const bool taken = s < ptr<std::int32_t>(a.len)[seq];
    const T* x = taken ? row<T>(a.x, ptr<std::int32_t>(a.begin)[seq] + s) : nullptr;
    for_columns<V>(C, [&](std::int64_t c) {
        Vec<T, V> v;
        for (int j = 0; j < V; ++j) v[j] = T(0.f);
        if (taken && int(c) / D == h) v = *reinterpret_cast<const Vec<T, V>*>(x + c);
        *reinterpret_cast<Vec<T, V>*>(ptr<T>(a.y) + r * C + c) = v;
    });
}

template <class T, int V> __global__ void __launch_bounds__(kThreads) spread_heads_back_kernel(SpreadHeadsBwd a) {
    in_turn();
    const int seq = int(warp_row() / a.slots), s = int(warp_row() % a.slots), C = int(a.dy.cols), D = C / a.heads;
    if (seq >= a.begin.numel() || s >= ptr<std::int32_t>(a.len)[seq]) return;
    const std::int64_t to = (ptr<std::int32_t>(a.begin)[seq] + s) * a.dx.cols;
    const bool write = a.dx.mode == Mode::write;  // then the other columns too
    for_columns<V>(write ? a.dx.cols : C, [&](std::int64_t i) {
        const int column = int(write ? i : a.first + i), c = column - int(a.first);
        Vec<float, V> v{};
        if (c >= 0 && c < C) v = read<V>(row<T>(a.dy, (std::int64_t(seq) * a.heads + c / D) * a.slots + s) + c);
        emit<V>(a.dx, to + column, v);
    });
}

template <class T> __global__ void __launch_bounds__(kThreads) center_rows_kernel(CenterRowsArgs a) {
    in_turn();
    const std::int64_t r = warp_row(), C = a.x.cols;
    if (r >= a.x.rows) return;
    const T* x = row<T>(a.x, r);
    float sum = 0;
    for_columns<1>(C, [&](std::int64_t c) { sum += float(x[c]); });
    const float mean = warp_sum(sum) / float(C);
    for_columns<1>(C, [&](std::int64_t c) { emit(a.y, r * C + c, float(x[c]) - mean); });
}

template <class T> __global__ void __launch_bounds__(kThreads) column_scale_kernel(ColumnScaleArgs a) {
    in_turn();
    const std::int64_t r = warp_row(), C = a.x.cols;
    if (r < a.x.rows) for_columns<1>(C, [&](std::int64_t c) { emit(a.y, r * C + c, float(ptr<T>(a.s)[c]) * float(row<T>(a.x, r)[c])); });
}

// A warp's four rows of one pair; rows[i] < count exist. Of each slot their values lie side by side.
struct Mix { int text, count; std::int64_t first; };
PTX_INLINE Mix mix_of(const View& texts, int patches) {
    const std::int64_t fours = (patches + kRows - 1) / kRows, i = warp_row(), pair = i / fours;
    if (pair >= texts.numel()) return {0, 0, 0};
    const int at = int(i % fours) * kRows;
    return {ptr<std::int32_t>(texts)[pair], min(kRows, patches - at), pair * patches + at};
}
using Four = Vec<float, kRows>;
template <class F> PTX_INLINE Four of_four(F&& f) {
    Four v;
#pragma unroll
    for (int r = 0; r < kRows; ++r) v[r] = f(r);
    return v;
}
template <class F> PTX_INLINE void for_rows(const Mix& m, F&& f) {
#pragma unroll
    for (int r = 0; r < kRows; ++r)
        if (r < m.count) f(r);
}
PTX_INLINE Four warp_sum(const Four& v) { return of_four([&](int r) { return cuda::warp_sum(v.e[r]); }); }
// Where slot s of head h of column j = h slots + s lies.
struct Slots {
    int heads, slots;
    PTX_INLINE int columns() const { return heads * slots; }
    PTX_INLINE int at(int j) const { return j + j / slots; }
    PTX_INLINE int first(int head) const { return head * (slots + 1); }
};
// f(j, (p G)[j] of the four rows) for this lane's columns, two of them at a time. Heads and SlotsEach where they are known, else 0: with
// constants for addresses a head is 94 instructions for its 64 multiplications, not 178.
template <int Heads, int SlotsEach, class F> PTX_INLINE void times_gram_of(const Slots& n, const Four* p, const float* gram, F&& f) {
    const int heads = Heads ? Heads : n.heads, slots = SlotsEach ? SlotsEach : n.slots, K = heads * slots;
    for (int j = lane(); j < K; j += 64) {
        const int second = min(j + 32, K - 1);
        Four u = {}, v = {};
        const float *g = gram + j, *g2 = gram + second;
        const Four* ph = p;
#pragma unroll 1
        for (int h = 0; h < heads; ++h, g += slots * K, g2 += slots * K, ph += slots + 1) {
#pragma unroll(SlotsEach ? SlotsEach : 4)
            for (int s = 0; s < slots; ++s) {
                const float x = g[s * K], x2 = g2[s * K];
                const Four pi = ph[s];
#pragma unroll
                for (int r = 0; r < kRows; ++r) u[r] += pi.e[r] * x, v[r] += pi.e[r] * x2;
            }
        }
        f(j, u);
        if (j + 32 < K) f(j + 32, v);
    }
}
template <class F> PTX_INLINE void times_gram(const Slots& n, const Four* p, const float* gram, F&& f) {
    if (n.heads == 8 && n.slots == 8) times_gram_of<8, 8>(n, p, gram, f);
    else times_gram_of<0, 0>(n, p, gram, f);
}

template <class T> __global__ void __launch_bounds__(kThreads) slot_mix_kernel(SlotMixFwd a) {
    in_turn();
    GPU_DYN_SHARED(Four, smem);
    const Mix m = mix_of(a.text, a.patches);
    if (!m.count) return;
    const Slots n{a.heads, a.slots};
    const int K = n.columns(), len = ptr<std::int32_t>(a.len)[m.text];
    Four* p = smem + threadIdx.x / 32 * n.first(a.heads);
    for (int i = lane(); i < kRows * a.heads; i += 32) {
        const int r = i / a.heads, h = i % a.heads, first = n.first(h);
        const float* x = row<float>(a.scores, m.first + min(r, m.count - 1)) + h * a.slots;
        float top = x[0], sum = 0;
        for (int s = 1; s < len; ++s) top = fmaxf(top, x[s]);
        for (int s = 0; s < len; ++s) sum += expf(float(a.scale) * (x[s] - top));
        for (int s = 0; s < a.slots; ++s) p[first + s][r] = s < len ? expf(float(a.scale) * (x[s] - top)) / sum : 0.f;
    }
    __syncwarp();  // all heads have their probabilities
    const float* gram = row<float>(a.gram, std::int64_t(m.text) * K);
    Four square = {};
    times_gram(n, p, gram, [&](int j, const Four& u) {
        const Four pj = p[n.at(j)];
#pragma unroll
        for (int r = 0; r < kRows; ++r) square[r] += pj.e[r] * u.e[r];
    });
    square = warp_sum(square);  // rounding may leave less than nothing of values that cancel
    const Four rstd = of_four([&](int r) { return 1.f / sqrtf(fmaxf(square.e[r], 0.f) / float(a.width) + float(a.eps)); });
    for (int j = lane(); j < K; j += 32)
        for_rows(m, [&](int r) { ptr<T>(a.y)[(m.first + r) * K + j] = T(rstd.e[r] * p[n.at(j)].e[r]); });
    for_rows(m, [&](int r) { if (lane() == r) ptr<float>(a.rstd)[m.first + r] = rstd.e[r]; });
}

template <class T> __global__ void __launch_bounds__(kThreads) slot_mix_back_kernel(SlotMixBwd a) {
    in_turn();
    GPU_DYN_SHARED(Four, smem);
    const Mix m = mix_of(a.text, a.patches);
    if (!m.count) return;
    const Slots n{a.heads, a.slots};
    const int K = n.columns();
    Four *p = smem + threadIdx.x / 32 * 2 * n.first(a.heads), *d = p + n.first(a.heads), along = {};  // probabilities; dy, then dp, then dscores
    const auto of_row = [&](int r) { return m.first + min(r, m.count - 1); };
    const Four rstd = of_four([&](int r) { return ptr<float>(a.rstd)[of_row(r)]; });
    for (int j = lane(); j < K; j += 32) {
        const Four pj = of_four([&](int r) { return float(row<T>(a.y, of_row(r))[j]) / rstd.e[r]; });
        const Four dj = of_four([&](int r) { return float(row<T>(a.dy, of_row(r))[j]); });
#pragma unroll
        for (int r = 0; r < kRows; ++r) along[r] += pj.e[r] * dj.e[r];
        p[n.at(j)] = pj, d[n.at(j)] = dj;
    }
    along = warp_sum(along);  // and every slot is there
    __syncwarp();
    const Four w = of_four([&](int r) { return -rstd.e[r] * rstd.e[r] * rstd.e[r] * along.e[r] / float(a.width); });
    const float* gram = row<float>(a.gram, std::int64_t(m.text) * K);
    times_gram(n, p, gram, [&](int j, const Four& u) {
        const Four dj = d[n.at(j)];
        d[n.at(j)] = of_four([&](int r) { return rstd.e[r] * dj.e[r] + w.e[r] * u.e[r]; });
    });
    __syncwarp();  // dp is complete
    for (int i = lane(); i < kRows * a.heads; i += 32) {
        const int r = i / a.heads, first = n.first(i % a.heads);
        float sum = 0;
        for (int s = first; s < first + a.slots; ++s) sum += p[s].e[r] * d[s].e[r];
        for (int s = first; s < first + a.slots; ++s) d[s][r] = float(a.scale) * p[s].e[r] * (d[s].e[r] - sum);
    }
    __syncwarp();  // so are the scores' gradients
    for (int j = lane(); j < K; j += 32)
        for_rows(m, [&](int r) {
            emit(a.dscores, (m.first + r) * K + j, d[n.at(j)].e[r]);
            emit(a.e, (m.first + r) * K + j, 0.5f * w.e[r] / rstd.e[r] * p[n.at(j)].e[r]);
        });
}

template <auto Kernel, class Args>
void mix(const Args& a, int kept) {
    Launch l = warp_per_row(a.text.numel() * ceil_div(a.patches, kRows));
    l.smem = std::size_t(kWarps * a.heads * (a.slots + 1)) * sizeof(Four);
    ENG_CHECK(2 * l.smem <= chip().smem, "slot_mix", a.slots, " slots for prompts and ", a.heads, " heads do not fit into shared memory");  // what comes back needs twice
    l.smem *= std::size_t(kept);
    launch<Kernel>(l, a);
}

}  // namespace

void spread_heads_forward(const SpreadHeadsFwd& a) {
    const bool fours = in_fours(a.y.cols / a.heads, {&a.x, &a.y}) && a.x.pitch % 4 == 0;
    dispatch(a.x.dtype, fours, "spread_heads", [&](auto tag, auto v) { launch<spread_heads_kernel<decltype(tag), v>>(warp_per_row(a.y.rows), a); });
}
void spread_heads_backward(const SpreadHeadsBwd& a) {
    if (a.dx.mode == Mode::skip) return;
    const bool fours = in_fours(a.dy.cols / a.heads, {&a.dy, &a.dx}) && a.dy.pitch % 4 == 0 && a.dx.cols % 4 == 0 && a.first % 4 == 0;
    dispatch(a.dy.dtype, fours, "spread_heads", [&](auto tag, auto v) {
        launch<spread_heads_back_kernel<decltype(tag), v>>(warp_per_row(a.begin.numel() * a.slots), a);
    });
}
void center_rows(const CenterRowsArgs& a) {
    dispatch(a.x.dtype, "center_rows", [&](auto tag) { launch<center_rows_kernel<decltype(tag)>>(warp_per_row(a.x.rows), a); });
}
void column_scale(const ColumnScaleArgs& a) {
    dispatch(a.x.dtype, "column_scale", [&](auto tag) { launch<column_scale_kernel<decltype(tag)>>(warp_per_row(a.x.rows), a); });
}
void slot_mix_forward(const SlotMixFwd& a) {
    dispatch(a.y.dtype, "slot_mix", [&](auto tag) { mix<slot_mix_kernel<decltype(tag)>>(a, 1); });
}
void slot_mix_backward(const SlotMixBwd& a) {
    dispatch(a.y.dtype, "slot_mix", [&](auto tag) { mix<slot_mix_back_kernel<decltype(tag)>>(a, 2); });
}

}  // namespace eng::cuda
