// Several ranks are one process with the whole batch: the same losses, gradients, weights and scores.
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "engine/comm/buckets.h"
#include "engine/comm/threads.h"
#include "engine/io/safetensors.h"
#include "engine/parallel.h"
#include "engine/transfer.h"
#include "tests/errors.h"
#include "tests/tiny.h"
#include "tests/toy_set.h"
#include "train/data/loader.h"
#include "train/evaluate.h"
#include "train/loop.h"

using namespace scvd;
using namespace scvd::test;

namespace {

using eng::test::error_of;

// Runs body(world) as each rank of a world of threads; the error of each.
template <class Body> std::vector<std::string> as_worlds(int size, Body&& body) {
    auto comms = eng::thread_comms(size, 60);
    std::vector<std::thread> threads;
    std::vector<std::string> errors(size);
    for (int r = 0; r < size; ++r)
        threads.emplace_back([&, r] {
            eng::set_num_threads(1);
            World world(std::move(comms[r]));
            try {
                body(world);
            } catch (const std::exception& e) {
                errors[r] = e.what();
            }
        });
    for (auto& t : threads) t.join();
    return errors;
}
template <class Body> void as_ranks(int size, Body&& body) {
    for (const auto& e : as_worlds(size, [&](World& w) { body(w.comm()); })) EXPECT_EQ(e, "");
}

std::vector<double> numbers(std::size_t n, unsigned seed) {
    std::mt19937 g(seed);
    std::normal_distribution<double> d;
    std::vector<double> v;
    while (v.size() < n) v.push_back(d(g));
    return v;
}

// L(x) = sum over ranks r of sum_ij w_r[i,j] x[i,j]^2, where every rank sees all of x: the gradient of a row gathers from all ranks.
TEST(AllGather, GradientIsThatOfFiniteDifferences) {
    const int size = 3;
    const std::vector<std::int64_t> rows{2, 0, 3};
    const std::int64_t C = 4, B = 5;
    std::vector<double> x = numbers(std::size_t(B * C), 1);
    std::vector<std::vector<double>> w;
    for (int r = 0; r < size; ++r) w.push_back(numbers(x.size(), 10 + unsigned(r)));
    const auto loss = [&](const std::vector<double>& at) {
        double sum = 0;
        for (const auto& wr : w)
            for (std::size_t i = 0; i < at.size(); ++i) sum += wr[i] * at[i] * at[i];
        return sum;
    };
    as_ranks(size, [&](eng::Comm& comm) {
        eng::Arena arena;
        std::int64_t first = 0;
        for (int r = 0; r < comm.rank(); ++r) first += rows[r];
        const std::vector<double> mine(x.begin() + first * C, x.begin() + (first + rows[comm.rank()]) * C);
        eng::Tape tape;
        eng::Recording on(&tape);
        const Tensor own = tape.leaf(eng::upload(arena, {rows[comm.rank()], C}, mine)), all = eng::all_gather(own, comm, rows);
        const Tensor y = eng::sum(eng::mul(eng::mul(all, all), eng::upload(arena, {B, C}, w[comm.rank()])));
        tape.backward(y, eng::upload(arena, {1}, std::vector<double>{1}));
        const std::vector<double> got = eng::download<double>(tape.take(own));
        for (std::size_t i = 0; i < got.size(); ++i) {
            std::vector<double> a = x, b = x;
            const std::size_t at = std::size_t(first * C) + i;
            a[at] += 1e-5, b[at] -= 1e-5;
            EXPECT_NEAR(got[i], (loss(a) - loss(b)) / 2e-5, 1e-7) << "rank " << comm.rank() << ", element " << i;
        }
    });
}

// Captions and prompts that depend on the caption's number in the whole batch alone.
TextBatch texts_of(eng::Arena& arena, std::int64_t first, std::int64_t n) {
    std::vector<std::int32_t> ids, positions, lens, eot, prompt_text, slots;
    const auto text = [&](unsigned seed, int len) {
        std::mt19937 g(seed);
        for (int i = 0; i < len; ++i) ids.push_back(i == 0 ? 49406 : i == len - 1 ? 49407 : int(g() % 50)), positions.push_back(i);
        lens.push_back(len), eot.push_back(std::int32_t(ids.size()) - 1);
    };
    for (std::int64_t c = first; c < first + n; ++c) text(unsigned(100 + c), 5 + int(c % 4));
    for (std::int64_t c = first; c < first + n; ++c) {
        const int prompts = 1 + int(c * 7 % 4);
        for (int p = 0; p < prompts; ++p) text(unsigned(1000 + 10 * c + p), 3 + p), prompt_text.push_back(std::int32_t(lens.size()) - 1);
        slots.push_back(prompts);
    }
    TextBatch b;
    b.ids = eng::indices(arena, ids), b.positions = eng::indices(arena, positions);
    b.seqs = eng::packed_seqs(arena, lens), b.eot = eng::indices(arena, eot);
    b.captions = int(n);
    b.prompt_text = eng::indices(arena, prompt_text), b.prompts = eng::packed_seqs(arena, slots);
    return b;
}
Tensor pixels_of(eng::Arena& arena, const ModelConfig& c, std::int64_t first, std::int64_t n) {
    std::vector<std::uint8_t> all;
    for (std::int64_t i = first; i < first + n; ++i) {
        std::mt19937 g(unsigned(i + 5));
        for (int k = 0; k < c.image.height * c.image.width * 3; ++k) all.push_back(std::uint8_t(g()));
    }
    return eng::upload(arena, {n, c.image.height, c.image.width, 3}, all);
}

struct Result { double loss; std::vector<double> grad; };
// One step's loss and gradients, summed over ranks beside backward in small buckets.
Result step(const ModelConfig& c, eng::Comm& comm) {
    const std::vector<std::int32_t> labels{0, 1, 2, 0, 3, 4, 1};
    eng::Arena arena;
    Scvd model(c, arena, 3);
    eng::Buckets buckets(model.params(), comm, 1 << 12);
    EXPECT_GT(buckets.count(), 3u);
    const BatchShare batch(eng::indices(arena, labels), comm);
    eng::Tape tape;
    eng::Recording on(&tape);
    const LossParts loss = model.loss(pixels_of(arena, c, batch.first, batch.n), {}, texts_of(arena, batch.first, batch.n), batch);
    buckets.begin(tape);
    tape.backward(loss.total, eng::upload_as(arena, {1}, {1}, loss.total.dtype()), [&](eng::Param& p) { buckets.final(p); });
    buckets.finish();
    return {comm.sum_numbers({eng::first_element(loss.total)})[0], eng::download_wide(model.params().grad)};
}

std::vector<std::pair<std::string, ModelConfig>> variants() {
    std::vector<std::pair<std::string, ModelConfig>> all;
    const auto add = [&](const std::string& name, auto&& change) {
        ModelConfig c = tiny_config();
        change(c);
        all.push_back({name, c});
    };
    add("sdm, cmpm on all pairs", [](ModelConfig&) {});
    add("cmpm, sdm on hard pairs", [](ModelConfig& c) { c.loss.global = "cmpm", c.loss.pair = "sdm", c.loss.pairs = "hard:2"; });
    add("itc, itc on hard pairs, text vectors from text", [](ModelConfig& c) { c.loss.global = c.loss.pair = "itc", c.loss.pairs = "hard:3", c.cgi.vsr = "text"; });
    add("hard pairs from pools of three", [](ModelConfig& c) { c.loss.pairs = "hard:1", c.loss.pool = 3; });
    add("matched pairs", [](ModelConfig& c) { c.loss.pairs = "matched"; });
    add("identities, recomputed blocks", [](ModelConfig& c) { c.classes = 5, c.loss.id_weight = 0.7f, c.recompute = true; });
    add("the pair stage alone", [](ModelConfig& c) { c.loss.global = "none", c.classes = 5; });  // a classifier that nothing uses
    return all;
}

// f64: only the order of sums differs, so a lost gradient (no reduce-scatter, a bucket sent too early) cannot hide.
TEST(Losses, OfShardedBatchesEqualThoseOfOneProcess) {
    for (const auto& [name, c] : variants()) {
        eng::Comm alone;
        const Result one = step(c, alone);
        for (const int size : {2, 3, 4}) {
            as_ranks(size, [&, &c = c, &name = name](eng::Comm& comm) {
                const Result r = step(c, comm);
                EXPECT_NEAR(r.loss, one.loss, 1e-12 * std::abs(one.loss)) << name;
                double worst = 0, largest = 0;
                for (std::size_t i = 0; i < one.grad.size(); ++i) worst = std::max(worst, std::abs(r.grad[i] - one.grad[i])), largest = std::max(largest, std::abs(one.grad[i]));
                EXPECT_LT(worst, 1e-11 * largest) << name << ", " << size << " ranks";
            });
        }
    }
}

// What a loader of each rank hands out, put back together: every pair once an epoch, whatever the number of ranks.
TEST(Loader, SplitsEveryEpochExactly) {
    TempFolder f;
    make_toy_set(f.path / "set");
    Config c = toy_config(f / "set");
    c.train.batch = 13;  // 96 pairs: eight batches of twelve
    c.data.erase = 0.5f;
    const Dataset d = load_dataset(f / "set");
    TextBank bank(c, "");
    const std::vector<TextItem> items = items_of(bank, d.train);
    Pictures pictures(paths_of(d.train), 48, 24, 16);
    const auto stream = [&](int size) {
        std::vector<std::unique_ptr<Loader>> loaders;
        for (int r = 0; r < size; ++r) loaders.push_back(std::make_unique<Loader>(c, d.train, pictures, items, 0, Rank{r, size}));
        std::vector<std::vector<std::uint8_t>> pixels;
        std::vector<std::vector<std::int32_t>> augment, labels;
        std::map<const TextItem*, int> read;
        std::set<std::int64_t> readings;
        for (int n = 0; n < 2 * 8; ++n) {
            pixels.emplace_back(), augment.emplace_back();
            for (auto& l : loaders) {
                const HostBatch b = l->next();
                pixels.back().insert(pixels.back().end(), b.pixels.begin(), b.pixels.end());
                augment.back().insert(augment.back().end(), b.augment.begin(), b.augment.end());
                for (const TextItem* t : b.texts) ++read[t];
                readings.insert(b.readings.begin(), b.readings.end());
                if (l == loaders.front()) labels.push_back(b.labels);
                else EXPECT_EQ(b.labels, labels.back());
            }
        }
        EXPECT_EQ(loaders[0]->batches_per_epoch(), 8);
        EXPECT_EQ(read.size(), 96u);
        EXPECT_EQ(readings.size(), 192u);
        for (const auto& [t, n] : read) EXPECT_EQ(n, 2) << "two epochs read " << t->text;
        return std::tuple{pixels, augment, labels};
    };
    const auto one = stream(1);
    for (const int size : {2, 3, 5, 12}) EXPECT_EQ(stream(size), one) << size << " ranks";
    EXPECT_NE(error_of([&] { Loader(c, d.train, pictures, items, 0, Rank{0, 13}); }).find("batches of 12 pairs (train.batch = 13) cannot be shared by 13 ranks"), std::string::npos);
}

class Runs : public testing::Test {
protected:
    void SetUp() override {
        make_toy_set(folder.path / "set");
        config = toy_config(folder / "set");
        config.train.batch = 14, config.train.epochs = 3, config.train.ema = 0.9f, config.train.bucket_mb = 0;
        config.model.text.dim = 16;  // the table of 49,408 words is most of what a step does here
        config.train.lr = config.train.head_lr = 1e-3f;
        testing::internal::CaptureStdout();
    }
    void TearDown() override { testing::internal::GetCapturedStdout(); }
    void run(int size, const std::string& out, std::int64_t stop_after = 0, bool resume = false) {
        TrainOptions o;
        o.config = config, o.out = folder / out, o.stop_after = stop_after, o.resume = resume;
        for (const auto& e : as_worlds(size, [&](World& w) { train(o, w); })) EXPECT_EQ(e, "");
    }
    TempFolder folder;
    Config config;
};

// 21 updates. Rounding differs by the order of sums alone, and grows with every update.
TEST_F(Runs, HaveTheSameLossesForAnyNumberOfRanks) {
    run(1, "one");
    const auto one = losses(folder / "one");
    ASSERT_EQ(one.size(), 21u);
    for (const int size : {2, 3, 4}) {
        const std::string name = "of" + std::to_string(size);
        run(size, name);
        const auto several = losses(folder / name);
        ASSERT_EQ(several.size(), one.size());
        for (std::size_t i = 0; i < 20; ++i) EXPECT_NEAR(several[i], one[i], 1e-5 * one[i]) << size << " ranks, update " << i + 1;
    }
    run(4, "again");
    EXPECT_EQ(losses(folder / "again"), losses(folder / "of4")) << "the same world gives the same bits";
}

TEST_F(Runs, GoOnWithAnotherNumberOfRanks) {
    run(1, "whole");
    run(3, "parts", 9);
    run(2, "parts", 0, true);
    const auto whole = losses(folder / "whole"), parts = losses(folder / "parts");
    ASSERT_EQ(whole.size(), 21u);
    ASSERT_EQ(parts.size(), 21u);
    for (std::size_t i = 0; i < 20; ++i) EXPECT_NEAR(parts[i], whole[i], 1e-5 * whole[i]) << "update " << i + 1;
}

// Slices of the moments and, in bf16, of the masters: the same bits, through a checkpoint by another number of ranks too.
TEST_F(Runs, ShareTheOptimizersStateWithTheSameBits) {
    for (const char* dtype : {"f32", "bf16"}) {
        config.model.dtype = dtype;
        const std::string name = dtype;
        config.train.shard_optimizer = false;
        run(3, name + "whole");
        run(3, name + "resumed", 9);
        config.train.shard_optimizer = true;
        run(3, name + "sharded");
        EXPECT_EQ(losses(folder / (name + "sharded")), losses(folder / (name + "whole")));
        const auto tensors = [&](const std::string& out) {
            const auto file = eng::SafeTensors::open(folder / (name + out + "/last.safetensors"));
            std::map<std::string, std::string> bytes;
            for (const auto& t : file.tensors()) bytes[t.name] = std::string(reinterpret_cast<const char*>(t.data), t.bytes);
            return bytes;
        };
        EXPECT_EQ(tensors("sharded"), tensors("whole"));
        fs::copy(folder / (name + "resumed"), folder / (name + "again"), fs::copy_options::recursive);
        run(2, name + "again", 0, true);
        config.train.shard_optimizer = false;
        run(2, name + "resumed", 0, true);
        EXPECT_EQ(tensors("again"), tensors("resumed"));
    }
}

TEST(Optimizer, KeepsAFractionOfItsStateOnEachRank) {
    ModelConfig c = tiny_config("bf16");
    std::vector<std::size_t> held(5);
    for (const int size : {1, 4})
        as_ranks(size, [&](eng::Comm& comm) {
            eng::Arena arena;
            Scvd model(c, arena, 3);
            eng::AdamWOptions o;
            o.ema = 0.5f;
            eng::AdamW optimizer(model.params(), arena, o, &comm);
            optimizer.shard_masters();
            const auto& p = model.params();
            EXPECT_EQ(p.compute.numel(), p.grad.numel());
            const std::size_t bytes = optimizer.m.bytes() + optimizer.v.bytes() + optimizer.ema.bytes() + p.master.bytes();
            if (size == 1) held[0] = bytes;
            else held[std::size_t(1 + comm.rank())] = bytes;
        });
    for (int r = 1; r <= 4; ++r) EXPECT_NEAR(double(held[r]), double(held[0]) / 4, 4 * 4 * 128) << "a quarter of masters, moments and average";
    EXPECT_EQ(held[1] + held[2] + held[3] + held[4], held[0]);
}

TEST_F(Runs, RefuseRanksThatDisagree) {
    Config other = config;
    other.train.lr = 0.5f;
    const auto errors = as_worlds(2, [&](World& w) {
        TrainOptions o;
        o.config = w.rank() ? other : config, o.out = folder / "disagree";
        train(o, w);
    });
    for (const auto& e : errors) EXPECT_NE(e.find("rank 1 has another configuration than rank 0: lr = 0.5 against lr = 0.001"), std::string::npos) << e;
    EXPECT_FALSE(fs::exists(folder / "disagree"));
}

// Each rank scores its blocks of the gallery; blocks are the same for any number of ranks, and so are all digits.
TEST(Evaluation, OverRanksIsTheSameToTheLastBit) {
    TempFolder f;
    make_toy_set(f.path / "set", 25);  // 150 test pictures: three blocks
    Config c = toy_config(f / "set");
    const Dataset d = load_dataset(f / "set");
    const auto scored = [&](eng::Comm& comm, int shortlist) {
        eng::Arena arena;
        Scvd model(c.model, arena, 1);
        Pictures pictures(paths_of(d.test), 48, 24, 16);
        TextBank bank(c, "");
        return score_split(model, c, d.test, items_of(bank, d.test), bank, pictures, shortlist, true, comm);
    };
    eng::set_num_threads(1);
    for (const int shortlist : {0, 7}) {
        eng::Comm alone;
        const Scores one = scored(alone, shortlist);
        ASSERT_EQ(one.gallery, 150);
        for (const int size : {2, 3, 4})
            as_ranks(size, [&](eng::Comm& comm) {
                const Scores s = scored(comm, shortlist);
                EXPECT_EQ(s.global, one.global) << size;
                EXPECT_EQ(s.pair, one.pair) << size;
                EXPECT_EQ(s.scored, one.scored) << size;
            });
    }
}

}  // namespace
