// Attention forward, rung 4: all keys and values of a head in shared memory. The kernel is forward_whole_kernel of
// ops/cuda/attention_forward.cu.
//
// Idea         193 keys and values of 64 columns are 52 KB: one block copies them once and serves all queries of the head
//              from there, without another barrier. Keys are padded to 16, not to a tile of 64 or 128: 193 cost 208.
// Traffic      q, k, v are read once and y is written once: 4 x 128 bytes a row, which is what bounds it below ~200 keys.
// Bottleneck   predicted: each strip of 16 queries fetches all keys and values from shared memory by ldmatrix, and what surrounds an
//              mma.sync of 16 x 8 fills the issue slots. Next: 64 queries at a time by wgmma.
#include "bench/ladder/ladder.h"
#include "ops/cuda/attention_kernels.h"

namespace eng::ladder {

void attention_whole(const AttentionFwd& a) { cuda::run_attention_kernel(cuda::AttentionKernel::whole, a); }

}  // namespace eng::ladder
