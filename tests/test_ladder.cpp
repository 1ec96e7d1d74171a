// All rungs of bench/ladder: the same arguments, the same check.
#include <gtest/gtest.h>

#include "bench/ladder/ladder.h"
#include "engine/transfer.h"
#include "tests/check.h"

using namespace eng;
using namespace eng::test;

namespace {

class Ladder : public testing::Test {
protected:
    Arena host{std::size_t(1) << 32}, device{std::size_t(1) << 32, Device::cuda};

    // The same numbers on the device in bf16 and on the host in f64.
    std::pair<Tensor, Tensor> both(Shape s, unsigned seed) {
        const Tensor x = random_normal(host, s, DType::bf16, seed);
        std::vector<double> wide;
        for (std::int64_t i = 0; i < x.numel(); ++i) wide.push_back(get(x, i));
        const Tensor there(device, s, DType::bf16);
        write_host(there, x.raw());
        return {there, upload<double>(host, s, wide)};
    }
    static double gap(const Tensor& got, const Tensor& want) {
        const auto g = download_wide(got), w = download_wide(want);
        double worst = 0, size = 0;
        for (std::size_t i = 0; i < w.size(); ++i) {
            worst = std::isnan(g[i]) ? INFINITY : std::fmax(worst, std::fabs(g[i] - w[i]));
            size = std::fmax(size, std::fabs(w[i]));
        }
        return worst / size;
    }
};

TEST_F(Ladder, EveryGemmRungMakesTheSameProduct) {
    for (int layout = 0; layout < 4; ++layout) {
        const int m = 136, n = 72, k = 104;
        const bool ta = layout & 1, tb = layout & 2;
        const auto [a, a64] = both(ta ? Shape{k, m} : Shape{m, k}, 1);
        const auto [b, b64] = both(tb ? Shape{n, k} : Shape{k, n}, 2);
        const auto [bias, bias64] = both({n}, 3);
        const Tensor want(host, {m, n}, DType::f64);
        GemmArgs truth{in(a64), in(b64), in(bias64), {}, out(want)};
        truth.ta = ta, truth.tb = tb;
        cpu::gemm(truth);
        for (const auto& rung : ladder::gemm_rungs()) {
            const Tensor c(device, {m, n}, DType::bf16);
            GemmArgs g{in(a), in(b), in(bias), {}, out(c)};
            g.ta = ta, g.tb = tb;
            rung.run(g);
            EXPECT_LE(gap(c, want), 1.0 / 256) << rung.name << " layout " << layout;
        }
    }
    EXPECT_EQ(ladder::gemm_rungs().size(), 5u);
}

TEST_F(Ladder, EveryAttentionRungLooksAtTheSameValues) {
    for (const bool causal : {false, true}) {
        const std::vector<std::int32_t> begin{0, 90}, len{90, 17};
        const int heads = 2, C = 64 * heads, T = 107;
        const auto [qkv, qkv64] = both({T, 3 * C}, 4);
        const auto args = [&](Arena& arena, const Tensor& x, const Tensor& y, const Tensor& lse, std::vector<Tensor>& keep) {
            for (const auto& list : {begin, len}) keep.push_back(upload<std::int32_t>(arena, {2}, list));
            const View v = in(x), first = in(keep[keep.size() - 2]), n = in(keep.back());
            return AttentionFwd{columns(v, 0, C), columns(v, C, C), columns(v, 2 * C, C), {first, n, first, first, n, false, 90, 90, T}, out(y), out(lse), heads, 0.125, causal};
        };
        std::vector<Tensor> keep;
        const Tensor want(host, {T, C}, DType::f64), want_lse(host, {T, heads}, DType::f64);
        cpu::attention_forward(args(host, qkv64, want, want_lse, keep));
        for (const auto& rung : ladder::attention_rungs()) {
            const Tensor y(device, {T, C}, DType::bf16), lse(device, {T, heads}, DType::f32);
            rung.run(args(device, qkv, y, lse, keep));
            EXPECT_LE(gap(y, want), 8.0 / 256) << rung.name << " causal " << causal;
            EXPECT_LE(gap(lse, want_lse), 1e-5) << rung.name << " causal " << causal;
        }
    }
    EXPECT_EQ(ladder::attention_rungs().size(), 5u);
}

}  // namespace
