// A masked slot is one that is not there. Slots are packed: what the config calls a mask of 8 slots reaches the model as
// rows for the real prompts alone, so attention keys, the softmax of the focus weights, the max-pool and the per-prompt
// sums see no others. These tests hold that to what a mask promises.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "engine/transfer.h"
#include "tests/tiny.h"
#include "train/data/texts.h"

using namespace scvd;
using namespace scvd::test;
using eng::Arena;
using eng::test::get;
using eng::test::same_bits;

namespace {

struct Switch { const char* name; void (*set)(ModelConfig&); };
const Switch switches[] = {
    {"as_published", [](ModelConfig&) {}},
    {"vsr_text", [](ModelConfig& c) { c.cgi.vsr = "text"; }},
    {"residual_sigmoid", [](ModelConfig& c) { c.cgi.residual = "self", c.dfa.norm = "sigmoid"; }},
};
class Masking : public testing::TestWithParam<Switch> {
protected:
    ModelConfig config(const std::string& dtype) const {
        ModelConfig c = tiny_config(dtype);
        GetParam().set(c);
        return c;
    }
};

std::vector<float> scores(const Scvd& m, Arena& arena, const TextBatch& texts) {
    eng::Recording off(nullptr);
    const ImageSide images = m.interaction().image_side(m.encode_images(tiny_pixels(arena, m.config(), 3)));
    const TextSide side = m.interaction().text_side(m.encode_texts(texts));
    PairList pairs;
    for (int t = 0; t < texts.captions; ++t)
        for (int i = 0; i < 3; ++i) pairs.add(i, t);
    return m.pair_scores(images, side, pairs);
}

// A batch as tiny_texts makes it, and behind it one more text that no slot refers to: a prompt that is masked out.
TextBatch with_masked_prompt(Arena& arena, const TextBatch& b, const std::vector<std::int32_t>& tokens) {
    const auto list = [](const Tensor& t) { return std::vector<std::int32_t>(t.as<std::int32_t>(), t.as<std::int32_t>() + t.numel()); };
    std::vector<std::int32_t> ids = list(b.ids), positions = list(b.positions), eot = list(b.eot), lens;
    for (std::size_t i = 0; i < eot.size(); ++i) lens.push_back(eot[i] - (i ? eot[i - 1] : -1));
    for (std::size_t i = 0; i < tokens.size(); ++i) ids.push_back(tokens[i]), positions.push_back(std::int32_t(i));
    lens.push_back(std::int32_t(tokens.size())), eot.push_back(std::int32_t(ids.size()) - 1);
    TextBatch out = b;
    out.ids = eng::indices(arena, ids), out.positions = eng::indices(arena, positions);
    out.seqs = eng::packed_seqs(arena, lens), out.eot = eng::indices(arena, eot);
    return out;
}

double backward(Scvd& m, Arena& arena, const TextBatch& texts, const std::vector<std::int32_t>& labels) {
    eng::Tape tape;
    eng::Recording on(&tape);
    const LossParts loss = m.loss(tiny_pixels(arena, m.config(), int(labels.size())), {}, texts, labels);
    const Tensor one = loss.total.like();
    if (one.dtype() == eng::DType::f64) *one.as<double>() = 1;
    else *one.as<float>() = 1;
    tape.backward(loss.total, one);
    return get(loss.total, 0);
}

// 1. Slots 1..N-1 have no order.
TEST_P(Masking, PermutingTheSlotsBehindThePersonDoesNotMatter) {
    Arena arena;
    const Scvd model(config("f32"), arena, 1);
    TextBatch a = tiny_texts(arena, {5}), b = a;
    a.prompt_text = eng::indices(arena, {1, 2, 3, 4, 2}), b.prompt_text = eng::indices(arena, {1, 2, 2, 4, 3});  // text 0 is the caption
    const auto x = scores(model, arena, a), y = scores(model, arena, b);
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], y[i], 1e-5);
    b.prompt_text = eng::indices(arena, {1, 2, 3, 4, 3});
    const auto z = scores(model, arena, b);
    double apart = 0;
    for (std::size_t i = 0; i < x.size(); ++i) apart = std::fmax(apart, std::fabs(x[i] - z[i]));
    EXPECT_GT(apart, 1e-4) << "another prompt in a slot must change the score";
}

