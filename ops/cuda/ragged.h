#pragma once
#include "ops/kernels.h"

namespace eng::cuda {

// Where sequences start in a buffer whose rows are `pitch` elements apart, as cuDNN counts: offsets[b] = begin[b] pitch for the
// B sequences, and offsets[B] the end of the last one.
void ragged_offsets(const View& begin, const View& len, std::int64_t pitch, std::int32_t* offsets);

}  // namespace eng::cuda
