// Training end to end on a toy set: it learns what it should and nothing it should not; resume is bit-exact; bad input
// ends with one sentence.
#include <gtest/gtest.h>
#include <sys/auxv.h>

#include <cmath>
#include <csignal>

#include "engine/parallel.h"
#include "engine/transfer.h"
#include "tests/errors.h"
#include "tests/toy_set.h"
#include "train/checkpoint.h"
#include "train/data/image.h"
#include "train/data/loader.h"
#include "train/evaluate.h"
#include "train/loop.h"
#include "train/search.h"
#include "train/sheet.h"
#include "train/step.h"

using namespace scvd;
using namespace scvd::test;

namespace {

using eng::test::error_of;

void run(const Config& c, const std::string& out, std::int64_t stop_after = 0, bool resume = false) {
    testing::internal::CaptureStdout();
    TrainOptions o;
    o.config = c, o.out = out, o.stop_after = stop_after, o.resume = resume;
    try {
        train(o);
    } catch (...) {
        testing::internal::GetCapturedStdout();
        throw;
    }
    testing::internal::GetCapturedStdout();
}

class Trained : public testing::Test {
protected:
    static void SetUpTestSuite() {
        folder = new TempFolder;
        make_toy_set(folder->path / "set");
        make_toy_set(folder->path / "noise", 2, true);
        Config c = toy_config(*folder / "set");
        c.train.epochs = 40;
        run(c, *folder / "run");
    }
    static void TearDownTestSuite() { delete folder; }
    static nlohmann::json test_report(const std::string& set, int shortlist = 0) {
        const std::string weights = *folder / "run/best.safetensors";
        Config c = checkpoint_config(weights);
        eng::Arena arena;
        Scvd model(c.model, arena, 1);
        load_weights(weights, model);
        const Dataset d = load_dataset(*folder / set);
        Pictures pictures(paths_of(d.test), c.model.image.height, c.model.image.width, 0);
        TextBank bank(c, "");
        const Scores s = score_split(model, c, d.test, items_of(bank, d.test), bank, pictures, shortlist);
        return report(s, "test", d.test.identities, 0.5f);
    }
    static inline TempFolder* folder = nullptr;
};

TEST_F(Trained, LearnsToFindPeopleItNeverSaw) {
    const auto r = test_report("set");
    EXPECT_GT(r["t2i"]["global"]["R1"].get<double>(), 60) << r;  // chance is 1 in 6
    EXPECT_GT(r["t2i"]["pair"]["R1"].get<double>(), 60) << r;
}

// A model that leaks the query into the gallery would still find them. 6 identities x 2 views, 24 queries: chance 1/6; the
// bound is chance plus three standard deviations of 12 independent draws (two captions of a view rank alike).
TEST_F(Trained, NoiseInTheGalleryBringsItToChance) {
    const auto r = test_report("noise");
    EXPECT_LT(r["t2i"]["pair"]["R1"].get<double>(), 100 * (1.0 / 6 + 3 * std::sqrt(1.0 / 6 * 5 / 6 / 12))) << r;
    EXPECT_LT(r["t2i"]["global"]["R1"].get<double>(), 100 * (1.0 / 6 + 3 * std::sqrt(1.0 / 6 * 5 / 6 / 12))) << r;
}

TEST_F(Trained, AShortlistAsLongAsTheGalleryRanksLikeAllPairs) {
    const auto all = test_report("set", 0), listed = test_report("set", 12);
    EXPECT_EQ(all["t2i"], listed["t2i"]);
    EXPECT_EQ(all["i2t"], listed["i2t"]);
}

TEST_F(Trained, SearchFindsExplainsAndWritesAPage) {
    IndexOptions ix;
    ix.weights = *folder / "run/best.safetensors", ix.folder = *folder / "set/imgs", ix.out = *folder / "set.index";
    World alone;
    EXPECT_EQ(build_index(ix, alone), 72);
    SearchOptions o;
    o.index = ix.out, o.query = "a man in a red shirt and <b>green</b> pants", o.top = 3;
    const SearchPage page = search(o);
    ASSERT_EQ(page.results.size(), 3u);
    EXPECT_GE(page.results[0].score, page.results[1].score);
    ASSERT_GE(page.results[0].phrases.size(), 2u);
    const std::string html = render_search_page(page);
    EXPECT_EQ(html.find("<b>green</b>"), std::string::npos) << "hostile text must be escaped";
    EXPECT_EQ(write_heatmaps(page, *folder / "maps", 1).size(), page.results[0].phrases.size());
    const auto sheet = render_sheet(page, 2);
    const Image drawn = decode_image(std::as_bytes(std::span(sheet)), "sheet");
    EXPECT_EQ(drawn.height, 40 + 2 * (256 + 38 + 12));
    EXPECT_EQ(drawn.width, 12 + int(1 + page.results[0].phrases.size()) * 140);
    o.query = "  ";
    EXPECT_EQ(error_of([&] { search(o); }), "search: the description is empty");
    std::string damaged = eng::read_file(ix.out);
    damaged.replace(damaged.find(R"("files":"[)"), 10, R"("files":"{)");
    o.query = "a man", o.index = *folder / "damaged.index";
    eng::write_file(o.index, damaged);
    EXPECT_NE(error_of([&] { search(o); }).find(R"(damaged.index: the "files" in its metadata are damaged: parse error)"), std::string::npos);
}

TEST(Resume, IsBitExact) {
    TempFolder f;
    make_toy_set(f.path / "set");
    Config c = toy_config(f / "set");
    c.train.ema = 0.9f;
    run(c, f / "whole");
    run(c, f / "parts", 7);
    run(c, f / "parts", 0, true);
    const auto whole = losses(f / "whole"), parts = losses(f / "parts");
    ASSERT_EQ(whole.size(), 24u);  // 96 pairs, batch 16, 4 epochs
    EXPECT_EQ(whole, parts);
    eng::Arena arena;
    Scvd a(c.model, arena, 1), b(c.model, arena, 2);
    load_weights(f / "whole/last.safetensors", a);
    load_weights(f / "parts/last.safetensors", b);
    EXPECT_EQ(std::memcmp(a.params().master.raw(), b.params().master.raw(), a.params().master.bytes()), 0);
}

// oneDNN's products use the stack pointer as a register: a handler on that stack would overwrite the heap, now and then.
TEST(Interruption, IsHandledOnAStackOfItsOwn) {
    TempFolder f;
    make_toy_set(f.path / "set");
    run(toy_config(f / "set"), f / "run", 1);
    for (const int signal : {SIGINT, SIGTERM}) {
        struct sigaction now {};
        ASSERT_EQ(sigaction(signal, nullptr, &now), 0);
        EXPECT_TRUE(now.sa_flags & SA_ONSTACK) << signal;
    }
    stack_t own{};
    ASSERT_EQ(sigaltstack(nullptr, &own), 0);
    EXPECT_FALSE(own.ss_flags & SS_DISABLE);
    EXPECT_GE(own.ss_size, 2 * getauxval(AT_MINSIGSTKSZ));
}

TEST(Loader, SameBatchesForAnyNumberOfWorkers) {
    TempFolder f;
    make_toy_set(f.path / "set");
    const auto stream = [&](int workers) {
        Config c = toy_config(f / "set");
        c.data.workers = workers;
        c.data.erase = 0.5f;
        const Dataset d = load_dataset(f / "set");
        TextBank bank(c, "");
        const std::vector<TextItem> items = items_of(bank, d.train);
        Pictures pictures(paths_of(d.train), 48, 24, 16);
        Loader loader(c, d.train, pictures, items, 3);
        std::vector<std::vector<std::uint8_t>> pixels;
        std::vector<std::vector<std::int32_t>> rest;
        for (int i = 0; i < 9; ++i) {
            auto b = loader.next();
            pixels.push_back(b.pixels), rest.push_back(b.augment), rest.push_back(b.labels);
        }
        return std::pair{pixels, rest};
    };
    EXPECT_EQ(stream(1), stream(3));
}

// An update of two micro-batches has the mean of their gradients and losses; the one after it starts from nothing.
TEST(Accumulation, TakesTheMeanOfItsParts) {
    TempFolder f;
    make_toy_set(f.path / "set");
    Config c = toy_config(f / "set");
    c.model.dtype = "f64", c.model.loss.pairs = "hard:1", c.train.batch = 4;
    const Dataset d = load_dataset(f / "set");
    TextBank bank(c, "");
    const std::vector<TextItem> items = items_of(bank, d.train);
    Pictures pictures(paths_of(d.train), 48, 24, 16);
    Loader loader(c, d.train, pictures, items, 0);
    const HostBatch batches[] = {loader.next(), loader.next()};
    // The gradients of the last of `updates` updates, and its losses.
    const auto found = [&](const std::vector<int>& parts, int updates) {
        c.train.accumulate = int(parts.size());
        eng::Arena weights;
        Scvd model(c.model, weights, 5);
        eng::Comm alone;
        eng::Buckets buckets(model.params(), alone, 1 << 20);
        eng::AdamW optimizer(model.params(), weights, {.beta1 = 0});  // its first moment is the gradient
        Step step(c, model, bank, alone, buckets, optimizer);
        for (int u = 0; u < updates; ++u)
            for (std::size_t i = 0; i < parts.size(); ++i) {
                step.send(batches[parts[i]]);
                if (i + 1 == parts.size()) optimizer.prepare(0, 0, 1);
                step.run(i + 1 == parts.size());
            }
        std::vector<double> all = eng::download_wide(optimizer.m);
        for (const auto& [name, value] : step.take_losses()) all.push_back(value / updates);
        return all;
    };
    const auto one = found({0}, 1), other = found({1}, 1), both = found({0, 1}, 1), again = found({0, 1}, 2);
    ASSERT_EQ(both.size(), one.size());
    for (std::size_t i = 0; i < both.size(); ++i) {
        const double mean = (one[i] + other[i]) / 2, rounding = 1e-12 * (std::fabs(one[i]) + std::fabs(other[i]) + 1e-3);
        ASSERT_NEAR(both[i], mean, rounding) << i;
        ASSERT_NEAR(again[i], mean, rounding) << i;
    }
}

TEST(Accumulation, CountsUpdates) {
    TempFolder f;
    make_toy_set(f.path / "set");
    Config c = toy_config(f / "set");
    c.train.accumulate = 2, c.train.epochs = 2;
    run(c, f / "run");
    EXPECT_EQ(losses(f / "run").size(), 6u);
}

TEST(BadInput, EndsWithOneSentence) {
    TempFolder f;
    make_toy_set(f.path / "set");
    const auto train_on = [&](const std::string& root) {
        return error_of([&] { run(toy_config(root), f / "run"); });
    };
    EXPECT_EQ(train_on(f / "nowhere"), "data: " + (f / "nowhere") + " is not a folder");
    fs::create_directories(f.path / "empty");
    EXPECT_NE(train_on(f / "empty").find("holds no data_captions.json"), std::string::npos);
    const auto with_json = [&](const std::string& text) {
        eng::write_file(f.path / "set/data_captions.json", text);
        return train_on(f / "set");
    };
    EXPECT_NE(with_json("[{\"id\": 1, ").find("is not JSON"), std::string::npos);
    EXPECT_NE(with_json(R"([{"id":0,"img_pth":"0_c0.jpg","captions":["a"],"split":"train"}])").find("record 0 has no \"img_path\"; the nearest key is \"img_pth\""), std::string::npos);
    EXPECT_NE(with_json(R"([{"id":0,"img_path":"0_c0.jpg","captions":[" "],"split":"train"}])").find("caption 0 is empty"), std::string::npos);
    EXPECT_NE(with_json("[{\"id\":0,\"img_path\":\"0_c0.jpg\",\"captions\":[\"a \xff\"],\"split\":\"train\"}]").find("is not UTF-8: byte"), std::string::npos);
    EXPECT_NE(with_json(R"([{"id":0,"img_path":"gone.jpg","captions":["a"],"split":"train"}])").find("gone.jpg is not there"), std::string::npos);
    EXPECT_FALSE(fs::exists(f.path / "run")) << "nothing half-written";
}

TEST(BadInput, ATruncatedJpegIsNamed) {
    TempFolder f;
    make_toy_set(f.path / "set");
    const std::string victim = f / "set/imgs/3_c1.jpg", bytes = eng::read_file(victim);
    eng::write_file(victim, bytes.substr(0, bytes.size() / 2));
    const std::string what = error_of([&] { run(toy_config(f / "set"), f / "run"); });
    EXPECT_NE(what.find("3_c1.jpg"), std::string::npos) << what;
    EXPECT_NE(what.find("cut short"), std::string::npos) << what;
}

TEST(BadInput, CheckpointsThatDoNotFit) {
    TempFolder f;
    make_toy_set(f.path / "set");
    Config c = toy_config(f / "set");
    c.train.epochs = 1;
    run(c, f / "run");
    const std::string weights = f / "run/last.safetensors", bytes = eng::read_file(weights);
    EXPECT_NE(error_of([&] { run(c, f / "run"); }).find("already holds a run"), std::string::npos);
    std::string damaged = bytes;
    damaged.replace(damaged.find(R"(\"best\":)"), 9, R"(\"bust\":)");
    eng::write_file(f.path / "bust.safetensors", damaged);
    eng::Arena arena;
    Scvd same(c.model, arena, 1);
    load_weights(weights, same);
    const std::string error = error_of([&] { load_weights(f / "bust.safetensors", same); });
    EXPECT_NE(error.find("bust.safetensors: the \"state\" in its metadata is damaged: key 'best' not found"), std::string::npos) << error;
    damaged = bytes;
    damaged.replace(damaged.find(R"(\"optimizer_steps\":)"), 20, R"(\"optimizer_stops\":)");
    eng::write_file(weights, damaged);
    EXPECT_NE(error_of([&] { run(c, f / "run", 0, true); }).find("is damaged: it has no \"optimizer_steps\""), std::string::npos);
    eng::write_file(weights, bytes);
    c.model.embed = 48;
    Scvd other(c.model, arena, 1);
    EXPECT_NE(error_of([&] { load_weights(weights, other); }).find("this model wants"), std::string::npos);
    eng::write_file(f.path / "half.safetensors", bytes.substr(0, bytes.size() / 2));
    EXPECT_NE(error_of([&] { checkpoint_config(f / "half.safetensors"); }).find("half.safetensors"), std::string::npos);
}

TEST(BadInput, AnExplodingLossStopsTheRun) {
    TempFolder f;
    make_toy_set(f.path / "set");
    Config c = toy_config(f / "set");
    c.train.lr = c.train.head_lr = 1e30f, c.train.clip_norm = 0, c.train.warmup = 0;
    EXPECT_NE(error_of([&] { run(c, f / "run"); }).find("--check-numerics"), std::string::npos);
}

TEST(Captions, OfFiveThousandWordsAreCutToTheContext) {
    Config c = toy_config("");
    TextBank bank(c, "");
    std::string text = "a man";
    for (int i = 0; i < 5000; ++i) text += " with a red hat";
    const TextItem t = bank.item(text);
    EXPECT_EQ(int(t.tokens.size()), c.model.text.context);
    EXPECT_EQ(t.tokens.back(), Tokenizer::eot);
}

TEST(Schedule, MovesWithEveryUpdateOrHoldsAnEpochAsIrraDoes) {
    const int epochs = 60, warmup = 5, per_epoch = 7;
    const Schedule held{"cosine", warmup * per_epoch, epochs * per_epoch, per_epoch}, moving{"cosine", warmup * per_epoch, epochs * per_epoch};
    for (int step = 0; step < epochs * per_epoch; ++step) {
        const double e = step / per_epoch, alpha = e / warmup;  // the epoch from 0
        const double irra = e < warmup ? 0.1 * (1 - alpha) + alpha : 0.5 * (1 + std::cos(std::acos(-1.0) * (e - warmup) / (epochs - warmup)));
        EXPECT_NEAR(schedule_factor(held, step), irra, 1e-12) << step;
    }
    EXPECT_NEAR(schedule_factor(moving, 0), 0.1 + 0.9 / 35, 1e-12);
    EXPECT_NEAR(schedule_factor(moving, 34), 1, 1e-12);
    EXPECT_LT(schedule_factor(moving, 36), schedule_factor(moving, 35));
    EXPECT_DOUBLE_EQ(schedule_factor({"multistep", 0, 80}, 49), 1);
    EXPECT_DOUBLE_EQ(schedule_factor({"multistep", 0, 80}, 50), 0.1);
    EXPECT_DOUBLE_EQ(schedule_factor({"multistep", 0, 80}, 70), 0.01);
    EXPECT_DOUBLE_EQ(schedule_factor({"cosine", 2, 8, 1}, 0), 0.1) << "one update an epoch";
}

TEST(Settings, UnknownKeysNameTheNearestAndTypesAreChecked) {
    Config c;
    EXPECT_EQ(error_of([&] { load_config_text(c, "[train]\nepoch = 3", "x.toml"); }), "config: x.toml: unknown key \"train.epoch\"; did you mean \"train.epochs\"?");
    EXPECT_EQ(error_of([&] { load_config_text(c, "[train]\nepochs = \"many\"", "x.toml"); }), "config: train.epochs = \"many\" is not a whole number");
    EXPECT_NE(error_of([&] { load_config(c, "nothing.toml"); }).find("neither a preset"), std::string::npos);
    for (const auto& name : preset_names()) {
        Config a, b;
        load_config(a, name);
        a.model.check();
        load_config_text(b, to_toml(a), "resolved");
        EXPECT_EQ(to_toml(a), to_toml(b)) << name << ": the resolved config must read back to itself";
    }
}

}  // namespace
