// Attention backward for short sequences, bf16, head width 64: everything that a head needs lies in shared memory.
//
// Work split   a block of 8 warps (2 up to 80 rows, 1 up to 16) takes a (sequence, head). Warps take turns at one list: strips of 16 keys, of
//              which they make dk and dv, then strips of 16 queries, of which they make dq.
// Tiling       q, dy, k, v of the head in shared memory: 4 x 128 bytes a row; 193 rows: 108 KB, two blocks a multiprocessor.
//
//                 keys     p^T = exp2(k q^T - lse)   dp^T = v dy^T     dv += p^T dy    dk += ds^T q
//                 queries  p   = exp2(q k^T - lse)   dp   = dy v^T     dq += ds k          ds = p (dp - delta)
//
// Traffic      reads q, k, v, y, dy, lse once and writes dq, dk, dv once. Scores and dp are computed twice (14 nq nk 64 FLOP
//              in place of 10): that way no strip waits for another and nothing but the inputs is ever shared.
// Registers    128 (8 warps; causal 176), 168 (2 warps, 1 warp), no spills. q, k, v, dy arrive 16 bytes a copy.
// Numerics     f32 scores and sums; p and ds are rounded to bf16 as operands. delta = sum of dy y, in f32.
// Determinism  a gradient row has one owner, its sums run in the order of the other side's rows. No atomics.
#include "ops/cuda/attention_head.h"

namespace eng::cuda {
namespace {

// Blocks a multiprocessor: as many as leave every lane the registers it needs.
template <bool CAUSAL, int WARPS>
__global__ __launch_bounds__(WARPS * 32, WARPS == 8 ? CAUSAL ? 1 : 2 : 12 / WARPS) void backward_whole_kernel(AttentionBwd a, float scale, int rows_q, int rows_k) {
    in_turn();
    GPU_DYN_SHARED(unsigned char, smem);
    constexpr int threads = WARPS * 32;
    const Head m(smem, rows_q, rows_k);
    const int unit = int(blockIdx.x / a.heads), warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = int(blockIdx.x % a.heads);
    const Seq s = seq_at(a.seqs, unit);
    const int padded_q = (s.nq + 15) / 16 * 16, padded_k = (s.nk + 15) / 16 * 16;
    fill<threads, WARPS == 2 ? 6 : 4>(m, a, s, head, padded_q, padded_k);
    __syncthreads();  // matrices and row sums are there; from here on nobody writes shared memory
    // Strips of keys, then of queries; which warps have one more differs between blocks: a quarter of the multiprocessor has every fourth warp.
    const int keys = a.dk.mode != Mode::skip || a.dv.mode != Mode::skip ? padded_k / 16 : 0, queries = a.dq.mode != Mode::skip ? padded_q / 16 : 0;
    int i = (warp + unit) % WARPS;
    for (; i < keys; i += WARPS) key_strip<CAUSAL>(m, a, s, i * 16, head, scale, lane);
    for (; i < keys + queries; i += WARPS) query_strip<CAUSAL>(m, a, s, (i - keys) * 16, head, scale, lane);
}

template <bool CAUSAL, int WARPS>
void run(const AttentionBwd& a, int rows_q, int rows_k) {
    const Launch at{dim3(unsigned(a.seqs.q_begin.numel() * a.heads)), dim3(WARPS * 32), Head::bytes(rows_q, rows_k)};
    launch<backward_whole_kernel<CAUSAL, WARPS>>(at, a, float(a.scale) * kLog2e, rows_q, rows_k);  // exp2 in place of exp
}
template <bool CAUSAL>
void run(const AttentionBwd& a) {
    const int rows_q = (a.seqs.max_q + 15) / 16 * 16, rows_k = (a.seqs.max_k + 15) / 16 * 16;
    const int longest = std::max(rows_q, rows_k);
    if (longest <= 16) run<CAUSAL, 1>(a, rows_q, rows_k);
    else longest <= kFewRows ? run<CAUSAL, 2>(a, rows_q, rows_k) : run<CAUSAL, 8>(a, rows_q, rows_k);
}

}  // namespace

void attention_whole(const AttentionBwd& a) { a.causal ? run<true>(a) : run<false>(a); }

}  // namespace eng::cuda
