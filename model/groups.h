#pragma once
// Which pairs of a batch the pair stage is trained on.
#include "model/interaction.h"
#include "model/losses.h"

namespace scvd {

// Cuts the batch into groups of `size` pairs that stage 1 takes for each other; every member then meets all of its group.
// Picking the hardest negatives of each row alone would be cheaper to describe and wrong: popular texts would stand among
// the negatives far more often than among the matches, and the pair stage would learn popularity instead of matching. In
// a group each image and each text is a match as often as any other. score: stage 1's, row-major [images, texts].
std::vector<std::vector<int>> group_alike(const std::vector<double>& score, const std::vector<std::int32_t>& labels, int size);

// One rank's share of the pairs within the groups, image by image, and how both readings of all ranks' scores are found: the score of image i
// and the b-th text of its group stands at i * size + b, whatever rank computed it.
struct GroupPairs {
    PairList pairs;                      // of the share's images; `image` counts from the share's first, `text` over the whole batch
    std::vector<std::int32_t> by_image;  // [n * size]: into `pairs`; where a group is smaller, any pair
    std::vector<std::int32_t> by_text;   // [n * size]: into the [B * size] scores of all images
    std::vector<std::int32_t> own;       // [n]: the column of the own pair, in both
    Match match;                         // [n, size], the same for both: -1 where a group is smaller
};
GroupPairs pair_up(const std::vector<std::vector<int>>& groups, const BatchShare&, int size);

}  // namespace scvd
