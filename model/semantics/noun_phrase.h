#pragma once
// The noun-phrase automaton: determiners, numbers, modifiers with and / or / commas, compounds, the last noun as head.
#include <array>
#include <span>
#include <vector>

#include "model/semantics/token.h"

namespace scvd::sd {

// A bounded list of token indices; what does not fit is left out (nobody writes 48 adjectives).
struct Indices {
    std::array<std::uint32_t, 48> at{};
    std::size_t size = 0;
    void push(std::size_t i) { if (size < at.size()) at[size++] = static_cast<std::uint32_t>(i); }
    std::span<const std::uint32_t> all() const { return {at.data(), size}; }
};

constexpr std::size_t none = static_cast<std::size_t>(-1);

struct NounPhrase {
    std::size_t begin = 0, end = 0;  // tokens, determiners and "of" complements included
    std::size_t head = none;         // none: only modifiers ("black", "tall and thin")
    Indices mods;                    // in front of the head; "and"/"or" between modifiers included
    Indices content;                 // behind the head: "of" and its noun ("cup of coffee"), "number 23"
    std::size_t bearer = none;       // "the collar of his shirt": where the noun phrase of the bearer starts
    Classes head_classes = 0;        // 0 with a head: an unknown word
    bool determined = false, definite = false, indefinite = false, other = false, all = false, many = false;
    bool measured = false, joined = false, guessed = false;  // "a pair of", "black and white", an unknown head
};

// What the words in front lead to expect.
enum class Place { open, wear, predicate };

// The noun phrase that starts at tokens[i], if there is one. end > begin even where only a determiner was read.
bool parse_noun_phrase(const std::vector<Token>& tokens, std::size_t i, Place place, NounPhrase& out);

inline bool unknown(const Token& t) { return t.word && t.classes == 0 && t.text != "n't" && t.text != "'s"; }

}  // namespace scvd::sd
