// cpu against cuda over the whole catalogue: the f64 result of the CPU is the truth for f32 and bf16 on the device,
// forward and gradients, within the rounding that test_ops derives. Linked once per build of the CUDA kernels: with the
// emulator (plain, AddressSanitizer, access checker) here, with nvcc's objects where a GPU is.
#include <gtest/gtest.h>

#include <deque>

#include "engine/environment.h"
#include "engine/rng.h"
#include "engine/transfer.h"
#include "ops/optimizer.h"
#include "ops/provider.h"
#include "tests/check.h"

using namespace eng;
using namespace eng::test;

namespace eng {
void PrintTo(const Case& c, std::ostream* os) { *os << c.name; }
}  // namespace eng

namespace {

// SCVD_TEST_CONV=cudnn, SCVD_TEST_ATTENTION=cudnn: the same catalogue through cuDNN.
const bool chosen = [] {
    const auto asked = [](const char* name) { return environment_says(name, "cudnn") ? Provider::cudnn : Provider::scvd; };
    conv_provider = asked("SCVD_TEST_CONV"), attention_provider = asked("SCVD_TEST_ATTENTION");
    return true;
}();

Tensor on(Arena& arena, const Tensor& t) {
    Tensor there(arena, t.shape(), t.dtype());
    std::vector<char> bytes(t.bytes());
    read_host(t, bytes.data());
    write_host(there, bytes.data());
    return there;
}

class Parity : public testing::TestWithParam<Case> {
protected:
    Arena host{std::size_t(1) << 32}, device{std::size_t(1) << 32, Device::cuda, true};  // red zones and NaN-filled fresh memory

