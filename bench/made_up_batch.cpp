#include "bench/made_up_batch.h"

#include <map>
#include <nlohmann/json.hpp>

#include "engine/rng.h"

namespace scvd {

MadeUpBatch make_batch(const Config& c) {
    eng::Rng rng(7, 1);
    MadeUpBatch b;
    const auto text = [&](int n) {
        std::vector<std::int32_t> t{49406};
        while (int(t.size()) < n - 1) t.push_back(std::int32_t(rng.below(40000)));
        t.push_back(49407);
        return t;
    };
    const int B = c.train.batch;
    for (int i = 0; i < 3 * B; ++i) b.pool.push_back(text((c.sd.templates ? 9 : 4) + int(rng.below(4))));
    for (int i = 0; i < B; ++i) {
        b.captions.push_back(text(20 + int(rng.below(26))));
        b.prompts.emplace_back();
        const int n = 4 + int(rng.below(5));
        for (int k = 0; k < n; ++k) b.prompts.back().push_back(int(rng.below(std::uint32_t(b.pool.size()))));
        b.labels.push_back(i);
    }
    b.pixels.resize(std::size_t(B) * c.model.image.height * c.model.image.width * 3);
    for (auto& p : b.pixels) p = std::uint8_t(rng.below(256));
    return b;
}

TextBatch to_texts(eng::Arena& arena, const MadeUpBatch& b) {
    std::vector<std::int32_t> ids, positions, lens, eot, prompt_text, slots;
    std::map<int, std::int32_t> row;
    const auto add = [&](const std::vector<std::int32_t>& t) {
        for (std::size_t i = 0; i < t.size(); ++i) ids.push_back(t[i]), positions.push_back(std::int32_t(i));
        lens.push_back(std::int32_t(t.size())), eot.push_back(std::int32_t(ids.size()) - 1);
    };
    for (const auto& t : b.captions) add(t);
    for (const auto& list : b.prompts) {
        for (const int p : list) {
            const auto [it, fresh] = row.emplace(p, std::int32_t(lens.size()));
            if (fresh) add(b.pool[p]);
            prompt_text.push_back(it->second);
        }
        slots.push_back(std::int32_t(list.size()));
    }
    TextBatch t;
    t.ids = eng::indices(arena, ids), t.positions = eng::indices(arena, positions), t.seqs = eng::packed_seqs(arena, lens);
    t.eot = eng::indices(arena, eot), t.captions = int(b.captions.size());
    t.prompt_text = eng::indices(arena, prompt_text), t.prompts = eng::packed_seqs(arena, slots);
    return t;
}

nlohmann::json describe(const Config& c, const MadeUpBatch& b) {
    const ModelConfig& m = c.model;
    return {{"captions", b.captions}, {"pool", b.pool}, {"prompts", b.prompts}, {"labels", b.labels},
            {"size", {m.image.height, m.image.width}},
            {"image", {m.image.patch, m.image.stride, m.image.dim, m.image.layers, m.image.heads}},
            {"text", {m.text.dim, m.text.layers, m.text.heads, m.text.context, m.text.vocab}},
            {"embed", m.embed}, {"ffn", m.cgi.ffn}, {"residual", m.cgi.residual}, {"vsr", m.cgi.vsr}, {"sim", m.dfa.sim}, {"norm", m.dfa.norm},
            {"pair", m.loss.pair}, {"pairs", m.loss.pairs}, {"global", m.loss.global},
            {"temperature", m.loss.temperature}, {"pair_temperature", m.loss.pair_temperature}};
}

}  // namespace scvd
