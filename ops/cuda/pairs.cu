// Index tensors: counted, picked by number, labels that match, and the groups of pairs that training looks at.
//
//   count_up      y[i] = first + i / inner outer_step + i % inner inner_step
//   pick_seqs     begin, len of sequences which[i]; out = lengths summed up
//   match_labels  [rows[i] = cols[j]]
//   group_alike   cuts the batch into groups that stage 1 takes for each other, greedily: the first that is left, and those of the rest
//                 that score highest with it both ways
//   pair_up       each row's group as columns, read by image and by text
//
// Work split   a thread per element; pick_seqs one block, which scans a stretch of its threads' lengths at a time; group_alike one warp, as
//              every choice depends on the ones before: a lane keeps the candidates j = lane mod 32, so that nothing but the least key
//              passes between lanes. pair_up a block per row, which looks for its place in the order.
// Traffic      bytes, not megabytes. group_alike is a chain of n choices of some 400 cycles: 30 us for 128 pairs, and the price of
//              not asking the host, which would drain the GPU in mid-step.
// Numerics     exact; scores are compared as f32. Equal scores: the lower index. Determinism: no atomics, one owner per element.
// Limits       fewer than 25,000 pairs in group_alike (nine bytes of shared memory each).
#include "ops/cuda/chip.h"
#include "ops/cuda/kernel.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) count_up_kernel(CountUpArgs a) {
    in_turn();
    const std::int64_t i = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i < a.y.numel()) ptr<std::int32_t>(a.y)[i] = std::int32_t(a.first + i / a.inner * a.outer_step + i % a.inner * a.inner_step);
}

__global__ void __launch_bounds__(kThreads) match_labels_kernel(MatchLabelsArgs a) {
    in_turn();
    const std::int64_t i = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i < a.match.numel()) ptr<std::int32_t>(a.match)[i] = ptr<std::int32_t>(a.rows)[i / a.match.cols] == ptr<std::int32_t>(a.cols)[i % a.match.cols];
}

__global__ void __launch_bounds__(kThreads) pick_seqs_kernel(PickSeqsArgs a) {
    in_turn();
    const int n = int(a.which.numel());
    int rows = 0;
    for (int base = 0; base < n; base += kThreads) {
        const int i = base + int(threadIdx.x), s = i < n ? ptr<std::int32_t>(a.which)[i] : -1;
        const bool there = s >= 0 && s < a.begin.numel();
        const int len = there ? ptr<std::int32_t>(a.len)[s] : 0;
        const Scan sums = block_scan<kThreads>(len);
        if (i < n) {
            ptr<std::int32_t>(a.y_begin)[i] = there ? ptr<std::int32_t>(a.begin)[s] : 0;
            ptr<std::int32_t>(a.y_len)[i] = len;
            ptr<std::int32_t>(a.y_out)[i] = rows + sums.before;
        }
        rows += sums.all;
    }
}

using Key = unsigned long long;
constexpr Key kTaken = ~Key(0);
__device__ __forceinline__ Key warp_least(Key k) {
#pragma unroll
    for (int d = 16; d; d /= 2) {
        const Key other = __shfl_xor_sync(kAllLanes, k, d);
        k = other < k ? other : k;
    }
    return k;
}
// Less is better: the head itself, then other people, then higher scores, then lower indices.
__device__ Key key_of(const GroupAlikeArgs& a, int head, int j) {
    if (j == head) return Key(j);
    const auto score = [&](int i, int k) {
        const float s = row<float>(a.scores, i)[k];
        return fabsf(s) < INFINITY ? s : 0.f;  // of what is not finite the loss speaks
    };
    const bool same = ptr<std::int32_t>(a.labels)[head] == ptr<std::int32_t>(a.labels)[j];
    const unsigned bits = __float_as_uint(0.f - (score(head, j) + score(j, head)));
    const unsigned ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;  // as an integer it sorts as the float did
    return Key(same) << 63 | Key(ordered) << 31 | Key(j);
}
__device__ __forceinline__ int index_of(Key k) { return int(k & 0x7fffffffu); }

