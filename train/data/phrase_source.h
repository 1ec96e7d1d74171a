#pragma once
// Where the prompts of a description come from. The grammar, except where a study asks what it is worth.
#include <map>

#include "model/semantics/deconstructor.h"
#include "train/config.h"

namespace scvd {

// sd.source:
//   grammar  the Semantics Deconstructor
//   wordnet  the same grammar, WordNet's classes in place of the lexicon
//   bare     the same grammar, function words alone
//   oracle   what the synthetic set says was meant (its regions.jsonl); an error for any other text
//   windows  every sd.window words of the description, whatever they say
class PhraseSource {
public:
    explicit PhraseSource(const Config&);
    Deconstruction operator()(const std::string& description) const;

private:
    std::string kind_;
    int window_;
    Deconstructor grammar_;
    std::map<std::string, Deconstruction> oracle_;  // by caption
};

// The description cut every `words` words, each piece a phrase with its bytes.
Deconstruction cut_windows(const std::string& description, int words);

// What the sidecar of the synthetic set below `root` says of each of its captions.
std::map<std::string, Deconstruction> load_oracle(const std::string& root, const Deconstructor& person_of);

}  // namespace scvd
