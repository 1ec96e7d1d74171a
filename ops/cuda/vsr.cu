// The small steps of ops/vsr.cpp: one side of a pair spread over heads and slots, centred rows, softmax over slots.
//
//   spread_heads   y[(b,h,s), c] = x[begin[b] + s, c] in head h's columns, else 0
//   center_rows    y = x - mean(x), scaled = gamma y
//   slot_softmax   y[n,(h,s)] = softmax over the taken slots of head h; a lane per head
//
// Work split   a warp per row, lanes over its columns; slot_softmax's rows are short (64), its lanes take whole heads.
// Traffic      each element is read and written once (center_rows reads twice, from L1). Two to six FLOPs an element.
// Numerics     f32 inside, rounded at the store. Determinism: every element has one owner.
// Limits       any size; f32 and bf16. A text has a prompt.
#include "ops/cuda/kernel.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = kWarps * 32;

template <class T> __global__ void __launch_bounds__(kThreads) spread_heads_kernel(SpreadHeadsArgs a) {
    in_turn();
    const std::int64_t r = warp_row(), C = a.y.cols;
    if (r >= a.y.rows) return;
    const int s = int(r % a.slots), h = int(r / a.slots % a.heads), seq = int(r / a.slots / a.heads), D = int(C) / a.heads;
    const bool taken = s < ptr<std::int32_t>(a.len)[seq];
    const T* x = taken ? row<T>(a.x, ptr<std::int32_t>(a.begin)[seq] + s) : nullptr;
    for_columns<1>(C, [&](std::int64_t c) { ptr<T>(a.y)[r * C + c] = taken && int(c) / D == h ? x[c] : T(0.f); });
}

template <class T> __global__ void __launch_bounds__(kThreads) center_rows_kernel(CenterRowsArgs a) {
    in_turn();
    const std::int64_t r = warp_row(), C = a.x.cols;
    if (r >= a.x.rows) return;
    const T* x = row<T>(a.x, r);
    float sum = 0;
    for_columns<1>(C, [&](std::int64_t c) { sum += float(x[c]); });
    const float mean = warp_sum(sum) / float(C);
    for_columns<1>(C, [&](std::int64_t c) {
        const float y = float(x[c]) - mean;
        emit(a.y, r * C + c, y);
        emit(a.scaled, r * C + c, y * read_one(a.gamma, c));
    });
}

template <class T> __global__ void __launch_bounds__(kThreads) slot_softmax_kernel(SlotSoftmaxArgs a) {
    in_turn();
    const std::int64_t r = warp_row();
    if (r >= a.x.rows) return;
    for (int h = lane(); h < a.heads; h += 32) {
        const float* x = row<float>(a.x, r) + std::int64_t(h) * a.slots;
        T* y = row<T>(a.y, r) + std::int64_t(h) * a.slots;
        float top = x[0], sum = 0;
        for (int s = 1; s < a.len; ++s) top = fmaxf(top, x[s]);
        for (int s = 0; s < a.len; ++s) sum += expf(float(a.scale) * (x[s] - top));
        for (int s = 0; s < a.slots; ++s) y[s] = T(s < a.len ? expf(float(a.scale) * (x[s] - top)) / sum : 0.f);
    }
}

}  // namespace

void spread_heads(const SpreadHeadsArgs& a) {
    dispatch(a.x.dtype, "spread_heads", [&](auto tag) { launch<spread_heads_kernel<decltype(tag)>>(warp_per_row(a.y.rows), a); });
}
void center_rows(const CenterRowsArgs& a) {
    dispatch(a.x.dtype, "center_rows", [&](auto tag) { launch<center_rows_kernel<decltype(tag)>>(warp_per_row(a.x.rows), a); });
}
void slot_softmax(const SlotSoftmaxArgs& a) {
    dispatch(a.y.dtype, "slot_softmax", [&](auto tag) { launch<slot_softmax_kernel<decltype(tag)>>(warp_per_row(a.x.rows), a); });
}

}  // namespace eng::cuda