// 2. Garbage in a masked slot changes no bit.
TEST_P(Masking, GarbageInAMaskedSlotChangesNoBit) {
    Arena arena;
    const Scvd model(config("f32"), arena, 1);
    const TextBatch real = tiny_texts(arena, {3, 1, 4});
    const auto x = scores(model, arena, with_masked_prompt(arena, real, {49406, 7, 8, 9, 49407}));
    const auto y = scores(model, arena, with_masked_prompt(arena, real, {49406, 40001, 40002, 1, 49407}));
    EXPECT_EQ(x, y);
    Scvd trained(config("f64"), arena, 1), other(config("f64"), arena, 1);
    EXPECT_EQ(backward(trained, arena, with_masked_prompt(arena, real, {49406, 7, 8, 9, 49407}), {0, 1, 2}),
              backward(other, arena, with_masked_prompt(arena, real, {49406, 40001, 40002, 1, 49407}), {0, 1, 2}));
}

// 3. Six slots padded to eight are six slots.
TEST_P(Masking, PaddingToMoreSlotsChangesNoBit) {
    Arena arena;
    Config c;
    c.model = config("f32");
    const Scvd model(c.model, arena, 1);
    const std::vector<std::string> texts{"A man in a red shirt, blue jeans and white shoes carries a bag.", "A girl.", "An old woman in a coat and a hat."};
    const auto of_slots = [&](int slots) {
        c.sd.slots = slots;
        TextBank bank(c, "");
        std::vector<TextItem> items;
        for (const auto& t : texts) items.push_back(bank.item(t));
        return scores(model, arena, make_text_batch(arena, bank, {&items[0], &items[1], &items[2]}));
    };
    EXPECT_EQ(of_slots(6), of_slots(8));
    EXPECT_NE(of_slots(3), of_slots(8)) << "a slot too few must show";
}

// 4. The tokens of a masked prompt have a gradient of exactly 0, all others have one.
TEST_P(Masking, GradientsOfMaskedTokensAreExactlyZero) {
    Arena arena;
    Scvd model(config("f64"), arena, 1);
    const TextBatch b = with_masked_prompt(arena, tiny_texts(arena, {3, 1, 4}), {49406, 40001, 40002, 49407});
    backward(model, arena, b, {0, 1, 2});
    const Tensor& g = model.params().find("token_embedding.weight")->grad;
    const auto row = [&](std::int64_t token) {
        double most = 0;
        for (std::int64_t j = 0; j < g.cols(); ++j) most = std::max(most, std::fabs(get(g, token * g.cols() + j)));
        return most;
    };
    EXPECT_EQ(row(40001), 0);
    EXPECT_EQ(row(40002), 0);
    EXPECT_GT(row(b.ids.as<std::int32_t>()[1]), 0);
}

// 5. A batch with captions that have no phrase is finite forward and backward, in bf16 too.
TEST_P(Masking, CaptionsWithoutPhrasesAreFinite) {
    for (const char* dtype : {"bf16", "f32"})
        for (const std::vector<std::int32_t>& slots : {std::vector<std::int32_t>{1, 1, 1}, std::vector<std::int32_t>{1, 5, 2}}) {
            Arena arena;
            Scvd model(config(dtype), arena, 1);
            EXPECT_TRUE(std::isfinite(backward(model, arena, tiny_texts(arena, slots), {0, 1, 2})));
            EXPECT_TRUE(eng::all_finite(model.params().grad));
        }
}

// 6. Texts and captions that only fill a batch up to one of few sizes add nothing but zeros.
TEST_P(Masking, FillingUpToFewSizesChangesNothing) {
    Config c;
    c.model = config("f64");
    TextBank bank(c, "");
    std::vector<TextItem> items;
    for (const char* t : {"A man in a red shirt, blue jeans and white shoes carries a bag.", "A girl.", "An old woman in a coat and a hat."}) items.push_back(bank.item(t));
    for (const char* pairs : {"all", "hard:2", "matched"}) {
        c.model.loss.pairs = pairs;
        Arena arena;
        double loss[2];
        std::vector<double> grads[2];
        for (const bool filled : {false, true}) {
            Scvd model(c.model, arena, 1);
            const TextBatch b = make_text_batch(arena, bank, pointers(items), {}, filled);
            EXPECT_EQ(b.prompts.count > 3, filled);
            loss[filled] = backward(model, arena, b, {0, 1, 2});
            grads[filled] = eng::download_wide(model.params().grad);
        }
        EXPECT_NEAR(loss[1], loss[0], 1e-12 * std::fabs(loss[0])) << pairs;
        double most = 0, worst = 0;
        for (std::size_t i = 0; i < grads[0].size(); ++i) most = std::max(most, std::fabs(grads[0][i])), worst = std::max(worst, std::fabs(grads[1][i] - grads[0][i]));
        EXPECT_LT(worst, 1e-12 * most) << pairs;
    }
}

