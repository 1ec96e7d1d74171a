// The whole SCVD loss against finite differences, for every switch; masks; and what keeps retrieval honest by type.
#include <gtest/gtest.h>

#include "engine/rng.h"
#include "tests/tiny.h"

using namespace scvd;
using namespace scvd::test;
using eng::Arena;
using eng::DType;
using eng::test::get;
using eng::test::same_bits;

namespace {

const std::vector<std::int32_t> labels{0, 1, 2, 1};

double loss_value(const Scvd& model, Arena& arena, const ModelConfig& c) {
    eng::Recording off(nullptr);
    return get(model.loss(tiny_pixels(arena, c, 4), {}, tiny_texts(arena, {3, 1, 4, 2}), labels).total, 0);
}

// |analytic - numeric| / |numeric| along one random direction over all parameters, the analytic side times `factor`.
double gap(const ModelConfig& c, double factor) {
    Arena arena, step;
    Scvd model(c, arena, 3);
    const Tensor& w = model.params().master;  // f64: also what the kernels read
    const Tensor noise = eng::test::random_normal(arena, w.shape(), DType::f64, 9);
    for (std::int64_t i = 0; i < w.numel(); ++i) w.as<double>()[i] += 0.05 * get(noise, i);  // zero branches have no gradient
    {
        eng::Tape tape;
        eng::Recording on(&tape);
        const LossParts loss = model.loss(tiny_pixels(step, c, 4), {}, tiny_texts(step, {3, 1, 4, 2}), labels);
        Tensor one = loss.total.like();
        *one.as<double>() = 1;
        tape.backward(loss.total, one);
    }
    const Tensor start = w.like(), v = eng::test::random_normal(arena, w.shape(), DType::f64, 5);
    std::memcpy(start.raw(), w.raw(), w.bytes());
    // Rows of the token table that no text uses have no gradient and would only add noise.
    double analytic = 0;
    for (std::int64_t i = 0; i < w.numel(); ++i) analytic += factor * get(model.params().grad, i) * get(v, i);
    const auto at = [&](double h) {
        for (std::int64_t i = 0; i < w.numel(); ++i) w.as<double>()[i] = get(start, i) + h * get(v, i);
        return loss_value(model, step, c);
    };
    const double h = 1e-6, numeric = (at(h) - at(-h)) / (2 * h);
    return std::fabs(analytic - numeric) / std::fabs(numeric);
}

struct Switch { const char* name; void (*set)(ModelConfig&); };
const Switch switches[] = {
    {"as_published", [](ModelConfig&) {}},
    {"residual_self", [](ModelConfig& c) { c.cgi.residual = "self"; }},
    {"vsr_text", [](ModelConfig& c) { c.cgi.vsr = "text"; }},
    {"hard_negatives", [](ModelConfig& c) { c.loss.pairs = "hard:2"; }},
    {"matched", [](ModelConfig& c) { c.loss.pairs = "matched"; }},
    {"cosine_sigmoid", [](ModelConfig& c) { c.dfa.sim = "cosine", c.dfa.norm = "sigmoid"; }},
    {"sdm_pairs", [](ModelConfig& c) { c.loss.pair = "sdm"; }},
    {"itc_everywhere", [](ModelConfig& c) { c.loss.pair = "itc", c.loss.global = "itc"; }},
    {"cmpm_global_and_id", [](ModelConfig& c) { c.loss.global = "cmpm", c.classes = 3, c.loss.id_weight = 0.5f; }},
};
class WholeLoss : public testing::TestWithParam<Switch> {};

TEST_P(WholeLoss, GradientAgreesWithFiniteDifferencesAndAMutantDoesNot) {
    ModelConfig c = tiny_config();
    GetParam().set(c);
    EXPECT_LT(gap(c, 1), 1e-5);
    EXPECT_GT(gap(c, 1.001), 5e-4);
}
INSTANTIATE_TEST_SUITE_P(Switches, WholeLoss, testing::ValuesIn(switches), [](const auto& info) { return std::string(info.param.name); });

TEST(Model, ParameterNamesAreClips) {
    Arena arena;
    Scvd model(tiny_config(), arena, 1);
    for (const char* name : {"visual.conv1.weight", "visual.class_embedding", "visual.positional_embedding", "visual.ln_pre.weight", "visual.proj",
                             "visual.transformer.resblocks.1.attn.in_proj_weight", "visual.transformer.resblocks.0.mlp.c_fc.bias", "visual.ln_post.bias",
                             "token_embedding.weight", "positional_embedding", "transformer.resblocks.0.attn.out_proj.bias", "ln_final.weight", "text_projection"})
        EXPECT_TRUE(model.params().find(name)) << name;
}

struct Sides {
    ImageSide image;
    TextSide text;
};
Sides sides(const Scvd& m, Arena& arena, const ModelConfig& c, const TextBatch& texts) {
    return {m.interaction().image_side(m.encode_images(tiny_pixels(arena, c, 3))), m.interaction().text_side(m.encode_texts(texts))};
}

// Honesty: what is stored for a gallery image is a function of the image; which captions are around changes no bit.
TEST(Honesty, GallerySideIsBitIdenticalWhateverTheCaptions) {
    for (const char* vsr : {"pair", "text"}) {
        ModelConfig c = tiny_config("f32");
        c.cgi.vsr = vsr;
        Arena arena;
        eng::Recording off(nullptr);
        Scvd model(c, arena, 1);
        const Sides a = sides(model, arena, c, tiny_texts(arena, {3, 2}, 7)), b = sides(model, arena, c, tiny_texts(arena, {1, 4}, 8));
        EXPECT_TRUE(same_bits(a.image.tvl_kv, b.image.tvl_kv));
        if (std::string(vsr) == "pair") {
            EXPECT_TRUE(same_bits(a.image.vsr_q, b.image.vsr_q));
        }
    }
}

// A pair's score must not depend on which other pairs are scored with it.
TEST(Honesty, PairScoreDependsOnThePairAlone) {
    for (const char* vsr : {"pair", "text"}) {
        ModelConfig c = tiny_config("f64");
        c.cgi.vsr = vsr;
        Arena arena;
        eng::Recording off(nullptr);
        Scvd model(c, arena, 1);
        const Sides s = sides(model, arena, c, tiny_texts(arena, {3, 2}));
        PairList all;
        for (int i = 0; i < 3; ++i)
            for (int t = 0; t < 2; ++t) all.add(i, t);
        const auto together = model.pair_scores(s.image, s.text, all);
        for (int n = 0; n < all.size(); ++n) {
            PairList one;
            one.add(all.image[n], all.text[n]);
            EXPECT_EQ(model.pair_scores(s.image, s.text, one)[0], together[n]) << vsr << " pair " << n;
        }
    }
}

// Scoring folds VSR's linear parts into the texts; with a tape the layers run one by one. Both are the same function.
TEST(Model, ScoringAndTrainingComputeTheSameVsr) {
    for (const char* residual : {"none", "self"}) {
        ModelConfig c = tiny_config("f64");
        c.cgi.residual = residual;
        Arena arena;
        Scvd model(c, arena, 1);
        for (auto& p : model.params().all())
            if (p.name.find("vsr.") != std::string::npos)  // biases and norms that do something
                for (std::int64_t i = 0; i < p.compute.numel(); ++i) p.compute.as<double>()[i] += 0.1 * eng::normal(3, std::uint64_t(p.offset), std::uint64_t(i));
        PairList pairs;
        for (const auto& [i, t] : {std::pair{0, 1}, {2, 1}, {1, 0}, {0, 2}, {2, 0}}) pairs.add(i, t);
        const auto textual = [&](eng::Tape* tape) {
            eng::Recording recording(tape);
            const Sides s = sides(model, arena, c, tiny_texts(arena, {3, 2, 5}));
            return model.interaction()(s.image, s.text, pairs).t;
        };
        eng::Tape tape;
        const Tensor layers = textual(&tape), folded = textual(nullptr);
        for (std::int64_t i = 0; i < layers.numel(); ++i) ASSERT_NEAR(get(folded, i), get(layers, i), 1e-10) << residual << " element " << i;
    }
}

TEST(Model, RecomputingBlocksChangesNoBitOfTheGradientAndKeepsLess) {
    std::size_t kept[2];
    std::vector<char> grads[2];
    for (const bool recompute : {false, true}) {
        ModelConfig c = tiny_config("f32");
        c.recompute = recompute;
        Arena arena;
        Scvd model(c, arena, 1);
        eng::Tape tape;
        eng::Recording on(&tape);
        const LossParts loss = model.loss(tiny_pixels(arena, c, 3), {}, tiny_texts(arena, {2, 1, 3}), {0, 1, 2});
        kept[recompute] = tape.saved_bytes();
        Tensor one = loss.total.like();
        *one.as<float>() = 1;
        tape.backward(loss.total, one);
        const char* g = model.params().grad.as<char>();
        grads[recompute].assign(g, g + model.params().grad.bytes());
    }
    EXPECT_LT(kept[1], kept[0] / 2);
    EXPECT_EQ(grads[0], grads[1]);
}

TEST(Model, AttentionMapsAndWeightsAreDistributions) {
    ModelConfig c = tiny_config("f64");
    Arena arena;
    eng::Recording off(nullptr);
    Scvd model(c, arena, 1);
    const Sides s = sides(model, arena, c, tiny_texts(arena, {3, 2}));
    PairList pairs;
    pairs.add(0, 0), pairs.add(2, 1);
    const PairVectors p = model.interaction()(s.image, s.text, pairs, true);
    ASSERT_EQ(p.map.rows(), 5);
    ASSERT_EQ(p.map.cols(), c.tokens());
    for (int r = 0; r < 5; ++r) {
        double sum = 0;
        for (int j = 0; j < p.map.cols(); ++j) sum += get(p.map, r * p.map.cols() + j);
        EXPECT_NEAR(sum, 1, 1e-12);
    }
    EXPECT_NEAR(get(p.weights, 0) + get(p.weights, 1) + get(p.weights, 2), 1, 1e-12);
}

TEST(Model, BadSwitchesAreNamed) {
    ModelConfig c = tiny_config();
    c.cgi.vsr = "both";
    Arena arena;
    try {
        Scvd model(c, arena, 1);
        FAIL();
    } catch (const eng::Error& e) {
        EXPECT_STREQ(e.what(), "config: cgi.vsr = \"both\", want pair | text");
    }
}

}  // namespace