__global__ void __launch_bounds__(32) group_alike_kernel(GroupAlikeArgs a) {
    in_turn();
    GPU_DYN_SHARED(Key, key);  // [n], then a byte each: taken
    const int n = int(a.labels.numel());
    auto* taken = reinterpret_cast<unsigned char*>(key + n);
    for (int j = lane(); j < n; j += 32) taken[j] = 0;
    for (int done = 0; done < n;) {
        Key least = kTaken;
        for (int j = lane(); j < n && least == kTaken; j += 32)
            if (!taken[j]) least = Key(j);
        const int head = index_of(warp_least(least)), take = min(a.size, n - done);
        for (int j = lane(); j < n; j += 32) key[j] = taken[j] ? kTaken : key_of(a, head, j);
        for (int k = 0; k < take; ++k) {
            least = kTaken;
            for (int j = lane(); j < n; j += 32) least = key[j] < least ? key[j] : least;
            const int j = index_of(warp_least(least));
            if (j % 32 == lane()) key[j] = kTaken, taken[j] = 1, ptr<std::int32_t>(a.order)[done + k] = a.first + j;
        }
        done += take;
    }
}

__global__ void __launch_bounds__(kThreads) pair_up_kernel(PairUpArgs a) {
    in_turn();
    GPU_SHARED(place, int[1]);
    const int B = int(a.order.numel()), size = int(a.text.cols), me = a.first + int(blockIdx.x);
    const auto *order = ptr<std::int32_t>(a.order), *label = ptr<std::int32_t>(a.labels);
    for (int i = threadIdx.x; i < B; i += kThreads)
        if (order[i] == me) place[0] = i;
    __syncthreads();  // the place is found
    const int begin = place[0] / size * size, own = place[0] - begin;
    if (threadIdx.x == 0) ptr<std::int32_t>(a.own)[blockIdx.x] = own;
    for (int b = threadIdx.x; b < size; b += kThreads) {
        const bool there = begin + b < B;
        const int member = there ? order[begin + b] : me, match = there ? label[me] == label[member] : -1;
        row<std::int32_t>(a.text, blockIdx.x)[b] = member;
        row<std::int32_t>(a.by_text, blockIdx.x)[b] = member * size + own;
        row<std::int32_t>(a.match, blockIdx.x)[b] = match;
        row<float>(a.negative, blockIdx.x)[b] = match != 0 && b != own ? -1e4f : 0.f;
    }
}

}  // namespace

void count_up(const CountUpArgs& a) { launch<count_up_kernel>({ceil_div(a.y.numel(), kThreads), kThreads}, a); }
void match_labels(const MatchLabelsArgs& a) { launch<match_labels_kernel>({ceil_div(a.match.numel(), kThreads), kThreads}, a); }
void pick_seqs(const PickSeqsArgs& a) { launch<pick_seqs_kernel>({a.which.numel() ? 1u : 0u, kThreads}, a); }
void group_alike(const GroupAlikeArgs& a) {
    const std::size_t smem = std::size_t(a.labels.numel()) * (sizeof(Key) + 1);
    ENG_CHECK(a.scores.dtype == DType::f32, "group_alike", "CUDA compares f32 scores, not ", name_of(a.scores.dtype));
    ENG_CHECK(smem <= chip().smem, "group_alike", a.labels.numel(), " pairs at once; ", chip().smem / (sizeof(Key) + 1), " fit (loss.pool)");
    launch<group_alike_kernel>({a.labels.numel() ? 1u : 0u, 32, smem}, a);
}
void pair_up(const PairUpArgs& a) {
    ENG_CHECK(a.negative.dtype == DType::f32, "pair_up", "CUDA computes losses in f32, not in ", name_of(a.negative.dtype));
    launch<pair_up_kernel>({unsigned(a.text.rows), kThreads}, a);
}

}  // namespace eng::cuda
