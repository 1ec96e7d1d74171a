#include "train/data/texts.h"

#include <algorithm>
#include <bit>
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

std::vector<TextItem> items_of(TextBank& bank, const Split& split) {
    std::vector<TextItem> items;
    for (const auto& p : split.pairs) items.push_back(bank.item(split.images[p.image].captions[p.caption]));
    return items;
}

std::vector<const TextItem*> pointers(const std::vector<TextItem>& items, std::size_t first, std::size_t n) {
    std::vector<const TextItem*> p;
    for (std::size_t i = first; i < items.size() && i - first < n; ++i) p.push_back(&items[i]);
    return p;
}

namespace {

struct TextLists {
    std::vector<std::int32_t> ids, positions, lens, eot;  // of every text
    std::vector<std::int32_t> prompt_text, slots;         // of every caption
    int longest_text = 0, most_slots = 0;                 // bounds; what kernels are sized by
    void add_text(const std::vector<int>& tokens) {
        for (std::size_t i = 0; i < tokens.size(); ++i) ids.push_back(tokens[i]), positions.push_back(std::int32_t(i));
        lens.push_back(std::int32_t(tokens.size()));
        eot.push_back(std::int32_t(ids.size()) - 1);
        longest_text = std::max(longest_text, int(tokens.size()));
    }
};

TextLists lists_of(const TextBank& bank, const std::vector<const TextItem*>& items, const PromptNoise& noise) {
    TextLists l;
    for (const TextItem* t : items) l.add_text(t->tokens);
    std::unordered_map<int, std::int32_t> row;  // prompt id -> its text in this batch
    for (std::size_t i = 0; i < items.size(); ++i) {
        const std::vector<int> prompts = noise.readings.empty() ? items[i]->prompts : draw_prompts(*items[i], noise, noise.readings[i]);
        for (const int id : prompts) {
            const auto [it, fresh] = row.emplace(id, std::int32_t(l.lens.size()));
            if (fresh) l.add_text(bank.prompt_tokens(id));
            l.prompt_text.push_back(it->second);
        }
        l.slots.push_back(std::int32_t(prompts.size()));
        l.most_slots = std::max(l.most_slots, int(prompts.size()));
    }
    return l;
}

// Up to one of `sizes` numbers between powers of two.
int rounded(int n, int sizes) {
    const int step = std::max(1, int(std::bit_floor(unsigned(n))) / sizes);
    return (n + step - 1) / step * step;
}
// Lengths, each of 1 .. longest, of what is to be put behind `count` sequences of `total` rows, so that both numbers are rounded: the rows,
// which cost time, to one of 16 sizes, 3 % more on average.
std::vector<std::int32_t> filling(int count, int total, int longest) {
    for (int all = rounded(count + 1, 8);; all = rounded(all + 1, 8)) {
        const int n = all - count, rows = rounded(total + n, 16) - total;
        if (rows > n * longest) continue;
        std::vector<std::int32_t> lens(std::size_t(n), rows / n);
        for (int i = 0; i < rows % n; ++i) ++lens[i];
        return lens;
    }
}
// Texts of one token over and over, and captions of such texts: nobody asks for them.
void round_up(TextLists& l, int context) {
    l.longest_text = std::min(context, (l.longest_text + 15) / 16 * 16);
    const auto nobody = std::int32_t(l.lens.size());
    for (const int n : filling(int(l.lens.size()), int(l.ids.size()), l.longest_text)) l.add_text(std::vector<int>(std::size_t(n), l.ids.front()));
    for (const int n : filling(int(l.slots.size()), int(l.prompt_text.size()), l.most_slots))
        l.slots.push_back(n), l.prompt_text.insert(l.prompt_text.end(), std::size_t(n), nobody);
}

}  // namespace

TextBatch make_text_batch(eng::Arena& arena, const TextBank& bank, const std::vector<const TextItem*>& items, const PromptNoise& noise, bool few_sizes) {
    TextLists l = lists_of(bank, items, noise);
    if (few_sizes) round_up(l, bank.context());
    TextBatch batch;
    batch.ids = eng::indices(arena, l.ids), batch.positions = eng::indices(arena, l.positions);
    batch.seqs = eng::packed_seqs(arena, l.lens);
    batch.eot = eng::indices(arena, l.eot);
    batch.captions = int(items.size());
    batch.prompt_text = eng::indices(arena, l.prompt_text);
    batch.prompts = eng::packed_seqs(arena, l.slots);
    batch.seqs.max_len = l.longest_text, batch.prompts.max_len = l.most_slots;
    return batch;
}

}  // namespace scvd
