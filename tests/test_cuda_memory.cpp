// The arena on GPU memory, scratch memory, copies and step graphs: on a GPU, and here with the emulated driver.
#include <gtest/gtest.h>

#include "engine/context_cuda.h"
#include "engine/graph.h"
#include "engine/rng.h"
#include "engine/transfer.h"
#include "ops/optimizer.h"
#include "tests/check.h"
#include "tests/errors.h"

using namespace eng;
using namespace eng::test;

namespace {

std::size_t free_memory() {
    cuda::stream();
    std::size_t free = 0, total = 0;
    CUDA_CHECK(cudaMemGetInfo(&free, &total));
    return free;
}

TEST(CudaArena, MemoryIsMappedAsItIsNeededAndAddressesStay) {
    const std::size_t before = free_memory();
    Arena arena(std::size_t(300) << 20, Device::cuda);
    EXPECT_EQ(free_memory(), before) << "addresses cost nothing";
    void* first = arena.alloc(1000);
    const std::size_t one = before - free_memory();
    EXPECT_GT(one, 0u);
    void* big = arena.alloc(std::size_t(100) << 20);
    EXPECT_GT(before - free_memory(), one);
    EXPECT_EQ(arena.offset_of(first), 0u);
    EXPECT_EQ(static_cast<char*>(big) - static_cast<char*>(first), std::ptrdiff_t(arena.offset_of(big)));
    arena.release(big), arena.release(first);
    EXPECT_EQ(arena.alloc(1000), first) << "a repeated step reuses its addresses";
    arena.freeze(true);
    EXPECT_NE(error_of([&] { arena.alloc(std::size_t(200) << 20); }).find("frozen"), std::string::npos);
    arena.freeze(false);
}

TEST(CudaArena, OutOfMemorySaysWhoHoldsItAndWhichBatchMayFit) {
    Arena arena(std::size_t(256) << 20, Device::cuda);
    Tensor weights, activations;
    {
        Scope s("weights");
        weights = Tensor(arena, {std::int64_t(56) << 18}, DType::f32);  // 56 MiB
    }
    arena.begin_step(16);
    Scope s("visual"), b("block3");
    activations = Tensor(arena, {std::int64_t(150) << 18}, DType::f32);
    const std::string what = error_of([&] { Tensor(arena, {std::int64_t(250) << 18}, DType::f32); });
    EXPECT_NE(what.find("out of memory on cuda"), std::string::npos) << what;
    EXPECT_NE(what.find("held by visual.block3 157286400, weights 58720256"), std::string::npos) << what;
    EXPECT_NE(what.find("at most 8 of the batch of 16 can fit"), std::string::npos) << what;  // 200 MiB for 400 of 16
}

TEST(CudaArena, DebugFillsWithNanAndSeesAnOverrun) {
    Arena arena(std::size_t(1) << 20, Device::cuda, true);
    {
        const Tensor fresh(arena, {25}, DType::f32);
        for (const float v : download<float>(fresh)) EXPECT_TRUE(std::isnan(v));
    }
    char* p = static_cast<char*>(arena.alloc(100));
    const char byte = 1;
    cuda::transfers.to_device(p + 103, &byte, 1);
    EXPECT_NE(error_of([&] { arena.release(p); }).find("wrote 3 bytes past the end of a block of 100"), std::string::npos);
}

TEST(CudaScratch, AnInnerOneLeavesTheOuterOneAlone) {
    const cuda::Scratch outer(1000);
    char* const p = outer.as<char>();
    cudaMemsetAsync(p, 7, 1000, cuda::stream());
    {
        const cuda::Scratch inner(64 << 20);  // has to grow
        EXPECT_TRUE(inner.as<char>() >= p + 1000 || inner.as<char>() + (64 << 20) <= p);
        cudaMemsetAsync(inner.as<char>(), 8, 64 << 20, cuda::stream());
        const cuda::Scratch third(1), fourth(1);
        EXPECT_NE(error_of([] { cuda::Scratch fifth(10); }).find("levels deep"), std::string::npos);
    }
    EXPECT_NE(error_of([] { cuda::Scratch(std::size_t(1) << 40); }).find("out of memory"), std::string::npos);
    std::vector<char> host(1000);
    cuda::transfers.to_host(host.data(), p, host.size());
    EXPECT_EQ(host, std::vector<char>(1000, 7));
}

// A recorded step keeps the addresses of its time.
TEST(CudaScratch, GrowsWithoutMoving) {
    const auto where = [](std::size_t bytes) { return cuda::Scratch(bytes).as<char>(); };
    char* const p = where(1000);
    EXPECT_EQ(where(std::size_t(130) << 20), p);
    EXPECT_EQ(where(1), p);
}

TEST(CudaCopies, LargerThanTheStagingRingComeBackAsTheyWent) {
    Arena arena(std::size_t(512) << 20, Device::cuda);
    std::vector<std::uint8_t> bytes(std::size_t(70 << 20) + 13);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::uint8_t(i * 37 % 251);
    const Tensor t = upload(arena, {std::int64_t(bytes.size())}, bytes);
    const Tensor second = t.like();
    copy(second, t);
    fill_zero(t);
    EXPECT_EQ(download<std::uint8_t>(second), bytes);
    EXPECT_EQ(download<std::uint8_t>(t), std::vector<std::uint8_t>(bytes.size(), 0));
}

// Around the ring several times in pieces of all sizes, nothing read before the end.
TEST(CudaCopies, NoneOvertakesAnotherInTheRing) {
    Arena arena(std::size_t(1) << 30, Device::cuda);
    Rng rng(11, 0);
    std::vector<Tensor> there;
    std::vector<std::vector<std::int32_t>> sent;
    for (int i = 0; i < 260; ++i) {
        const std::size_t n = i % 3 ? 1 + rng.below(200) : 1 + rng.below(1 << 20);
        std::vector<std::int32_t> values(n, i);
        values.back() = -i;
        there.push_back(indices(arena, values));
        sent.push_back(std::move(values));
    }
    for (std::size_t i = 0; i < sent.size(); ++i) ASSERT_EQ(download<std::int32_t>(there[i]), sent[i]) << i;
}

// A small network's training: forward, backward and the optimizer in one graph, the rates outside of it.
std::vector<float> train_steps(bool with_graph, int steps, std::size_t& bytes_at_end) {
    Arena weights(std::size_t(32) << 20, Device::cuda), step_memory(std::size_t(64) << 20, Device::cuda);
    ParamStore params(weights, DType::bf16);
    Param* w1 = params.add("w1", {64, 32}, Init::normal(0.2), ParamGroup::clip, true);
    Param* b1 = params.add("b1", {64}, Init::zeros(), ParamGroup::clip, false);
    Param* gamma = params.add("gamma", {64}, Init::ones(), ParamGroup::clip, false);
    Param* beta = params.add("beta", {64}, Init::zeros(), ParamGroup::clip, false);
    Param* w2 = params.add("w2", {16, 64}, Init::normal(0.2), ParamGroup::head, true);
    params.finalize(7);
    AdamW optimizer(params, weights, {});
    std::vector<double> values;
    for (int i = 0; i < 24 * 32; ++i) values.push_back(normal(3, 1, std::uint64_t(i)));
    const Tensor x = upload_as(weights, {24, 32}, values, DType::bf16), loss(weights, {1}, DType::f32), one = upload<float>(weights, {1}, {1.f});
    std::vector<std::int32_t> classes;
    for (int i = 0; i < 24; ++i) classes.push_back(i * 7 % 16);
    const Tensor target = indices(weights, classes);
    StepGraph graph(step_memory);
    std::vector<float> losses;
    const auto step = [&] {
        Tape tape;
        Recording on(&tape);
        const Tensor h = layer_norm(quick_gelu(linear(x, w1->use(), b1->use())), gamma->use(), beta->use());
        const Tensor l = mean(softmax_xent(linear(h, w2->use()), target));
        copy(loss, l);
        tape.backward(l, one);
        optimizer.apply();
    };
    for (int i = 0; i < steps; ++i) {
        optimizer.prepare(1e-2f * float(steps - i), 1e-3f, 1.f);
        with_graph ? graph.run("b24", step) : step();
        losses.push_back(download<float>(loss)[0]);
        EXPECT_EQ(graph.recorded("b24"), with_graph && i >= 2);
    }
    for (const float v : download<float>(params.master)) losses.push_back(v);
    bytes_at_end = step_memory.in_use();
    return losses;
}

TEST(CudaGraph, ReplayedStepsEqualEagerOnesBitForBit) {
    std::size_t held = 0;
    const auto eager = train_steps(false, 6, held), replayed = train_steps(true, 6, held);
    EXPECT_EQ(held, 0u);
    EXPECT_LT(eager[5], 0.9f * eager[0]) << "it learns";
    EXPECT_EQ(eager, replayed);
}

}  // namespace
