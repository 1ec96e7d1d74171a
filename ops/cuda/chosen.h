#pragma once
// Which of a list concern this block, in the order of the list.
#include "ops/cuda/kernel.h"

namespace eng::cuda {

constexpr int kLook = 4;  // members of the list that a thread looks at together

// Calls use(list, n) with those i of 0 .. total-1 for which is(i), some of them at a time, in order. All threads of a block of at most
// MOST take part; use may contain barriers. n may be 0.
template <int MOST, class Is, class Use>
PTX_INLINE void for_chosen(int total, Is&& is, Use&& use) {
    GPU_SHARED(list, int[kLook * MOST]);
    for (int base = 0; base < total; base += kLook * int(blockDim.x)) {
        const int mine = base + kLook * int(threadIdx.x);
        unsigned chosen = 0;
#pragma unroll
        for (int i = 0; i < kLook; ++i)
            if (mine + i < total) chosen |= unsigned(is(mine + i)) << i;
        const Scan found = block_scan<MOST>(__popc(chosen));  // every thread is done with the list before
        int at = found.before;
        for (; chosen; chosen &= chosen - 1) list[at++] = mine + __ffs(int(chosen)) - 1;
        __syncthreads();  // the list is complete
        use(list, found.all);
    }
}

}  // namespace eng::cuda
