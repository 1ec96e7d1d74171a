#pragma once
// Descriptions made ready for the text encoder: tokens of the caption, prompts of its phrases. Equal prompts ("black
// shoes") are encoded once per batch and gathered, which changes nothing but the cost.
#include <memory>
#include <unordered_map>

#include "engine/rng.h"
#include "model/clip.h"
#include "model/semantics/deconstructor.h"
#include "model/tokenizer.h"
#include "train/config.h"

namespace scvd {

struct TextItem {
    std::string text;
    std::vector<int> tokens;   // SOT .. EOT
    std::vector<int> prompts;  // ids in the bank; the person first
    std::vector<int> phrase;   // for each prompt: -1 person, -2 the description, else index into parts.phrases
    Deconstruction parts;
};

class TextBank {
public:
    TextBank(const Config&, const std::string& bpe_path);
    TextItem item(const std::string& description);
    const std::vector<int>& prompt_tokens(int id) const { return prompts_[id].tokens; }
    const std::string& prompt_text(int id) const { return prompts_[id].text; }

private:
    struct Prompt { std::string text; std::vector<int> tokens; };
    Tokenizer tokenizer_;
    Deconstructor deconstruct_;
    PromptOptions options_;
    int context_;
    std::vector<Prompt> prompts_;
    std::unordered_map<std::string, int> ids_;
};

// Captions and distinct prompts of `items`, packed. With `dropout` > 0 each prompt but the person's is left out with
// that chance, drawn from `rng`.
TextBatch make_text_batch(eng::Arena&, const TextBank&, const std::vector<const TextItem*>& items, float dropout = 0, eng::Rng* rng = nullptr);

}  // namespace scvd
