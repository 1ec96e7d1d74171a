#include "train/data/texts.h"

#include <algorithm>
#include <numeric>

namespace scvd {
namespace {

// The slots of one reading of a description in training, as ids in the bank.
std::vector<int> draw_prompts(const TextItem& t, const PromptNoise& noise, std::int64_t reading) {
    eng::Rng rng(noise.seed, (std::uint64_t(3) << 56) ^ std::uint64_t(reading));
    const int n = int(t.all.size()), room = std::max(noise.slots, t.fixed) - t.fixed;
    std::vector<int> kept(n - t.fixed);
    std::iota(kept.begin(), kept.end(), t.fixed);
    if (int(kept.size()) > room) {
        rng.shuffle(kept);
        kept.resize(room);
        std::sort(kept.begin(), kept.end());
    }
    for (int i = t.fixed; i-- > 0;) kept.insert(kept.begin(), i);
    const bool neutral = noise.neutral > 0 && rng.chance(noise.neutral);
    std::vector<int> ids;
    for (const int k : kept) {
        if (k > 0 && noise.dropout > 0 && rng.chance(noise.dropout)) continue;
        ids.push_back(neutral ? t.all[k].neutral : t.all[k].prompt);
    }
    return ids;
}

}  // namespace

PromptOptions prompt_options(const Config& c) {
    PromptOptions o;
    o.slots = c.sd.slots;
    o.use_templates = c.sd.templates && c.sd.source != "windows";  // a window is no phrase that fits into a sentence
    o.whole_description = c.sd.whole_description;
    for (int i = 0; i < category_count; ++i) o.templates[Category(i)] = c.sd.template_of[i];
    return o;
}

TextBank::TextBank(const Config& c, const std::string& bpe_path)
    : tokenizer_(Tokenizer::load(bpe_path)), deconstruct_(c), options_(prompt_options(c)), context_(c.model.text.context) {}

int TextBank::id_of(const std::string& prompt) {
    const auto [it, fresh] = ids_.emplace(prompt, int(prompts_.size()));
    if (fresh) prompts_.push_back({prompt, tokenizer_.tokens(prompt, context_)});
    return it->second;
}

TextItem TextBank::item(const std::string& description) {
    TextItem t;
    t.text = description;
    t.tokens = tokenizer_.tokens(description, context_);
    t.parts = deconstruct_(description);
    const Prompts kept = make_prompts(t.parts, options_, description);
    for (std::size_t s = 0; s < kept.text.size(); ++s)
        if (kept.mask[s]) t.prompts.push_back(id_of(kept.text[s])), t.phrase.push_back(kept.phrase[s]);
    PromptOptions options = unlimited(options_, t.parts);
    const Prompts all = make_prompts(t.parts, options, description);
    options.neutral = true;
    const Prompts neutral = make_prompts(t.parts, options, description);
    for (std::size_t s = 0; s < all.text.size(); ++s)
        if (all.mask[s]) t.all.push_back({id_of(all.text[s]), id_of(neutral.text[s])});
    t.fixed = options.whole_description ? 2 : 1;
    return t;
}

std::vector<const TextItem*> pointers(const std::vector<TextItem>& items, std::size_t first, std::size_t n) {
    std::vector<const TextItem*> p;
    for (std::size_t i = first; i < items.size() && i - first < n; ++i) p.push_back(&items[i]);
    return p;
}

TextBatch make_text_batch(eng::Arena& arena, const TextBank& bank, const std::vector<const TextItem*>& items, const PromptNoise& noise) {
    TextBatch batch;
    std::vector<std::int32_t> ids, positions, lens, eot, prompt_text, slots;
    const auto add_text = [&](const std::vector<int>& tokens) {
        for (std::size_t i = 0; i < tokens.size(); ++i) ids.push_back(tokens[i]), positions.push_back(std::int32_t(i));
        lens.push_back(std::int32_t(tokens.size()));
        eot.push_back(std::int32_t(ids.size()) - 1);
    };
    for (const TextItem* t : items) add_text(t->tokens);
    std::unordered_map<int, std::int32_t> row;  // prompt id -> its text in this batch
    for (std::size_t i = 0; i < items.size(); ++i) {
        const std::vector<int> prompts = noise.readings.empty() ? items[i]->prompts : draw_prompts(*items[i], noise, noise.readings[i]);
        for (const int id : prompts) {
            const auto [it, fresh] = row.emplace(id, std::int32_t(lens.size()));
            if (fresh) add_text(bank.prompt_tokens(id));
            prompt_text.push_back(it->second);
        }
        slots.push_back(std::int32_t(prompts.size()));
    }
    batch.ids = eng::indices(arena, ids), batch.positions = eng::indices(arena, positions);
    batch.seqs = eng::packed_seqs(arena, lens);
    batch.eot = eng::indices(arena, eot);
    batch.captions = int(items.size());
    batch.prompt_text = eng::indices(arena, prompt_text);
    batch.prompts = eng::packed_seqs(arena, slots);
    return batch;
}

}  // namespace scvd
