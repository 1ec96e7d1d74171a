// VSR folded into the texts (ops/vsr.cpp) is the same function as its layers one by one, and has the same gradients.
#include <gtest/gtest.h>

#include "tests/check.h"

using namespace eng;
using namespace eng::test;

namespace {

constexpr int kHeads = 2, kPatches = 7, kDim = 24, kHidden = 31;
const std::vector<std::int32_t> images = {0, 2, 1, 0, 2}, texts = {1, 1, 0, 3, 1};  // text 2 is met by nobody

VsrWeights weights(const std::vector<Tensor>& x, bool residual) { return {x[2], x[3], x[4], x[5], x[6], x[7], x[8], x[9], x[10], x[11], kHeads, residual}; }

Tensor layers(Arena& a, const std::vector<Tensor>& x, bool residual) {
    const VsrWeights w = weights(x, residual);
    const Seqs regions = pick(a, uniform_seqs(a, 3, kPatches), images), prompts = pick(a, packed_seqs(a, {3, 2, 5, 9}), texts);
    const Tensor g = layer_norm(linear(cross_attention(x[0], x[1], regions, prompts, kHeads), w.out_weight, w.out_bias), w.ln5_weight, w.ln5_bias);
    const Tensor f = mlp(g, w.up_weight, w.up_bias, w.down_weight, w.down_bias, residual ? g : Tensor{});
    return segment_max(layer_norm(f, w.ln6_weight, w.ln6_bias), results_of(regions));
}

TEST(Vsr, FoldedIsWhatTheLayersAreAndSoAreItsGradients) {
    for (const bool residual : {false, true}) {
        Arena arena{std::size_t(1) << 30, Device::cpu, true};
        const std::vector<Shape> shapes = {{3 * kPatches, kDim}, {19, 2 * kDim}, {kDim, kDim}, {kDim}, {kDim}, {kDim}, {kHidden, kDim}, {kHidden}, {kDim, kHidden}, {kDim}, {kDim}, {kDim}};
        std::vector<Tensor> x;
        for (std::size_t i = 0; i < shapes.size(); ++i) x.push_back(random_normal(arena, shapes[i], DType::f64, unsigned(i + 1)));
        const Tensor w = random_normal(arena, {5, kDim}, DType::f64, 99);
        const Case by_layers{"layers", {}, [=](Arena& a, const std::vector<Tensor>& in) { return layers(a, in, residual); }};
        const Case folded{"folded", {}, [=](Arena& a, const std::vector<Tensor>& in) {
            return vsr(in[0], in[1], kPatches, packed_seqs(a, {3, 2, 5, 9}), indices(a, images), indices(a, texts), weights(in, residual));
        }};
        const Result want = run(by_layers, arena, x, w), got = run(folded, arena, x, w);
        EXPECT_LT(max_diff(got.y, want.y), 1e-11 * max_abs(want.y));
        for (std::size_t i = 0; i < x.size(); ++i) EXPECT_LT(max_diff(got.grads[i], want.grads[i]), 1e-11 * (1 + max_abs(want.grads[i]))) << (residual ? "with" : "without") << " residual, input " << i;
        const Tensor scored = vsr_pool(x[0], x[1], kPatches, packed_seqs(arena, {3, 2, 5, 9}), images, texts, weights(x, residual));
        EXPECT_LT(max_diff(scored, want.y), 1e-11 * max_abs(want.y));
    }
}

}  // namespace
