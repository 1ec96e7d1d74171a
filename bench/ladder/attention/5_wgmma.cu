// Attention forward, rung 5: wgmma. The kernel is forward_hopper_kernel of ops/cuda/attention_forward_hopper.cu; where it has nothing to say
// (causal, up to 80 rows) this is rung 4.
//
// Idea         keys and values lie in shared memory as before, but 64 queries of four warps meet them at once: one instruction reads 64 keys
//              for all four, without ldmatrix and without an instruction per 16 x 8 products. 193 = 3 64 + 1: what is left over,
//              rows and columns, is still mma.sync's, in the same registers.
// Traffic      as rung 4 from memory; a quarter of it from shared memory.
// Bottleneck   predicted: memory, 36 us for 1536 heads of 193 rows, if three blocks a multiprocessor overlap one's copies with the others'
//              powers (32 MUFU for 64 keys and strip, 243 instructions in all where rung 4 has 330).
#include "bench/ladder/ladder.h"
#include "ops/cuda/attention_kernels.h"

namespace eng::ladder {

void attention_wgmma(const AttentionFwd& a) {
    using cuda::AttentionKernel;
    cuda::run_attention_kernel(can_run(AttentionKernel::hopper, a) ? AttentionKernel::hopper : AttentionKernel::whole, a);
}

}  // namespace eng::ladder
