// cpu against cuda over the whole catalogue: the f64 result of the CPU is the truth for f32 and bf16 on the device,
// forward and gradients, within the rounding that test_ops derives. Linked once per build of the CUDA kernels: with the
// emulator (plain, AddressSanitizer, access checker) here, with nvcc's objects where a GPU is.
#include <gtest/gtest.h>

#include "engine/transfer.h"
#include "tests/check.h"

using namespace eng;
using namespace eng::test;

namespace eng {
void PrintTo(const Case& c, std::ostream* os) { *os << c.name; }
}  // namespace eng

namespace {

Tensor on(Arena& arena, const Tensor& t) {
    Tensor there(arena, t.shape(), t.dtype());
    std::vector<char> bytes(t.bytes());
    read_host(t, bytes.data());
    write_host(there, bytes.data());
    return there;
}

class Parity : public testing::TestWithParam<Case> {
protected:
    Arena host{std::size_t(1) << 32}, device{std::size_t(1) << 32, Device::cuda};

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

TEST_P(Parity, AgreesWithinItsRoundingAndRepeatsItsBits) try {
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
} catch (const Error& e) {
    if (!std::strstr(e.what(), "has no CUDA kernel yet")) throw;
    GTEST_SKIP() << e.what();
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
    std::string s;
    for (char ch : info.param.name) s += std::isalnum(static_cast<unsigned char>(ch)) ? ch : '_';
    return s;
}
INSTANTIATE_TEST_SUITE_P(Catalogue, Parity, testing::ValuesIn(all_cases()), case_name);

}  // namespace
