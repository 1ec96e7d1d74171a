// offsets[b] = begin[b] pitch,  offsets[B] = (begin[B-1] + len[B-1]) pitch: rows of sequences as cuDNN's attention counts them.
//
// Work split   a thread per sequence. Traffic: a few bytes each. Determinism: one owner per element.
// Limits       offsets below 2^31 elements.
#include "ops/cuda/ragged.h"

#include "ops/cuda/kernel.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = 128;

__global__ void __launch_bounds__(kThreads) ragged_offsets_kernel(View begin, View len, std::int64_t pitch, std::int32_t* offsets) {
    in_turn();
    const std::int64_t b = std::int64_t(blockIdx.x) * kThreads + threadIdx.x, B = begin.numel();
    if (b > B) return;
    const std::int64_t first = ptr<std::int32_t>(begin)[b < B ? b : B - 1], rows = b < B ? 0 : ptr<std::int32_t>(len)[B - 1];
    offsets[b] = std::int32_t((first + rows) * pitch);
}

}  // namespace

void ragged_offsets(const View& begin, const View& len, std::int64_t pitch, std::int32_t* offsets) {
    launch<ragged_offsets_kernel>({ceil_div(begin.numel() + 1, kThreads), kThreads}, begin, len, pitch, offsets);
}

}  // namespace eng::cuda
