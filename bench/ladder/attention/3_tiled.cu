// Attention forward, rung 3: tensor cores, keys streaming by. The kernel is forward_tiled_kernel of
// ops/cuda/attention_forward.cu.
//
// Idea         a warp holds 16 queries as operands in registers and makes 16 x 64 scores with mma.sync; the accumulators of
//              the scores have the layout of an operand, so that p v needs no trip through shared memory. 64 keys and
//              values are used while the next 64 arrive.
// Traffic      4 nq nk D FLOP a head; keys and values are read nq / 64 times.
// Bottleneck   for 193 keys: two barriers per 64 keys, and every block of 64 queries fetches the same keys again. Next rung:
//              fetch them once, all of them.
#include "bench/ladder/ladder.h"
#include "ops/cuda/attention_kernels.h"

namespace eng::ladder {

void attention_tiled(const AttentionFwd& a) { cuda::run_attention_kernel(cuda::AttentionKernel::tiled, a); }

}  // namespace eng::ladder