    std::vector<Tensor> inputs(DType t) {
        std::vector<Tensor> x;
        for (std::size_t i = 0; i < GetParam().inputs.size(); ++i)
            x.push_back(random_normal(host, GetParam().inputs[i], t, unsigned(i + 1)));
        return x;
    }
    Tensor cotangent(const std::vector<Tensor>& x, DType t) {
        Recording off(nullptr);
        return random_normal(host, GetParam().f(host, x).shape(), t, 99);
    }
    // The case on the device, its results brought home.
    Result run_there(const std::vector<Tensor>& x, const Tensor& w) {
        std::vector<Tensor> there;
        for (const Tensor& t : x) there.push_back(on(device, t));
        Result r = run(GetParam(), device, there, on(device, w));
        r.y = on(host, r.y);
        for (Tensor& g : r.grads) g = on(host, g);
        return r;
    }
};

TEST_P(Parity, AgreesWithinItsRoundingAndRepeatsItsBits) {
    const Case& c = GetParam();
    for (const DType t : {DType::f32, DType::bf16}) {
        const auto x = inputs(t);
        std::vector<Tensor> wide;
        for (const Tensor& v : x) wide.push_back(to(v, DType::f64));
        const Tensor w = cotangent(x, t);
        const Result truth = run(c, host, wide, w), got = run_there(x, w), again = run_there(x, w);
        const double u = t == DType::bf16 ? 1.0 / 256 : 1.0 / (1 << 24), sums = 8 * std::sqrt(c.depth) / (1 << 24);
        const auto check = [&](const Tensor& g, const Tensor& want, const Tensor& twice, const std::string& what) {
            const double size = std::fmax(max_abs(want), 1e-3);
            EXPECT_LE(max_diff(g, want), c.slack * (2 * u + sums) * size) << name_of(t) << " " << what;
            EXPECT_TRUE(same_bits(g, twice)) << name_of(t) << " " << what << ": two runs differ";
        };
        check(got.y, truth.y, again.y, "output");
        for (std::size_t i = 0; i < got.grads.size(); ++i)
            check(got.grads[i], truth.grads[i], again.grads[i], "gradient " + std::to_string(i));
    }
    EXPECT_EQ(device.in_use(), 0u) << "something on the device was not released";
}

// One input at a time: what nobody wants is skipped, and what is wanted has the same bits as when everything is.
TEST_P(Parity, SkipsWhatNobodyWants) {
    const Case& c = GetParam();
    if (!c.gradient || c.inputs.size() < 2) return;
    const auto x = inputs(DType::f32);
    const Tensor w = cotangent(x, DType::f32);
    const Result all = run_there(x, w);
    for (std::size_t wanted = 0; wanted < x.size(); ++wanted) {
        Tape tape;
        Recording recording(&tape);
        std::vector<Tensor> there;
        for (const Tensor& t : x) there.push_back(on(device, t));
        there[wanted] = tape.leaf(there[wanted]);
        tape.backward(c.f(device, there), on(device, to(w, all.y.dtype())));
        EXPECT_TRUE(same_bits(on(host, tape.take(there[wanted])), all.grads[wanted])) << "input " << wanted;
    }
}

// Parameters: gradients are added to what is there, in f32 also beside bf16 activations.
TEST_P(Parity, AddsToParameterGradients) {
    const Case& c = GetParam();
    if (!c.gradient) return;
    for (const DType t : {DType::f32, DType::bf16}) {
        const bool takes_params = c.name.starts_with("linear") || c.name.starts_with("layer_norm") || c.name.starts_with("embed") || c.name.starts_with("add_class") ||
                                  c.name.starts_with("add_mean") || c.name.starts_with("conv2d") || c.name.starts_with("batch_norm");
        if (t == DType::bf16 && !takes_params) continue;  // the gradient of an activation has its dtype
        const auto x = inputs(t);
        std::vector<Tensor> wide, there;
        for (const Tensor& v : x) wide.push_back(to(v, DType::f64));
        const Tensor w = cotangent(x, t);
        const Result truth = run(c, host, wide, w);
        std::deque<Param> params;
        for (const Tensor& v : x) {
            Param& p = params.emplace_back();
            p.shape = v.shape();
            p.compute = on(device, v);
            p.grad = upload(device, v.shape(), std::vector<float>(std::size_t(v.numel()), 0.5f));
            there.push_back(p.use());
        }
        Tape tape;
        Recording recording(&tape);
        const Tensor y = c.f(device, there);
        tape.backward(y, on(device, to(w, y.dtype())));
        // Beside bf16, what is left is the rounding of values on the way (pre-activations, normalised rows).
        const double u = t == DType::bf16 ? 1.0 / 256 : 1.0 / (1 << 24), sums = 8 * std::sqrt(c.depth) / (1 << 24);
        for (std::size_t i = 0; i < params.size(); ++i) {
            const std::vector<double> got = download_wide(params[i].grad), want = download_wide(truth.grads[i]);
            const double size = std::fmax(max_abs(truth.grads[i]), 0.5);
            for (std::size_t k = 0; k < got.size(); ++k)
                ASSERT_LE(std::fabs(got[k] - 0.5 - want[k]), c.slack * (2 * u + sums) * size) << name_of(t) << " input " << i << " element " << k;
        }
    }
}

// No forward pass lets such an index through on the CPU, so this is no case: its gradient goes nowhere, and no memory outside is touched.
TEST(Scatter, AnIndexOutsideOfTheTableTakesNoGradient) {
    Arena device(std::size_t(1) << 30, Device::cuda);
    const Tensor idx = indices(device, {2, -1, 0, 3, 2147483647, 0, -2147483647 - 1, 3});
    const Tensor dy = upload(device, {8, 1}, std::vector<float>{1, 2, 4, 8, 16, 32, 64, 128});
    for (const Mode mode : {Mode::write, Mode::accumulate}) {
        const Tensor dx = upload(device, {3, 1}, std::vector<float>{0.5f, 0.5f, 0.5f});
        run_scatter_add_rows(Device::cuda, {in(dy), in(idx), out(Grad{dx, mode})});
        const float old = mode == Mode::write ? 0 : 0.5f;
        EXPECT_EQ(download<float>(dx), (std::vector<float>{36 + old, old, 1 + old}));
    }
}

// The optimizer has no op: three steps on both devices, segments that end anywhere, f32 and bf16 copies.
void check_steps(bool l2) {
    for (const DType t : {DType::f32, DType::bf16}) {
        std::vector<double> result[2];
        for (const Device d : {Device::cpu, Device::cuda}) {
            Arena arena(std::size_t(1) << 30, d);
            ParamStore params(arena, t);
            params.add("a", {31}, Init::normal(1), ParamGroup::clip, true);
            params.add("b", {7, 100}, Init::normal(1), ParamGroup::head, true);
            params.add("c", {3}, Init::zeros(), ParamGroup::clip, false);
            params.finalize(5);
            AdamWOptions options;
            options.ema = 0.9f, options.l2 = l2, options.clip_norm = l2 ? 3 : 0, options.weight_decay = 0.3f;
            eng::AdamW optimizer(params, arena, options);
            for (int step = 0; step < 3; ++step) {
                std::vector<double> g;
                for (std::int64_t i = 0; i < params.grad.numel(); ++i) g.push_back(normal(9, std::uint64_t(step), std::uint64_t(i)));
                copy(params.grad, upload_as(arena, params.grad.shape(), g, DType::f32));
                for (Param& p : params.all()) p.spent = false;
                optimizer.step(1e-2f, 3e-2f, 0.5f);
            }
            for (const Tensor& x : {params.master, params.compute, params.grad, optimizer.m, optimizer.v, optimizer.ema})
                for (const double v : download_wide(x)) result[int(d)].push_back(v);
        }
        // A few f32 roundings of values near 1; where a weight lies between two bf16 values, the copies may part by one.
        const double tolerance = t == DType::bf16 ? 1.0 / 128 : 2e-6;
        for (std::size_t i = 0; i < result[0].size(); ++i) ASSERT_NEAR(result[1][i], result[0][i], tolerance * (1 + std::fabs(result[0][i]))) << i;
    }
}
TEST(AdamW, TakesTheSameStepsOnBothDevices) { check_steps(false); }
TEST(Adam, TakesTheSameStepsOnBothDevices) { check_steps(true); }

// Index tensors are the same to the last number: groups of scores with ties and NaN, what rows meet, picked sequences.
TEST(Indices, AreTheSameOnBothDevices) {
    for (const auto& [n, size] : {std::pair{1, 1}, {13, 4}, {64, 8}, {131, 8}, {300, 7}, {5, 5}}) {
        std::vector<std::int32_t> result[2];
        for (const Device d : {Device::cpu, Device::cuda}) {
            Arena arena(std::size_t(1) << 30, d);
            std::vector<double> scores;
            for (int i = 0; i < n * n; ++i) scores.push_back(i % 97 == 5 ? NAN : std::round(4 * normal(3, 1, std::uint64_t(i))) / 4);
            std::vector<std::int32_t> who, lens;
            for (int i = 0; i < n; ++i) who.push_back(i * 5 % (n / 3 + 1)), lens.push_back(1 + i % 5);
            const Tensor labels = indices(arena, who), order = labels.like();
            group_alike(upload_as(arena, {n, n}, scores, DType::f32), labels, size, order);
            const int first = n / 4;
            const PairUp p = pair_up(order, labels, first, n - first, size, DType::f32);
            const Seqs s = pick(packed_seqs(arena, lens), p.text, 0);
            const Tensor match = match_labels(labels, order), counted = count_up(arena, n, -3, 7, 2, 5);
            for (const Tensor& t : {order, p.text, p.by_text, p.match, p.own, s.begin, s.len, s.out, match, counted})
                for (const auto v : download<std::int32_t>(t)) result[int(d)].push_back(v);
            for (const float v : download<float>(p.negative)) result[int(d)].push_back(std::int32_t(v));
        }
        EXPECT_EQ(result[0], result[1]) << n << " pairs in groups of " << size;
    }
}

// The fused kernel against the CPU's steps, both in bf16: distances from f64 over all results, which see what a bound on the largest
// cannot. It rounds less often, so it should be no further away.
TEST(VsrPool, OneKernelIsAsExactAsItsSteps) {
    for (const Case& c : all_cases()) {
        if (!c.name.starts_with("vsr_pool of ViT")) continue;
        Arena host(std::size_t(1) << 30), device(std::size_t(1) << 30, Device::cuda);
        std::vector<Tensor> x, wide, there;
        for (std::size_t i = 0; i < c.inputs.size(); ++i) {
            x.push_back(random_normal(host, c.inputs[i], DType::bf16, unsigned(i + 1)));
            wide.push_back(to(x.back(), DType::f64)), there.push_back(on(device, x.back()));
        }
        const auto truth = download_wide(c.f(host, wide)), steps = download_wide(c.f(host, x)), kernel = download_wide(c.f(device, there));
        double by_steps = 0, by_kernel = 0;
        for (std::size_t i = 0; i < truth.size(); ++i) by_steps += std::pow(steps[i] - truth[i], 2), by_kernel += std::pow(kernel[i] - truth[i], 2);
        EXPECT_GT(by_steps, 0);
        EXPECT_LE(std::sqrt(by_kernel), 1.05 * std::sqrt(by_steps)) << c.name;
    }
}

// A maximum over numbers and one NaN is NaN wherever it stands, and the columns beside it keep theirs: nothing that went wrong is pooled away.
TEST(Maximum, HidesNoNaN) {
    Arena host(std::size_t(1) << 30), device(std::size_t(1) << 30, Device::cuda);
    const auto nans = [](const Tensor& t) {
        int n = 0;
        for (const double v : download_wide(t)) n += std::isnan(v);
        return n;
    };
    const auto spoiled = [&](const Shape& s, std::int64_t at, DType t) {
        auto v = download_wide(random_normal(host, s, t, 1));
        v[std::size_t(at)] = NAN;
        return upload_as(host, s, v, t);
    };
    for (Arena* arena : {&host, &device})
        for (const std::int64_t C : {31, 128})
            for (const int r : {0, 4, 8}) {
                const Tensor x = on(*arena, spoiled({18, C}, r * C + 3, DType::f32)), ones = upload(*arena, {C}, std::vector<float>(std::size_t(C), 1.f));
                EXPECT_EQ(nans(segment_max(x, uniform_seqs(*arena, 2, 9))), 1) << C << " columns, row " << r;
                EXPECT_EQ(nans(layer_norm_max(x, 9, ones, ones)), C) << C << " columns, row " << r;
                EXPECT_EQ(nans(focus(ones.view({1, C}), x.slice(0, 9), uniform_seqs(*arena, 1, 9), Similarity::dot, WeightNorm::sigmoid)), C) << C << " columns, row " << r;
            }
    for (const Case& c : all_cases()) {
        if (!c.name.starts_with("vsr_pool of ViT")) continue;
        std::vector<Tensor> x, there;
        for (std::size_t i = 0; i < c.inputs.size(); ++i) x.push_back(random_normal(host, c.inputs[i], DType::bf16, unsigned(i + 1)));
        x[0] = spoiled(c.inputs[0], 5, DType::bf16);  // q, in the first image's first region
        for (const Tensor& t : x) there.push_back(on(device, t));
        EXPECT_GT(nans(c.f(host, x)), 0) << c.name;
        EXPECT_EQ(nans(c.f(device, there)), nans(c.f(host, x))) << c.name;
    }
}

// Batch norm in training has a second result: the running statistics that it moves.
TEST(BatchNorm, MovesTheRunningStatisticsAlikeOnBothDevices) {
    std::vector<double> moved[2];
    for (const Device d : {Device::cpu, Device::cuda}) {
        Arena host(std::size_t(1) << 30), arena(std::size_t(1) << 30, d);
        const Tensor x = on(arena, random_normal(host, {13, 7}, DType::f32, 1)), gamma = on(arena, random_normal(host, {7}, DType::f32, 2));
        const Tensor mean = on(arena, random_normal(host, {7}, DType::f32, 3)), var = upload(arena, {7}, std::vector<float>(7, 2.f));
        for (const bool train : {true, true, false}) batch_norm(x, gamma, gamma, mean, var, train);
        for (const Tensor& t : {mean, var})
            for (const double v : download_wide(t)) moved[int(d)].push_back(v);
    }
    for (std::size_t i = 0; i < moved[0].size(); ++i) EXPECT_NEAR(moved[1][i], moved[0][i], 1e-6 * (1 + std::fabs(moved[0][i]))) << i;
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
    std::string s;
    for (char ch : info.param.name) s += std::isalnum(static_cast<unsigned char>(ch)) ? ch : '_';
    return s;
}
INSTANTIATE_TEST_SUITE_P(Catalogue, Parity, testing::ValuesIn(all_cases()), case_name);

}  // namespace
