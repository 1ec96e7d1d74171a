#pragma once
// Words of a description with their classes and their place in the raw text.
#include <string>
#include <string_view>
#include <vector>

#include "model/semantics/lexicon.h"
#include "model/semantics/rules.h"

namespace scvd::sd {

struct Token {
    std::string_view text;  // canonical; "," or "." for punctuation, "'s" for a split clitic
    Classes classes = 0;    // 0: unknown word or punctuation
    std::uint32_t flags = 0;
    std::uint32_t begin = 0, end = 0;  // bytes of the raw text
    bool hyphen = false;               // a hyphen joins it to the token before
    bool word = true;                  // false: punctuation
    Rule rule = Rule::none;            // that decided its class

    bool is(Classes c) const { return (classes & c) != 0; }
    bool has(std::uint32_t f) const { return (flags & f) != 0; }
    bool stops() const { return !word && text != "," && text != ":"; }  // ends a sentence
    bool comma() const { return !word && text == ","; }
};

// Tokens refer into `lower` and into the lexicon: neither may move while they are in use.
struct Sentence {
    Sentence() = default;
    Sentence(const Sentence&) = delete;
    Sentence& operator=(const Sentence&) = delete;
    std::string lower;  // the raw text, byte for byte, in lower case and with plain quotes and dashes
    std::vector<Token> tokens;
};

// Splits, finds the longest multi-words, corrects typos, asks WordNet.
void tokenise(std::string_view raw, const Lexicon& lexicon, Sentence& out);

bool is_number(std::string_view word);  // "23"

// Decides words that are ambiguous ("her", "watch", "dress", "that") by their neighbours.
void classify(std::vector<Token>& tokens);

}  // namespace scvd::sd