TEST(FewSizes, AreFewAndHoldEveryBatch) {
    Config c;
    c.model = tiny_config("f32");
    TextBank bank(c, "");
    std::vector<TextItem> items;
    for (int i = 0; i < 100; ++i) items.push_back(bank.item("A man in a " + std::string(i % 3 ? "red" : "dark blue") + " shirt" + (i % 4 ? " with a bag and black shoes." : ".")));
    std::set<std::vector<std::int64_t>> sizes, exact;
    Arena arena;
    for (int first = 0; first < 32; ++first)
        for (const bool few : {false, true}) {
            std::vector<std::int64_t> readings(64);
            std::iota(readings.begin(), readings.end(), 64 * first);
            const TextBatch b = make_text_batch(arena, bank, pointers(items, std::size_t(first), 64), {8, 0.3f, 0.2f, 1, readings}, few);
            EXPECT_EQ(b.captions, 64);
            EXPECT_EQ(b.seqs.total, b.ids.numel());
            EXPECT_EQ(b.prompts.total, b.prompt_text.numel());
            for (const Seqs* s : {&b.seqs, &b.prompts})
                for (const auto n : s->host_len) EXPECT_TRUE(n > 0 && n <= s->max_len);
            EXPECT_LE(b.seqs.max_len, c.model.text.context);
            for (const auto i : eng::download<std::int32_t>(b.prompt_text)) EXPECT_LT(i, b.seqs.count);
            (few ? sizes : exact).insert({b.seqs.count, b.seqs.max_len, b.seqs.total, b.prompts.count, b.prompts.max_len, b.prompts.total});
        }
    EXPECT_LT(sizes.size(), exact.size() / 2);
}

INSTANTIATE_TEST_SUITE_P(Switches, Masking, testing::ValuesIn(switches), [](const auto& info) { return std::string(info.param.name); });

Config bank_config() {
    Config c;
    c.model = tiny_config("f32");
    c.sd.templates = false;
    return c;
}

// Over budget: evaluation keeps the same ones every time, training draws among all.
TEST(PromptNoise, TrainingDrawsARandomSubsetOverBudget) {
    Config c = bank_config();
    c.sd.slots = 4;
    Arena arena;
    TextBank bank(c, "");
    const TextItem t = bank.item("A man with glasses, a watch, a blue cap, black shoes, a red bag, green pants and a white shirt.");
    ASSERT_EQ(t.prompts.size(), 4u);
    ASSERT_EQ(t.all.size(), 8u);
    std::map<int, int> drawn;
    for (int n = 0; n < 700; ++n) {
        const TextBatch b = make_text_batch(arena, bank, {&t}, {4, 0, 0, 3, {n}});
        EXPECT_EQ(b.prompt_text.numel(), 4);
        const auto* ids = b.ids.as<std::int32_t>();
        for (int s = 1; s < 4; ++s) ++drawn[ids[b.eot.as<std::int32_t>()[b.prompt_text.as<std::int32_t>()[s]] - 1]];
    }
    EXPECT_EQ(drawn.size(), 7u);  // by the last token before the end: seven nouns
    for (const auto& [token, n] : drawn) EXPECT_NEAR(n, 300, 5 * std::sqrt(700 * 3.0 / 7 * 4 / 7));
}

TEST(PromptNoise, NeutralReadingsSayPersonThroughout) {
    Config c = bank_config();
    c.sd.templates = true;
    Arena arena;
    TextBank bank(c, "");
    const TextItem t = bank.item("A young woman in a red coat.");
    EXPECT_EQ(bank.prompt_text(t.all[0].prompt), "a photo of a young woman");
    EXPECT_EQ(bank.prompt_text(t.all[1].prompt), "a photo of a woman wearing a red coat");
    EXPECT_EQ(bank.prompt_text(t.all[0].neutral), "a photo of a person");
    EXPECT_EQ(bank.prompt_text(t.all[1].neutral), "a photo of a person wearing a red coat");
    int neutral = 0;
    const auto length = [&](int id) { return std::int64_t(bank.prompt_tokens(id).size()); };
    const std::int64_t own = std::int64_t(t.tokens.size()) + length(t.all[0].prompt) + length(t.all[1].prompt);
    for (int n = 0; n < 1000; ++n) neutral += make_text_batch(arena, bank, {&t}, {8, 0, 0.15f, 3, {n}}).ids.numel() != own;
    EXPECT_NEAR(neutral, 150, 5 * std::sqrt(1000 * 0.15 * 0.85));
    EXPECT_EQ(make_text_batch(arena, bank, {&t}).ids.numel(), own);
}

}  // namespace
