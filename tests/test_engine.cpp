#include <gtest/gtest.h>

#include <algorithm>

#include "engine/parallel_errors.h"
#include "engine/rng.h"
#include "engine/transfer.h"
#include "ops/kernels.h"
#include "tests/check.h"
#include "tests/errors.h"

using namespace eng;
using namespace eng::test;

namespace {

Param make_param(Arena& arena, Tensor master, DType compute) {
    Param p;
    p.name = "w";
    p.shape = master.shape();
    p.master = master;
    p.compute = to(master, compute);
    p.grad = Tensor(arena, master.shape(), DType::f32);
    std::memset(p.grad.raw(), 0, p.grad.bytes());
    return p;
}

TEST(Sequences, PackedEqualsOneByOneBitForBit) {
    Arena arena;
    const std::vector<std::int32_t> lens{3, 1, 5, 193};
    for (const bool causal : {false, true}) {
        const Tensor qkv = random_normal(arena, {202, 48}, DType::f32, 1), dy = random_normal(arena, {202, 16}, DType::f32, 2);
        const auto both = [&](const Tensor& x, const Tensor& g, const std::vector<std::int32_t>& n) {
            Tape tape;
            Recording on(&tape);
            const Tensor leaf = tape.leaf(x), y = self_attention(leaf, packed_seqs(arena, n), 2, causal);
            tape.backward(y, g);
            return std::pair{y, tape.take(leaf)};
        };
        const auto [y, dx] = both(qkv, dy, lens);
        std::int64_t row = 0;
        for (const auto n : lens) {
            const auto [y1, dx1] = both(qkv.slice(row, n), dy.slice(row, n), {n});
            EXPECT_TRUE(same_bits(y1, y.slice(row, n)) && same_bits(dx1, dx.slice(row, n))) << n;
            row += n;
        }
    }
}

TEST(Checkpoint, SameGradientsBitForBitWithLessHeld) {
    Arena arena;
    Param w = make_param(arena, random_normal(arena, {64, 64}, DType::f32, 4), DType::f32);
    const auto block = [&](const std::vector<Tensor>& t) {
        Tensor h = t[0];
        for (int i = 0; i < 8; ++i) h = dropout(quick_gelu(linear(h, w.use())), 0.1f, 3, i);
        return h;
    };
    std::size_t held[2];
    Tensor gx[2], gw[2];
    for (int ck = 0; ck < 2; ++ck) {
        std::memset(w.grad.raw(), 0, w.grad.bytes());
        Tape tape;
        Recording on(&tape);
        const Tensor x = tape.leaf(random_normal(arena, {32, 64}, DType::f32, 5));
        const Tensor y = ck ? checkpoint(block, {x}) : block({x});
        held[ck] = tape.saved_bytes();
        tape.backward(y, random_normal(arena, y.shape(), DType::f32, 6));
        gx[ck] = tape.take(x);
        gw[ck] = w.grad.like();
        std::memcpy(gw[ck].raw(), w.grad.raw(), w.grad.bytes());
    }
    EXPECT_TRUE(same_bits(gx[0], gx[1]) && same_bits(gw[0], gw[1]));
    EXPECT_LT(held[1], held[0] / 4);
}

TEST(Arena, RepeatedStepReusesAddressesAndFrozenGrowthIsRefused) {
    Arena arena(std::size_t(64) << 20);
    const auto step = [&](int rows) {
        std::vector<std::size_t> at;
        Tape tape;
        Recording on(&tape);
        Tensor x = tape.leaf(random_normal(arena, {rows, 32}, DType::f32, 7));
        for (int i = 0; i < 5; ++i) x = quick_gelu(add(x, x)), at.push_back(arena.offset_of(x.raw()));
        tape.backward(x, random_normal(arena, x.shape(), DType::f32, 8));
        return at;
    };
    EXPECT_EQ(step(16), step(16));
    const std::size_t before = arena.in_use();
    arena.freeze(true);
    EXPECT_NE(error_of([&] { step(10000); }).find("frozen"), std::string::npos);
    arena.freeze(false);
    EXPECT_EQ(arena.in_use(), before) << "an exception leaks nothing";
    EXPECT_NE(error_of([&] { Tensor(arena, {std::int64_t(1) << 30}, DType::f32); }).find("out of memory"), std::string::npos);
}

TEST(Arena, RedZoneSeesAnOverrun) {
#if !defined(__SANITIZE_ADDRESS__)
    Arena arena(std::size_t(1) << 20, Device::cpu, true);
    char* p = static_cast<char*>(arena.alloc(100));
    p[100] = 1;
    EXPECT_NE(error_of([&] { arena.release(p); }).find("past the end"), std::string::npos);
#endif
}

TEST(MixedPrecision, F32GradientsOverManyBf16MicroSteps) {
    Arena arena;
    Param w = make_param(arena, random_normal(arena, {16, 32}, DType::f32, 11), DType::bf16);
    const Tensor x = random_normal(arena, {64, 32}, DType::bf16, 12), g = random_normal(arena, {64, 16}, DType::bf16, 13);
    const int steps = 256;
    for (int i = 0; i < steps; ++i) {
        Tape tape;
        Recording on(&tape);
        const Tensor y = linear(x, w.use());
        tape.backward(y, g);
    }
    double one = 0;
    for (int n = 0; n < 64; ++n) one += get(g, n * 16) * get(x, n * 32);
    // 256 additions in f32, each rounded once: 256 * 2^-24 at worst; a bf16 accumulator would be off by several percent.
    EXPECT_NEAR(get(w.grad, 0), steps * one, 256.0 / (1 << 24) * std::fabs(steps * one) + 1e-3);
}

TEST(Errors, SayOpShapesAndPlaceInTheModel) {
    Arena arena;
    EXPECT_EQ(error_of([&] {
                  Scope a("image"), b("block3"), c("mlp");
                  linear(Tensor(arena, {4, 768}, DType::f32), Tensor(arena, {3072, 512}, DType::f32));
              }),
              "linear: x [4,768] does not fit w [3072,512] (want x[...,C] w[O,C])  [in image.block3.mlp]");
    EXPECT_EQ(error_of([] { run_add(Device::cuda, {}); }), "add: this binary was built without CUDA");
    EXPECT_EQ(error_of([&] { Arena cuda(1 << 20, Device::cuda); }), "device: this binary was built without CUDA");
}

// Of many rows on all threads: an exception must not leave a parallel region.
TEST(Errors, AClassThatIsNotThereIsRefused) {
    Arena arena;
    std::vector<std::int32_t> target(1000, 4);
    target[777] = 5;
    const Tensor logits = upload<float>(arena, {1000, 5}, std::vector<float>(5000, 0.f));
    const std::string what = error_of([&] { softmax_xent(logits, indices(arena, target)); });
    EXPECT_NE(what.find("target 5 of 5 classes"), std::string::npos) << what;
}

TEST(Numerics, NamesTheFirstOpThatIsNotFinite) {
    Arena arena;
    Tape::check_numerics = true;
    const std::string what = error_of([&] {
        Tape tape;
        Recording on(&tape);
        Tensor x = random_normal(arena, {2, 3}, DType::f32, 1);
        x.as<float>()[4] = 3e38f;
        const Tensor leaf = tape.leaf(x);
        Scope s("head");
        scale(add(leaf, leaf), 2);
    });
    Tape::check_numerics = false;
    EXPECT_EQ(what.rfind("add: the first output that is not finite", 0), 0u) << what;
    EXPECT_NE(what.find("[in head]"), std::string::npos) << what;
}

// A residual's gradient is the output's: it goes on without a copy, but for the seed, which belongs to the caller.
TEST(Tape, GradientsAreHandedOverAndTheSeedIsLeftAlone) {
    Arena arena;
    const Tensor x = random_normal(arena, {7, 16}, DType::f32, 1), w = random_normal(arena, {16, 16}, DType::f32, 2), seed = random_normal(arena, {7, 16}, DType::f32, 3);
    const Tensor before = seed.like();
    copy(before, seed);
    Tape tape;
    Recording on(&tape);
    const Tensor leaf = tape.leaf(x);
    Tensor h = leaf;
    for (int i = 0; i < 4; ++i) h = linear(quick_gelu(h), w, {}, h);
    h = add(h, h);
    long& copies = kernel_calls[int(KernelId::scale)];
    const long already = copies;
    tape.backward(h, seed);
    EXPECT_EQ(copies - already, 2) << "the seed's two";
    EXPECT_TRUE(same_bits(seed, before));
    EXPECT_TRUE(tape.take(leaf).defined());
}

TEST(Tape, HundredThousandNodesWithoutRecursion) {
    Arena arena;
    Tape tape;
    Recording on(&tape);
    const Tensor x = tape.leaf(random_normal(arena, {1, 1}, DType::f32, 9)), one = random_normal(arena, {1, 1}, DType::f32, 10);
    Tensor h = x;
    for (int i = 0; i < 100000; ++i) h = add(h, one);
    tape.backward(h, one);
    EXPECT_EQ(max_diff(tape.take(x), one), 0);
}

TEST(Tape, SavedBytesAreChargedToTheirScope) {
    Arena arena;
    Tape tape;
    Recording on(&tape);
    const Tensor x = tape.leaf(random_normal(arena, {8, 16}, DType::f32, 1));
    {
        Scope s("mlp");
        quick_gelu(x);
        quick_gelu(x);  // the same tensor saved twice counts once
    }
    const auto by_scope = tape.saved_bytes_by_scope();
    EXPECT_EQ(by_scope.at("mlp"), 8 * 16 * 4u);
}

// Known answer of Philox4x32-10 (the reference implementation's test vectors).
TEST(Rng, PhiloxMatchesItsPublishedVectors) {
    EXPECT_EQ(philox(0, 0, 0), (Philox4{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
    EXPECT_EQ(philox(~0ull, ~0ull, ~0ull), (Philox4{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
}

TEST(Params, FlatBuffersStartFromTheirNamesAndNotTheirOrder) {
    Arena arena;
    const auto build = [&](bool swapped) {
        auto s = std::make_unique<ParamStore>(arena, DType::bf16);
        Scope scope("m");
        for (int i = 0; i < 2; ++i) s->add((i == 0) != swapped ? "a" : "b", {3, 5}, Init::normal(0.02), ParamGroup::clip, true);
        s->finalize(7);
        return s;
    };
    const auto p = build(false), q = build(true);
    EXPECT_TRUE(same_bits(p->find("m.a")->master, q->find("m.a")->master));
    EXPECT_FALSE(same_bits(p->find("m.a")->master, p->find("m.b")->master));
    EXPECT_EQ(p->numel(), 30);
    EXPECT_EQ(get(p->find("m.a")->compute, 3), double(float(bf16(p->find("m.a")->master.as<float>()[3]))));
    EXPECT_NE(error_of([&] { p->add("c", {1}, Init::zeros(), ParamGroup::clip, true); }).find("after finalize"), std::string::npos);
}

TEST(ParallelErrors, AreThoseOfTheTasksThatFailedAndTheFirstIsThrown) {
    for (const int n : {0, 1, 193}) {
        std::vector<int> ran(n, 0);
        const auto task = [&](std::int64_t i) {
            ++ran[i];
            if (i % 5 == 3) throw Error("task " + std::to_string(i));
        };
        const auto errors = errors_of_all(n, 1, task);
        ASSERT_EQ(int(errors.size()), n);
        for (int i = 0; i < n; ++i) EXPECT_EQ(errors[i], i % 5 == 3 ? "task " + std::to_string(i) : "");
        EXPECT_EQ(error_of([&] { all_or_throw(n, 1, task); }), n > 3 ? "task 3" : "no error");
        EXPECT_EQ(ran, std::vector<int>(n, 2));
    }
}

}  // namespace
