#pragma once
// The domain lexicon: words and multi-words -> classes, canonical spelling; correction of typos among its own words.
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/semantics/deconstructor.h"
#include "model/semantics/words.h"

namespace scvd {

struct Entry {
    std::string text;  // canonical spelling: alias resolved, words of a multi-word separated by blanks
    sd::Classes classes = 0;
    std::uint32_t flags = 0;
    int words = 1;
    bool is_noun() const { return (classes & sd::noun) && !(classes & sd::verbs); }
};

struct Lexicon {
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
    };
    std::unordered_map<std::string, Entry, Hash, std::equal_to<>> entries;
    // First word -> how many words the longest multi-word with it has.
    std::unordered_map<std::string, int, Hash, std::equal_to<>> longest;

    // Real words that stand for another one right before or after something worn: "pleaded shorts", "black shows".
    std::unordered_map<std::string, std::string, Hash, std::equal_to<>> confusions;

    // "" = the compiled-in text. Throws eng::Error naming file and line.
    static Lexicon load(const std::string& file, Words words = Words::all);
    bool use_wordnet = true;  // for words that it lacks

    const Entry* find(std::string_view words) const;
    // The entry that a misspelt word most likely means; nullptr where that is not clear.
    const Entry* correct(std::string_view word) const;

private:
    std::unordered_map<std::string, std::vector<const Entry*>, Hash, std::equal_to<>> by_shape_;  // for correct()
    void parse(std::string_view text, const std::string& name);
    void add(std::string_view item, int section, const std::string& where);
    void add_word(const std::string& key, const std::string& text, sd::Classes c, std::uint32_t flags);
    void index_for_typos();
};

// "upper mod" for the classes of a word, "unknown" for none.
std::string class_list(sd::Classes classes);

std::string plural_of(std::string_view noun);
// Singular-like form for comparing heads: "dresses" and "dress", "shoes" and "shoe" agree.
std::string_view stem_of(std::string_view word);

}  // namespace scvd
