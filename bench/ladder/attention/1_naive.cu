// Attention forward, rung 1: one thread per query and head.
//
// Idea         the definition, in three walks over the keys: the largest score, the sum of exponentials, the weighted values.
//              Nothing is stored between the walks, so scores are computed three times.
// Traffic      12 nq nk D FLOP a head in place of 4, and every thread reads all keys and values of its sequence from cache.
// Bottleneck   each key row serves one query at a time, three times over. Next rung: tiles of keys in shared memory for many
//              queries, and one walk, with a running maximum that rescales what was summed before.
#include <cmath>

#include "bench/ladder/ladder.h"
#include "ops/cuda/attention.h"

namespace eng::ladder {
namespace {

using namespace eng::cuda;

constexpr int kD = 64;

PTX_INLINE float dot(const cuda::bf16* x, const cuda::bf16* y) {
    float s = 0;
    for (int d = 0; d < kD; ++d) s += float(x[d]) * float(y[d]);
    return s;
}

__global__ __launch_bounds__(128) void naive_attention_kernel(AttentionFwd a) {
    in_turn();
    const int per = (a.seqs.max_q + 127) / 128, block = int(blockIdx.x / a.heads), head = int(blockIdx.x % a.heads);
    const Seq s = seq_at(a.seqs, block / per);
    const int i = block % per * 128 + threadIdx.x;
    if (i >= s.nq) return;
    const int keys = a.causal ? min(s.nk, i + 1) : s.nk;
    const auto* q = row<cuda::bf16>(a.q, s.q + i) + head * kD;
    const auto score = [&](int j) { return float(a.scale) * dot(q, row<cuda::bf16>(a.k, s.k + j) + head * kD); };
    float top = -INFINITY, sum = 0, out[kD] = {};
    for (int j = 0; j < keys; ++j) top = fmaxf(top, score(j));
    for (int j = 0; j < keys; ++j) sum += expf(score(j) - top);
    for (int j = 0; j < keys; ++j) {
        const float p = expf(score(j) - top) / sum;
        const auto* v = row<cuda::bf16>(a.v, s.k + j) + head * kD;
#pragma unroll
        for (int d = 0; d < kD; ++d) out[d] += p * float(v[d]);
    }
    for (int d = 0; d < kD; ++d) row<cuda::bf16>(a.y, s.o + i)[head * kD + d] = cuda::bf16(out[d]);
    ptr<float>(a.lse)[std::int64_t(s.o + i) * a.heads + head] = top + logf(sum);
}

}  // namespace

void attention_naive(const AttentionFwd& a) {
    const unsigned blocks = unsigned(ceil_div(a.seqs.max_q, 128) * a.seqs.q_begin.numel() * a.heads);
    launch<naive_attention_kernel>({dim3(blocks), dim3(128)}, a);
}

}  // namespace eng::ladder
