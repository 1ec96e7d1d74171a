#pragma once
// A ring of shared memory stages between a thread that copies and those who multiply.
#include "ops/cuda/ptx.h"

namespace eng::cuda {

// How far somebody is in it. Counted on, not divided out of a number of steps: that is a dozen instructions a step.
template <int Stages> struct RingAt {
    int stage = 0;
    unsigned round = 0;  // odd or even: the phase of the stage's barriers
    PTX_INLINE void next() {
        if (++stage == Stages) stage = 0, round ^= 1;
    }
};

}  // namespace eng::cuda
