#pragma once
// Descriptions made ready for the text encoder: tokens of the caption, prompts of its phrases. Equal prompts ("black
// shoes") are encoded once per batch and gathered, which changes nothing but the cost.
#include <memory>
#include <unordered_map>

#include "engine/rng.h"
#include "model/clip.h"
#include "model/tokenizer.h"
#include "train/data/dataset.h"
#include "train/data/phrase_source.h"

namespace scvd {

struct TextItem {
    struct Choice { int prompt, neutral; };  // ids in the bank: with the person's class, and with "person" in its place

    std::string text;
    std::vector<int> tokens;   // SOT .. EOT
    std::vector<int> prompts;  // ids in the bank, at most sd.slots; the person first
    std::vector<int> phrase;   // for each prompt: index into parts.phrases, person_prompt or description_prompt
    std::vector<Choice> all;   // what training draws from: a prompt for every phrase, in the same order
    int fixed = 1;             // how many of them are no phrases
    Deconstruction parts;
};

class TextBank {
public:
    TextBank(const Config&, const std::string& bpe_path);
    TextItem item(const std::string& description);
    const std::vector<int>& prompt_tokens(int id) const { return prompts_[id].tokens; }
    int context() const { return context_; }
    const std::string& prompt_text(int id) const { return prompts_[id].text; }

private:
    struct Prompt { std::string text; std::vector<int> tokens; };
    int id_of(const std::string& prompt);
    Tokenizer tokenizer_;
    PhraseSource deconstruct_;
    PromptOptions options_;
    int context_;
    std::vector<Prompt> prompts_;
    std::unordered_map<std::string, int> ids_;
};

// The captions of a split's pairs, in their order.
std::vector<TextItem> items_of(TextBank&, const Split&);

// sd.* of the config: slots, templates, the whole description.
PromptOptions prompt_options(const Config&);

// What training does to the prompts of a description, drawn anew every time it is read: from the seed and the number of the reading.
struct PromptNoise {
    int slots = 8;      // more phrases than fit: a random subset, where evaluation keeps the most telling ones
    float dropout = 0;  // chance to leave out each prompt but the person's
    float neutral = 0;  // chance to say "person" throughout, so that prompts do not carry the sex alone
    std::uint64_t seed = 0;
    std::vector<std::int64_t> readings = {};  // one per item; none: no noise
};

// items[first .. first+n), cut at their end, as make_text_batch wants them.
std::vector<const TextItem*> pointers(const std::vector<TextItem>& items, std::size_t first = 0, std::size_t n = std::size_t(-1));

// Captions and distinct prompts of `items`, packed: a masked slot is one that is not there, it has no row anywhere.
// few_sizes: texts and captions that nobody asks for are put behind, so that all tensors have one of few sizes, as a recorded step wants it.
TextBatch make_text_batch(eng::Arena&, const TextBank&, const std::vector<const TextItem*>& items, const PromptNoise& noise = {}, bool few_sizes = false);

}  // namespace scvd
