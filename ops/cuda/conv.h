#pragma once
// The order of a filter's elements: as a checkpoint has them, and as products over patches want them.
#include "ops/cuda/kernel.h"

namespace eng::cuda {

// taps [O, K] from w [O, I k k]: column (tap, channel) of taps is column (channel, tap) of w; what is beyond I k k is zero.
void filters_to_taps(const View& w, const View& taps, int channels);
// w (+)= taps, back in its own order; f32 or bf16 on either side.
void taps_to_filters(const View& taps, const Out& w, int channels);

}  // namespace eng::cuda
