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

// All pairs within the groups, and their two readings: image by image, and text by text.
struct GroupPairs {
    PairList pairs;
    std::vector<std::int32_t> by_image, by_text;  // [B * size]: a pair; where a group is smaller, any pair
    std::vector<std::int32_t> own;                // [B]: the column of the own pair, in both
    Match image_match, text_match;                // [B, size]: -1 where a group is smaller
};
GroupPairs pair_up(const std::vector<std::vector<int>>& groups, const std::vector<std::int32_t>& labels, int size);

}  // namespace scvd
