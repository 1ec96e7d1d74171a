// Every case of the catalogue: gradients against finite differences in f64, a mutant gradient that must be rejected,
// f32 and bf16 against f64, the same bits for any number of threads; and every kernel reached.
#include <gtest/gtest.h>

#include "engine/transfer.h"
#include "ops/optimizer.h"
#include "tests/check.h"

using namespace eng;
using namespace eng::test;

namespace {

class Ops : public testing::TestWithParam<Case> {
protected:
    Arena arena{std::size_t(1) << 32, Device::cpu, true};  // red zones and NaN-filled fresh memory
    std::vector<Tensor> inputs(DType t) {
        std::vector<Tensor> x;
        for (std::size_t i = 0; i < GetParam().inputs.size(); ++i)
            x.push_back(random_normal(arena, GetParam().inputs[i], t, unsigned(i + 1)));
        return x;
    }
    Tensor cotangent(const std::vector<Tensor>& x, DType t) {
        Recording off(nullptr);
        return random_normal(arena, GetParam().f(arena, x).shape(), t, 99);
    }
};

TEST_P(Ops, GradientsAgreeWithFiniteDifferencesAndMutantsDoNot) {
    const Case& c = GetParam();
    if (!c.gradient) return;
    const auto x = inputs(DType::f64);
    const Tensor w = cotangent(x, DType::f64);
    const Result r = run(c, arena, x, w);
    const auto f = [&](const std::vector<Tensor>& xs) {
        Recording off(nullptr);
        return inner(w, c.f(arena, xs));
    };
    for (std::size_t i = 0; i < x.size(); ++i) {
        ASSERT_TRUE(r.grads[i].defined()) << "input " << i;
        EXPECT_LT(directional_gap(f, x, i, r.grads[i]), 1e-6) << "input " << i;
        Tensor mutant = r.grads[i].like();
        for (std::int64_t k = 0; k < mutant.numel(); ++k) mutant.as<double>()[k] = 1.001 * get(r.grads[i], k);
        EXPECT_GT(directional_gap(f, x, i, mutant), 1e-4) << "a gradient 0.1 % off must be seen, input " << i;
    }
}

// Truth is the f64 kernel on the same (rounded) inputs. Inputs carry no error of their own, so what is left is one
// rounding of the output (u times the largest value) and the f32 sums behind it (u32 times the root of their length,
// with a factor 8 for the size of the terms against their sum).
TEST_P(Ops, LowPrecisionStaysWithinItsRounding) {
    const Case& c = GetParam();
    for (const DType t : {DType::f32, DType::bf16}) {
        const auto lo = inputs(t);
        std::vector<Tensor> hi;
        for (const Tensor& x : lo) hi.push_back(to(x, DType::f64));
        const Tensor w = cotangent(lo, t);
        const Result truth = run(c, arena, hi, w), got = run(c, arena, lo, w);
        const double u = t == DType::bf16 ? 1.0 / 256 : 1.0 / (1 << 24), sums = 8 * std::sqrt(c.depth) / (1 << 24);
        const auto check = [&](const Tensor& g, const Tensor& want, const std::string& what) {
            const double size = std::fmax(max_abs(want), 1e-3);
            EXPECT_LE(max_diff(g, want), c.slack * (2 * u + sums) * size) << name_of(t) << " " << what;
        };
        check(got.y, truth.y, "output");
        for (std::size_t i = 0; i < got.grads.size(); ++i) check(got.grads[i], truth.grads[i], "gradient " + std::to_string(i));
    }
}

TEST_P(Ops, SameBitsTwiceAndNothingLeaks) {
    const Case& c = GetParam();
    const std::size_t before = arena.in_use();
    {
        const auto x = inputs(DType::f32);
        const Tensor w = cotangent(x, DType::f32);
        const Result a = run(c, arena, x, w), b = run(c, arena, x, w);
        EXPECT_TRUE(same_bits(a.y, b.y));
        for (std::size_t i = 0; i < a.grads.size(); ++i) EXPECT_TRUE(same_bits(a.grads[i], b.grads[i])) << i;
    }
    EXPECT_EQ(arena.in_use(), before);
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
    std::string s;
    for (char ch : info.param.name) s += std::isalnum(static_cast<unsigned char>(ch)) ? ch : '_';
    return s;
}
INSTANTIATE_TEST_SUITE_P(Catalogue, Ops, testing::ValuesIn(all_cases()), case_name);

TEST(Coverage, EveryKernelIsReachedByACase) {
    Arena arena;
    std::fill_n(kernel_calls, kernel_count, 0);
    for (const Case& c : all_cases()) {
        std::vector<Tensor> x;
        for (const Shape& s : c.inputs) x.push_back(random_normal(arena, s, DType::f64, 3));
        Recording off(nullptr);
        const Tensor w = random_normal(arena, c.f(arena, x).shape(), DType::f64, 4);
        run(c, arena, x, w);
    }
    const char* names[] = {
#define KERNEL(name, Args) #name,
#include "ops/kernels.def"
#undef KERNEL
    };
    for (int i = 0; i < kernel_count; ++i) {
        if (std::string(names[i]) == "adamw" || std::string(names[i]) == "clip_scale") continue;  // have no op; their own tests are below
        EXPECT_GT(kernel_calls[i], 0) << names[i] << " is in kernels.def but no case reaches it";
    }
}

// Against the update written out in f64, two segments with their own rate and decay, three steps. l2: decay in the gradient.
void check_adam(bool l2) {
    Arena arena;
    const std::int64_t n = 193, split = 31;
    Tensor w = random_normal(arena, {n}, DType::f32, 1), c = w.like(w.shape(), DType::bf16);
    Tensor m = w.like(), v = w.like(), g = w.like();
    std::memset(m.raw(), 0, m.bytes()), std::memset(v.raw(), 0, v.bytes());
    std::vector<double> W, M(n), V(n);
    for (int i = 0; i < n; ++i) W.push_back(get(w, i));
    const float lr[2] = {0.1f, 0.02f}, decay[2] = {0.f, 0.5f};
    Tensor lrs(arena, {2}, DType::f32), decays(arena, {2}, DType::f32);
    std::memcpy(lrs.raw(), lr, 8), std::memcpy(decays.raw(), decay, 8);
    const Tensor ends = indices(arena, {std::int32_t(split), std::int32_t(n)});
    for (int step = 1; step <= 3; ++step) {
        const Tensor fresh = random_normal(arena, {n}, DType::f32, unsigned(10 + step));
        std::memcpy(g.raw(), fresh.raw(), g.bytes());
        const Tensor scalars = upload<float>(arena, {3}, {0.5f, float(1 / (1 - std::pow(0.9, step))), float(1 / (1 - std::pow(0.99, step)))});
        run_adamw(Device::cpu, {out(w), out(c), out(m), out(v), in(g), in(lrs), in(decays), in(ends), in(scalars), 0.9f, 0.99f, 1e-8f, l2});
        for (int i = 0; i < n; ++i) {
            const double rate = lr[i >= split], lambda = decay[i >= split], d = 0.5 * get(fresh, i) + (l2 ? lambda * W[i] : 0);
            M[i] = 0.9f * M[i] + (1 - double(0.9f)) * d, V[i] = double(0.99f) * V[i] + (1 - double(0.99f)) * d * d;
            const double mh = M[i] / (1 - std::pow(double(0.9f), step)), vh = V[i] / (1 - std::pow(double(0.99f), step));
            W[i] = W[i] * (l2 ? 1 : 1 - rate * lambda) - rate * mh / (std::sqrt(vh) + double(1e-8f));
            EXPECT_NEAR(get(w, i), W[i], 2e-6 * (1 + std::fabs(W[i])));  // a handful of f32 roundings of values near 1
            EXPECT_EQ(get(c, i), double(float(bf16(w.as<float>()[i]))));
        }
    }
}
TEST(AdamW, EqualsTheFormula) { check_adam(false); }
TEST(Adam, EqualsTheFormula) { check_adam(true); }

// beta1 = 0: the first moment is the gradient as the optimizer took it.
TEST(AdamW, LimitsTheNormOfAllGradientsTogether) {
    const auto taken = [](double limit, double scale, std::vector<double> g) {
        Arena arena;
        ParamStore params(arena, DType::f32);
        for (const char* name : {"a", "b"}) params.add(name, {1}, Init::ones(), ParamGroup::clip, true);
        params.finalize(1);
        eng::AdamW optimizer(params, arena, {.beta1 = 0, .clip_norm = float(limit)});
        std::vector<double> all(std::size_t(params.grad.numel()));
        for (int i = 0; i < 2; ++i) all[std::size_t(params.all()[i].offset)] = g[i];
        copy(params.grad, upload_as(arena, params.grad.shape(), all, DType::f32));
        optimizer.step(0, 0, float(scale));
        return std::vector<double>{get(optimizer.m, params.all()[0].offset), get(optimizer.m, params.all()[1].offset)};
    };
    EXPECT_EQ(taken(0, 1, {3, 4}), (std::vector<double>{3, 4})) << "no limit";
    EXPECT_EQ(taken(6, 1, {3, 4}), (std::vector<double>{3, 4})) << "below it";
    EXPECT_EQ(taken(2.5, 1, {3, 4}), (std::vector<double>{1.5, 2}));
    EXPECT_EQ(taken(2.5, 0.5, {3, 4}), (std::vector<double>{1.5, 2})) << "of what is left after scaling";
    EXPECT_TRUE(std::isnan(taken(1, 1, {NAN, 4})[0])) << "a limit hides nothing";
    EXPECT_EQ(taken(1, 1, {NAN, 4})[1], 4);
}

// What an update has taken is overwritten, and a parameter that got nothing since then stands still.
TEST(AdamW, SpendsGradientsWithoutClearingThem) {
    Arena arena;
    ParamStore params(arena, DType::f32);
    Param* used = params.add("used", {1, 2}, Init::ones(), ParamGroup::clip, false);
    Param* once = params.add("once", {1, 2}, Init::ones(), ParamGroup::clip, false);
    params.finalize(1);
    eng::AdamW optimizer(params, arena, {.beta1 = 0, .beta2 = 0, .eps = 1});
    const Tensor x = upload<float>(arena, {1, 2}, {2.f, 3.f}), one = upload<float>(arena, {1}, {1.f});
    const auto step = [&](bool both) {
        Tape tape;
        Recording on(&tape);
        const Tensor y = row_dot(x, used->use());
        tape.backward(sum(both ? add(y, row_dot(x, once->use())) : y), one);
        std::vector<float> g = download<float>(used->grad);
        optimizer.step(0.25f, 0.25f, 1);
        return g;
    };
    EXPECT_EQ(step(true), (std::vector<float>{2, 3}));
    const double after = get(once->master, 0);
    EXPECT_NE(after, 1);
    EXPECT_EQ(step(false), (std::vector<float>{2, 3})) << "not the sum of two steps";
    EXPECT_EQ(get(once->master, 0), after);
    EXPECT_EQ(get(once->grad, 0), 0);
}

// Weights' gradients wait for each other (linear.cpp). Whoever is told that one is final finds it there, once; of a weight that is used
// twice only when both uses are in it.
TEST(Linear, AGradientThatWaitedIsThereWhenItIsFinal) {
    Arena arena;
    ParamStore params(arena, DType::f32);
    Param* twice = params.add("twice", {6, 6}, Init::normal(1), ParamGroup::clip, true);
    Param* bias = params.add("bias", {6}, Init::normal(1), ParamGroup::clip, false);
    Param* last = params.add("last", {3, 6}, Init::normal(1), ParamGroup::clip, true);
    params.finalize(1);
    const Tensor x = upload_as(arena, {5, 6}, std::vector<double>(30, 0.5), DType::f32), one = upload<float>(arena, {1}, {1.f});
    const auto gradients = [&](bool tell) {
        params.zero_grad();
        std::map<Param*, std::vector<float>> told;
        Tape tape;
        Recording on(&tape);
        const Tensor y = linear(linear(linear(x, twice->use(), bias->use()), twice->use()), last->use());
        const auto final = [&](Param& p) { EXPECT_TRUE(told.emplace(&p, download<float>(p.grad)).second) << p.name << " twice"; };
        tape.backward(sum(y), one, tell ? std::function<void(Param&)>(final) : nullptr);
        for (Param* p : {twice, bias, last}) {
            if (!tell) told[p] = download<float>(p->grad);
            EXPECT_EQ(told[p], download<float>(p->grad)) << p->name;
        }
        return told;
    };
    const auto heard = gradients(true);
    EXPECT_EQ(gradients(false), heard);
    Tape::check_numerics = true;  // nothing waits
    EXPECT_EQ(gradients(false), heard);
    Tape::check_numerics = false;
}

// A bias that an op has made: that op's rule reads its gradient, which cannot wait.
TEST(Linear, TheGradientOfAComputedBiasDoesNotWait) {
    Arena arena;
    ParamStore params(arena, DType::f32);
    Param* w = params.add("w", {3, 6}, Init::normal(1), ParamGroup::clip, true);
    Param* bias = params.add("bias", {3}, Init::normal(1), ParamGroup::clip, false);
    params.finalize(1);
    Tape tape;
    Recording on(&tape);
    const Tensor x = upload_as(arena, {5, 6}, std::vector<double>(30, 0.5), DType::f32);
    tape.backward(sum(linear(x, w->use(), scale(bias->use(), 3))), upload<float>(arena, {1}, {1.f}));
    EXPECT_EQ(download<float>(bias->grad), std::vector<float>(3, 15.f));
    EXPECT_EQ(download<float>(w->grad), std::vector<float>(18, 2.5f));
}

// Which parameters decay, and at which rate: a unit gradient, b1 = b2 = 0 and no decay move a weight by its rate.
TEST(AdamW, BiasesAloneMayBeExempt) {
    for (const bool biases_only : {false, true}) {
        Arena arena;
        ParamStore params(arena, DType::f32);
        const char* names[] = {"ln.weight", "ln.bias", "attn.in_proj_bias", "fc.weight"};
        for (const char* name : names) params.add(name, {2}, Init::ones(), ParamGroup::clip, std::string(name) == "fc.weight");
        params.finalize(1);
        AdamWOptions o{0, 0, 0, 0, 2};
        o.biases_only = biases_only;
        eng::AdamW optimizer(params, arena, o);
        copy(params.grad, upload_as(arena, params.grad.shape(), std::vector<double>(std::size_t(params.grad.numel()), 1.0), DType::f32));
        optimizer.step(0.125f, 0, 1);
        const double slow = 0.875, fast = 0.75, want[] = {biases_only ? slow : fast, fast, fast, slow};
        for (int i = 0; i < 4; ++i) EXPECT_EQ(get(params.find(names[i])->master, 1), want[i]) << names[i];
    }
}

}  // namespace
