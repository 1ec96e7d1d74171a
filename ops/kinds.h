#pragma once
// Choices that host code and kernels share.
#include <cstdint>

namespace eng {

enum class Similarity : std::uint8_t { dot, cosine };       // DFA: scaled dot product t.L/sqrt(C) | cosine
enum class WeightNorm : std::uint8_t { softmax, sigmoid };  // DFA: weights over a text's prompts

}  // namespace eng
