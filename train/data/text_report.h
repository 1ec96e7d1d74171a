#pragma once
// What the Semantics Deconstructor finds in the captions of a data set: how much it leaves unread, and which words it
// does not know. Part of `scvd data check`.
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "model/semantics/deconstructor.h"

namespace scvd {

struct TextReport {
    int captions = 0;
    std::map<int, int> phrases;     // number of phrases -> captions that have so many
    std::int64_t words = 0, unknown = 0;
    std::vector<std::pair<std::string, int>> most_unknown;  // at most `listed`, most frequent first, then by the alphabet

    double without_phrase() const;  // share of captions, 0 for none
    double unknown_share() const;   // of words
    double mean_phrases() const;
};

// A word counts as unknown when it is neither in the lexicon nor, in any form, in WordNet, and is no typo that is put right.
TextReport report_texts(const std::vector<std::string>& captions, const Deconstructor&, std::size_t listed = 200);

nlohmann::ordered_json to_json(const TextReport&);
std::string table(const TextReport&, std::size_t words_shown = 20);

}  // namespace scvd
