// Attention forward, rung 2: online softmax over tiles of keys, on the ordinary cores. The kernel is the engine's fallback
// for any head width, ops/cuda/attention_any.cu.
//
// Idea         32 keys and values at a time lie in shared memory for eight queries, a warp each: a lane makes the score of
//              one key. A running maximum and sum per query replace the two extra walks; what was summed before is
//              rescaled whenever the maximum grows.
// Traffic      4 nq nk D FLOP a head; keys and values are read nq / 8 times; two shared loads for every multiply-add.
// Bottleneck   shared loads and ordinary multiply-adds, as on rung 2 of the GEMM ladder. Next rung: tensor cores.
#include "bench/ladder/ladder.h"
#include "ops/cuda/attention_kernels.h"

namespace eng::ladder {

void attention_online(const AttentionFwd& a) { cuda::run_attention_kernel(cuda::AttentionKernel::any, a); }

}  // namespace eng::ladder
