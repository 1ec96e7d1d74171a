// A whole training step of the model as one graph: recorded with one batch and replayed with others it equals the eager step bit
// for bit, though who meets whom in the pair stage differs from batch to batch. On a GPU, and here with recorded launches.
#include <gtest/gtest.h>

#include "engine/graph.h"
#include "engine/transfer.h"
#include "ops/optimizer.h"
#include "tests/tiny.h"
#include "tests/toy_set.h"
#include "train/step.h"

using namespace scvd;
using namespace scvd::test;

namespace {

constexpr int kPairs = 8;
std::string bpe;  // the vocabulary of this source tree, or on a machine without it SCVD_BPE

// Batch `number`: of the same sizes as any other, but nothing else.
struct HostInputs {
    std::vector<std::uint8_t> pixels;
    std::vector<std::int32_t> augment, ids, positions, lens, eot, prompt_text, slots, labels;
    HostInputs(const ModelConfig& c, int number) {
        std::mt19937 g{unsigned(number)};
        for (int i = 0; i < kPairs * c.image.height * c.image.width * 3; ++i) pixels.push_back(std::uint8_t(g()));
        for (int i = 0; i < kPairs * 8; ++i) augment.push_back(i % 8 == 0 ? std::int32_t(g() % 2) : 0);
        for (int t = 0; t < kPairs + 5; ++t) {  // captions of 4 to 11 tokens, then five prompts
            const int n = t < kPairs ? 4 + (t + 3 * number) % kPairs : 3 + t % 3;
            for (int i = 0; i < n; ++i) ids.push_back(std::int32_t(i == 0 ? 49406 : i == n - 1 ? 49407 : g() % 50)), positions.push_back(i);
            lens.push_back(n), eot.push_back(std::int32_t(ids.size()) - 1);
        }
        for (int i = 0; i < kPairs; ++i) slots.push_back(1 + (i + number) % 4), labels.push_back(std::int32_t(g() % 5));
        for (int i = 0; i < 20; ++i) prompt_text.push_back(kPairs + std::int32_t(g() % 5));
    }
};

// What a step reads, at addresses that stay.
struct Inputs {
    Tensor pixels, augment, labels, one;
    TextBatch texts;
    Inputs(eng::Arena& arena, const ModelConfig& c, const HostInputs& h)
        : pixels(eng::upload(arena, {kPairs, c.image.height, c.image.width, 3}, h.pixels)),
          augment(eng::indices(arena, h.augment).view({kPairs, 8})),
          labels(eng::indices(arena, h.labels)),
          one(eng::upload<float>(arena, {1}, {1.f})) {
        texts.ids = eng::indices(arena, h.ids), texts.positions = eng::indices(arena, h.positions), texts.eot = eng::indices(arena, h.eot);
        texts.seqs = eng::packed_seqs(arena, h.lens), texts.captions = kPairs;
        texts.prompt_text = eng::indices(arena, h.prompt_text), texts.prompts = eng::packed_seqs(arena, h.slots);
    }
    void take(const Inputs& other) const {
        const auto pairs = [](const Seqs& to, const Seqs& from) { eng::copy(to.begin, from.begin), eng::copy(to.len, from.len), eng::copy(to.out, from.out); };
        for (const auto& [to, from] : {std::pair{pixels, other.pixels}, {augment, other.augment}, {labels, other.labels}, {texts.ids, other.texts.ids},
                                       {texts.positions, other.texts.positions}, {texts.eot, other.texts.eot}, {texts.prompt_text, other.texts.prompt_text}})
            eng::copy(to, from);
        pairs(texts.seqs, other.texts.seqs), pairs(texts.prompts, other.texts.prompts);
    }
};

// Losses of `steps` updates on as many batches, and the weights after them.
std::vector<double> train(const ModelConfig& c, bool as_graph, int steps) {
    eng::Arena weights(std::size_t(1) << 28, eng::Device::cuda), batch_memory(std::size_t(1) << 28, eng::Device::cuda), step_memory(std::size_t(1) << 28, eng::Device::cuda);
    Scvd model(c, weights, 5);
    eng::AdamW optimizer(model.params(), weights, {.clip_norm = 1});
    const Inputs now(step_memory, c, HostInputs(c, 0));
    const Tensor loss = now.one.like();
    eng::Comm alone;
    eng::StepGraph graph(step_memory);
    const auto step = [&] {
        eng::Tape tape;
        eng::Recording on(&tape);
        const LossParts parts = model.loss(now.pixels, now.augment, now.texts, BatchShare(now.labels, alone));
        eng::copy(loss, parts.total);
        tape.backward(parts.total, now.one);
        optimizer.apply();
    };
    std::vector<double> values;
    for (int i = 0; i < steps; ++i) {
        now.take(Inputs(batch_memory, c, HostInputs(c, i)));
        optimizer.prepare(1e-2f, 1e-2f, 1);
        as_graph ? graph.run("batch", step) : step();
        values.push_back(eng::first_element(loss));
        EXPECT_EQ(graph.recorded("batch"), as_graph && i >= 2);
    }
    for (const double w : eng::download_wide(model.params().master)) values.push_back(w);
    return values;
}

TEST(ScvdGraph, ReplayedStepsEqualEagerOnesOnOtherBatches) {
    for (const auto& [dtype, pair] : {std::pair{"f32", "cmpm"}, {"bf16", "itc"}}) {
        ModelConfig c = tiny_config(dtype);
        c.loss.pair = pair, c.loss.pairs = "hard:1", c.loss.pool = 4, c.classes = 5, c.loss.id_weight = 1;
        const auto eager = train(c, false, 5), replayed = train(c, true, 5);
        EXPECT_EQ(eager, replayed) << dtype << " " << pair;
        EXPECT_NE(eager[3], eager[4]);
    }
}

// The loop's own step: batches of a data set, filled up to few sizes. What is replayed equals what a step does that meets them first.
void expect_replays_with_the_same_bits(const char* pairs, int accumulate) {
    SCOPED_TRACE(pairs);
    TempFolder folder;
    make_toy_set(folder.path / "set");
    Config c = toy_config(folder / "set");
    c.train.batch = 6, c.model.loss.pairs = pairs, c.train.accumulate = accumulate;
    if (const char* vocabulary = std::getenv("SCVD_BPE")) bpe = vocabulary;
    const Dataset data = load_dataset(folder / "set");
    TextBank bank(c, bpe);
    const std::vector<TextItem> items = items_of(bank, data.train);
    Pictures pictures(paths_of(data.train), 48, 24, 16);
    Loader loader(c, data.train, pictures, items, 0);
    eng::default_device = eng::Device::cuda;
    eng::Arena weights(std::size_t(1) << 28);
    Scvd model(c.model, weights, 5);
    eng::Comm alone;
    eng::Buckets buckets(model.params(), alone, 1 << 20);
    eng::AdamW optimizer(model.params(), weights, {});
    HostBatch batch = loader.next();
    const auto other_batch_of_these_sizes = [&] {  // other captions for the same pictures
        std::rotate(batch.texts.begin(), batch.texts.begin() + 1, batch.texts.end());
        std::rotate(batch.readings.begin(), batch.readings.begin() + 1, batch.readings.end());
        std::rotate(batch.labels.begin(), batch.labels.begin() + 2, batch.labels.end());
    };
    const auto without_a_pair = [](HostBatch b) {
        b.pixels.resize(b.pixels.size() / b.texts.size() * (b.texts.size() - 1)), b.augment.resize(b.augment.size() - 8);
        b.texts.pop_back(), b.readings.pop_back(), b.labels.pop_back();
        return b;
    };
    const auto found = [&](Step& step, bool ends_with_another_size) {
        eng::fill_zero(optimizer.m);  // afterwards a tenth of the gradients
        const HostBatch before = batch;
        for (int micro = 0; micro < accumulate; ++micro) {
            const bool last = micro + 1 == accumulate;
            step.send(last && ends_with_another_size ? without_a_pair(batch) : batch);
            if (last) optimizer.prepare(0, 0, 1);  // no weight moves: whoever comes next starts from the same
            step.run(last);
            other_batch_of_these_sizes();
        }
        batch = before;
        std::vector<double> all = eng::download_wide(optimizer.m);
        for (const auto& [name, value] : step.take_losses()) all.push_back(value);
        return all;
    };
    Step replayed(c, model, bank, alone, buckets, optimizer);
    for (int i = 0; i < 5; ++i) {
        Step first(c, model, bank, alone, buckets, optimizer);
        EXPECT_EQ(found(replayed, i == 4), found(first, i == 4)) << i;
        EXPECT_EQ(first.recorded(), 0);
        other_batch_of_these_sizes();
    }
    EXPECT_EQ(replayed.recorded(), std::min(accumulate, 2)) << "the third time, and replayed the fourth; parts of an update apart from its end";
    eng::default_device = eng::Device::cpu;
}

TEST(ScvdGraph, BatchesOfADataSetAreReplayedWithTheSameBits) { expect_replays_with_the_same_bits("hard:2", 1); }
TEST(ScvdGraph, SoAreBatchesThatGroupsDoNotDivide) { expect_replays_with_the_same_bits("hard:3", 1); }
TEST(ScvdGraph, SoArePartsOfAnUpdate) { expect_replays_with_the_same_bits("hard:2", 2); }

// A step that asks the host in its middle cannot be recorded: an error, not a graph that repeats the first answer.
TEST(ScvdGraph, AStepThatReadsBackIsRefused) {
    eng::Arena memory(std::size_t(1) << 26, eng::Device::cuda);
    const Tensor x = eng::upload<float>(memory, {1}, {2.f});
    eng::StepGraph graph(memory);
    const auto reads = [&] { eng::first_element(x); };
    const auto uploads = [&] { eng::indices(memory, {1, 2, 3}); };
    const auto refused = [&](const char* key, const std::function<void()>& step) {
        graph.run(key, step), graph.run(key, step);
        try {
            graph.run(key, step);
            return false;
        } catch (const std::exception&) {
            return true;
        }
    };
    EXPECT_TRUE(refused("reads", reads));
    EXPECT_TRUE(refused("uploads", uploads));
    EXPECT_EQ(eng::first_element(x), 2) << "the stream works again";
}

}  // namespace
