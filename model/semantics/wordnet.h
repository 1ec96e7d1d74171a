#pragma once
// What WordNet knows of a word, from a table that is made at build time (scripts/wordnet_tables.cpp) and compiled in.
// It stands behind the lexicon: it classes words that the lexicon lacks and protects them from typo correction.
#include <cstdint>
#include <string_view>

#include "model/semantics/words.h"

namespace scvd::sd {

enum class WordNetNoun : std::uint16_t {
    no, upper, lower, full, foot, headwear, accessory, bag,  // worn: upper .. bag
    generic, hair, style, facial, body, bodypart, part, colour, material, container, carried, held, screen, ridden, pushed,
    animal, person, man, woman, boy, girl, child,
    other,  // any other noun: a place, an act, a feeling
};

// Bits of a table entry, beside the noun class in the lowest five.
enum WordNetTag : std::uint16_t {
    wordnet_noun = 31, wordnet_verb = 32, wordnet_wear = 64, wordnet_carry = 128, wordnet_adjective = 256, wordnet_colour = 512,
    wordnet_adverb = 1024, wordnet_plural = 2048, wordnet_participle = 4096, wordnet_person = 8192,
};

struct WordNetEntry {
    bool known = false;  // a word of English, in this or another form ("boots", "zipped")
    Classes classes = 0;
    std::uint32_t flags = 0;
};

// `word` in lower case. Where the build had no WordNet, nothing is known.
WordNetEntry wordnet(std::string_view word);
bool has_wordnet();

}  // namespace scvd::sd
