#pragma once
// A model small enough for f64 finite differences, and batches for it.
#include "model/scvd.h"
#include "tests/check.h"

namespace scvd::test {

inline ModelConfig tiny_config(const std::string& dtype = "f64") {
    ModelConfig c;
    c.image = {13, 9, 4, 3, 16, 2, 2};
    c.text = {12, 2, 3, 20, 49408};
    c.embed = 8;
    c.cgi.ffn = 2;
    c.dtype = dtype;
    c.loss.temperature = c.loss.pair_temperature = 0.3f;  // steep losses make finite differences lose digits
    return c;
}

inline Tensor tiny_pixels(eng::Arena& arena, const ModelConfig& c, int images, unsigned seed = 1) {
    Tensor t(arena, {images, c.image.height, c.image.width, 3}, eng::DType::u8);
    std::mt19937 g(seed);
    for (std::int64_t i = 0; i < t.numel(); ++i) t.as<std::uint8_t>()[i] = std::uint8_t(g());
    return t;
}

// `slots[i]` prompts for caption i; some prompts are shared between captions. Tokens come from a small range.
inline TextBatch tiny_texts(eng::Arena& arena, const std::vector<std::int32_t>& slots, unsigned seed = 2) {
    std::mt19937 g(seed);
    std::vector<std::int32_t> ids, positions, lens, eot, prompt_text;
    const auto text = [&](int n) {
        for (int i = 0; i < n; ++i) ids.push_back(i == 0 ? 49406 : i == n - 1 ? 49407 : int(g() % 50)), positions.push_back(i);
        lens.push_back(n), eot.push_back(std::int32_t(ids.size()) - 1);
    };
    for (std::size_t i = 0; i < slots.size(); ++i) text(5 + int(g() % 8));
    const int distinct = 4;
    for (int i = 0; i < distinct; ++i) text(3 + i);
    for (const auto n : slots)
        for (int s = 0; s < n; ++s) prompt_text.push_back(std::int32_t(slots.size()) + (s == 0 ? 0 : int(g() % distinct)));
    TextBatch b;
    b.ids = eng::indices(arena, ids), b.positions = eng::indices(arena, positions);
    b.seqs = eng::packed_seqs(arena, lens), b.eot = eng::indices(arena, eot);
    b.captions = int(slots.size());
    b.prompt_text = eng::indices(arena, prompt_text), b.prompts = eng::packed_seqs(arena, slots);
    return b;
}

}  // namespace scvd::test
