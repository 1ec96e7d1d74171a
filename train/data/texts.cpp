#include "train/data/texts.h"

namespace scvd {

TextBank::TextBank(const Config& c, const std::string& bpe_path) : tokenizer_(Tokenizer::load(bpe_path)), context_(c.model.text.context) {
    options_.slots = c.sd.slots;
    options_.use_templates = c.sd.templates;
    options_.whole_description = c.sd.whole_description;
}

TextItem TextBank::item(const std::string& description) {
    TextItem t;
    t.text = description;
    t.tokens = tokenizer_.tokens(description, context_);
    t.parts = deconstruct_(description);
    const Prompts p = make_prompts(t.parts, options_, description);
    for (std::size_t s = 0; s < p.text.size(); ++s) {
        if (!p.mask[s]) continue;
        const auto [it, fresh] = ids_.emplace(p.text[s], int(prompts_.size()));
        if (fresh) prompts_.push_back({p.text[s], tokenizer_.tokens(p.text[s], context_)});
        t.prompts.push_back(it->second);
        t.phrase.push_back(p.phrase[s]);
    }
    return t;
}

TextBatch make_text_batch(eng::Arena& arena, const TextBank& bank, const std::vector<const TextItem*>& items, float dropout, eng::Rng* rng) {
    TextBatch batch;
    std::vector<std::int32_t> ids, positions, lens, eot, prompt_text, slots;
    const auto add_text = [&](const std::vector<int>& tokens) {
        for (std::size_t i = 0; i < tokens.size(); ++i) ids.push_back(tokens[i]), positions.push_back(std::int32_t(i));
        lens.push_back(std::int32_t(tokens.size()));
        eot.push_back(std::int32_t(ids.size()) - 1);
    };
    for (const TextItem* t : items) add_text(t->tokens);
    std::unordered_map<int, std::int32_t> row;  // prompt id -> its text in this batch
    for (const TextItem* t : items) {
        const std::size_t before = prompt_text.size();
        for (std::size_t s = 0; s < t->prompts.size(); ++s) {
            if (s > 0 && dropout > 0 && rng->chance(dropout)) continue;
            const auto [it, fresh] = row.emplace(t->prompts[s], std::int32_t(lens.size()));
            if (fresh) add_text(bank.prompt_tokens(t->prompts[s]));
            prompt_text.push_back(it->second);
        }
        slots.push_back(std::int32_t(prompt_text.size() - before));
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
