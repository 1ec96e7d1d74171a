#pragma once
// Which pairs of a batch the pair stage is trained on.
#include "model/losses.h"

namespace scvd {

// Cuts the batch of all ranks into groups of `size` pairs that stage 1 takes for each other; every member then meets all of its group.
// Picking the hardest negatives of each row alone would be cheaper to describe and wrong: popular texts would stand among
// the negatives far more often than among the matches, and the pair stage would learn popularity instead of matching. In
// a group each image and each text is a match as often as any other.
// images, texts: this rank's rows of stage 1's vectors. Choosing costs the square of the number, so it happens within `pool` pairs at a time.
// Returns i32 [B]: a permutation in which every `size` neighbours are a group.
Tensor groups_of(const Tensor& images, const Tensor& texts, const BatchShare&, int size, int pool);

}  // namespace scvd
