// Training steps of a preset on a made-up batch, timed; the batch, the weights and the first loss can be dumped so that
// another implementation of the same model can be held to the same numbers (bench/torch_step.py).
//   bench_step PRESET DTYPE STEPS [DUMP_FOLDER]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/io/safetensors.h"
#include "engine/parallel.h"
#include "engine/rng.h"
#include "train/checkpoint.h"
#include "train/run_log.h"

using namespace scvd;

namespace {

struct Batch {
    std::vector<std::vector<std::int32_t>> captions, pool;  // tokens; distinct prompts
    std::vector<std::vector<int>> prompts;                  // per caption, indices into pool
    std::vector<std::int32_t> labels;
    std::vector<std::uint8_t> pixels;
};

// Captions of 20-45 tokens, 4-8 prompts of 4-12 tokens from a pool that a batch of real captions would share.
Batch make_batch(const Config& c) {
    eng::Rng rng(7, 1);
    Batch b;
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

TextBatch to_texts(eng::Arena& arena, const Batch& b) {
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

void dump(const std::string& folder, const Config& c, Scvd& model, const Batch& b, double loss) {
    std::filesystem::create_directories(folder);
    save_checkpoint(folder + "/weights.safetensors", c, model, nullptr, {});
    const auto& m = c.model;
    eng::write_safetensors(folder + "/pixels.safetensors", {{"pixels", "U8", {c.train.batch, m.image.height, m.image.width, 3}, b.pixels.data(), b.pixels.size()}});
    const nlohmann::json j{{"captions", b.captions}, {"pool", b.pool}, {"prompts", b.prompts}, {"labels", b.labels}, {"loss", loss},
                           {"image", {m.image.patch, m.image.stride, m.image.dim, m.image.layers, m.image.heads}}, {"text", {m.text.dim, m.text.layers, m.text.heads, m.text.context}},
                           {"embed", m.embed}, {"residual", m.cgi.residual}, {"vsr", m.cgi.vsr}, {"sim", m.dfa.sim}, {"norm", m.dfa.norm}, {"pair", m.loss.pair}, {"pairs", m.loss.pairs},
                           {"global", m.loss.global}, {"temperature", m.loss.temperature}, {"pair_temperature", m.loss.pair_temperature}};
    eng::write_file(folder + "/batch.json", j.dump());
}

}  // namespace

int main(int argc, char** argv) try {
    ENG_CHECK(argc >= 4, "bench_step", "usage: bench_step PRESET f32|bf16 STEPS [DUMP_FOLDER]");
    Config c;
    load_config(c, argv[1]);
    c.model.dtype = argv[2];
    const int steps = std::stoi(argv[3]);
    const Batch b = make_batch(c);
    eng::Arena weights, step;
    Scvd model(c.model, weights, 1);
    eng::AdamW optimizer(model.params(), weights, {0.9f, 0.98f, 1e-8f, 0.05f, 1, 0});
    std::vector<double> ms;
    for (int s = 0; s < steps + 2; ++s) {
        const auto start = std::chrono::steady_clock::now();
        Tensor pixels(step, {c.train.batch, c.model.image.height, c.model.image.width, 3}, eng::DType::u8);
        std::memcpy(pixels.raw(), b.pixels.data(), pixels.bytes());
        {
            eng::Tape tape;
            eng::Recording on(&tape);
            const LossParts loss = model.loss(pixels, {}, to_texts(step, b), b.labels);
            if (s == 0 && argc > 4) dump(argv[4], c, model, b, double(*loss.total.as<float>()));
            Tensor seed = loss.total.like();
            *seed.as<float>() = 1;
            tape.backward(loss.total, seed);
        }
        const double norm = optimizer.grad_norm();
        optimizer.step(1e-4f, 1e-4f, float(norm > 1 ? 1 / norm : 1));
        if (s >= 2) ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    }
    std::sort(ms.begin(), ms.end());
    fmt::print("{}\n", nlohmann::json{{"engine", "scvd"}, {"preset", argv[1]}, {"dtype", argv[2]}, {"batch", c.train.batch}, {"threads", eng::num_threads()}, {"steps", steps},
                                      {"ms_median", ms[ms.size() / 2]}, {"ms_min", ms.front()}, {"ms_max", ms.back()}, {"peak_MB", double(process_memory().peak) / 1e6},
                                      {"step_arena_MB", double(step.peak()) / 1e6}}.dump());
} catch (const std::exception& e) {
    fmt::print(stderr, "bench_step: {}\n", e.what());
    return 1;
}
