// The GEMM kernels one by one, whichever of them cuda::gemm would choose: every layout, odd shapes, rows that start at
// any byte, every epilogue, k cut into parts. Small integers must come out exactly, so that a misplaced element cannot
// hide in a tolerance; random values within the rounding of the sum and of the store. Linked once per build of the CUDA
// kernels, like test_parity.
#include <gtest/gtest.h>

#include "ops/cuda/gemm_kernels.h"
#include "ops/cuda/tile_order.h"
#include "tests/check.h"
#include "engine/transfer.h"

using namespace eng;
using namespace eng::test;
using cuda::GemmKernel;

namespace {

struct Trial {
    GemmKernel kernel;
    int m, n, k;
    bool ta = false, tb = false;
    DType out = DType::f32;
    bool bias = false, residual = false, gelu = false, accumulate = false, gate = false, act = false;
    int splits = 0, shift = 0;  // shift: elements by which the operands miss the alignment of an allocation
    int width = 0, peers = 0;   // of hopper's tiles, 0: as the kernel chooses
    DType in() const { return kernel == GemmKernel::simt ? DType::f32 : DType::bf16; }
};
std::ostream& operator<<(std::ostream& os, const Trial& t) {
    const char* names[] = {"simt", "mma", "hopper"};
    return os << names[int(t.kernel)] << " " << t.m << "x" << t.n << "x" << t.k << (t.ta ? " T" : " N") << (t.tb ? "T" : "N") << " to "
              << name_of(t.out) << (t.bias ? " bias" : "") << (t.residual ? " residual" : "") << (t.gelu ? " gelu" : "")
              << (t.accumulate ? " accumulate" : "") << (t.gate ? " gate" : "") << (t.act ? " and activation" : "") << ", splits " << t.splits << ", shift " << t.shift
              << ", width " << t.width << ", peers " << t.peers;
}

using Numbers = std::vector<double>;

// The device side of one matrix, its values rounded to its type; `shift` elements precede it in its allocation.
struct Matrix {
    Tensor all;
    View view;
    Numbers values;
    Matrix(Arena& arena, int rows, int cols, DType t, Numbers v, int shift = 0) : all(arena, Shape{std::int64_t(rows) * cols + shift}, t), values(std::move(v)) {
        values.resize(std::size_t(rows) * cols, NAN);
        dispatch_float(t, "matrix", [&](auto tag) {
            using T = decltype(tag);
            std::vector<T> bytes(std::size_t(all.numel()), T(0.0f));
            for (std::size_t i = 0; i < values.size(); ++i) bytes[i + shift] = T(float(values[i])), values[i] = double(bytes[i + shift]);
            write_host(all, bytes.data());
        });
        view = {static_cast<char*>(all.raw()) + shift * size_of(t), t, rows, cols, cols};
    }
};

Numbers normal(std::size_t n, unsigned seed) {
    std::mt19937 g(seed);
    std::normal_distribution<double> d;
    Numbers v(n);
    for (double& x : v) x = d(g);
    return v;
}
Numbers integers(std::size_t n, unsigned seed) {
    std::mt19937 g(seed);
    Numbers v(n);
    for (double& x : v) x = int(g() % 17) - 8;
    return v;
}

class Gemm : public testing::Test {
protected:
    Arena device{std::size_t(1) << 32, Device::cuda, true};  // red zones and NaN-filled fresh memory
    int trials = 0;

    // The largest error of a trial in units of what rounding explains; 0 is exact.
    double worst(const Trial& t, Numbers (*make)(std::size_t, unsigned)) {
        const std::size_t mn = std::size_t(t.m) * t.n;
        const Matrix a(device, t.ta ? t.k : t.m, t.ta ? t.m : t.k, t.in(), make(std::size_t(t.m) * t.k, 1), t.shift);
        const Matrix b(device, t.tb ? t.n : t.k, t.tb ? t.k : t.n, t.in(), make(std::size_t(t.k) * t.n, 2), t.shift);
        const Matrix bias(device, 1, t.n, t.in(), make(t.n, 3)), residual(device, t.m, t.n, t.out, make(mn, 4)), gate(device, t.m, t.n, t.out, make(mn, 6));
        const Matrix c(device, t.m, t.n, t.out, t.accumulate ? make(mn, 5) : Numbers{}), pre(device, t.m, t.n, t.out, {});
        GemmArgs g{a.view, b.view};
        g.ta = t.ta, g.tb = t.tb, g.gelu = t.gelu;
        if (t.bias) g.bias = bias.view;
        if (t.residual) g.residual = residual.view;
        // The activated gate goes to a place of its own, or takes the gate's.
        const Matrix gate_or_act(device, t.m, t.n, t.out, make(mn, 6));
        if (t.gate) g.gate = t.act ? gate_or_act.view : gate.view;
        const bool in_place = t.splits == 0;
        if (t.act) g.act = {in_place ? gate_or_act.view : pre.view, Mode::write};
        g.c = {c.view, t.accumulate ? Mode::accumulate : Mode::write};
        g.pre = {pre.view, t.gelu ? Mode::write : Mode::skip};
        const Matrix sums(device, 1, t.m, DType::f32, t.accumulate ? make(t.m, 7) : Numbers{});
        if (t.ta) g.sums = {sums.view, g.c.mode};  // every gradient of a weight, with that of its bias
        if (!cuda::can_run(t.kernel, g)) return -1;
        cuda::run_gemm_kernel(t.kernel, g, {t.width, t.peers, t.splits});
        ++trials;

        const Numbers got = download_wide(c.all), kept = download_wide(pre.all), activated = in_place ? download_wide(gate_or_act.all) : kept;
        const double u = t.out == DType::bf16 ? 1.0 / 256 : 1.0 / (1 << 24), u32 = 1.0 / (1 << 24);
        double worst = 0;
        const auto compare = [&](double x, double want, double tolerance) {
            const double e = std::fabs(x - want) / tolerance;
            worst = std::isnan(e) ? INFINITY : std::fmax(worst, e);
        };
        const Numbers added = download_wide(sums.all);
        for (int i = 0; t.ta && i < t.m; ++i) {
            double sum = t.accumulate ? sums.values[i] : 0, size = 1 + std::fabs(sum);
            for (int q = 0; q < t.k; ++q) sum += a.values[q * t.m + i], size += std::fabs(a.values[q * t.m + i]);
            compare(added[i], sum, u32 * (t.k + 4) * size);
        }
        for (int i = 0; i < t.m; ++i)
            for (int j = 0; j < t.n; ++j) {
                double sum = 0, size = 1;  // size: of all terms together
                const auto add = [&](double x) { sum += x, size += std::fabs(x); };
                for (int q = 0; q < t.k; ++q) add(a.values[t.ta ? q * t.m + i : i * t.k + q] * b.values[t.tb ? j * t.k + q : q * t.n + j]);
                const std::size_t at = std::size_t(i) * t.n + j;
                if (t.bias) add(bias.values[j]);
                if (t.residual) add(residual.values[at]);
                if (t.accumulate) add(c.values[at]);
                if (t.gate) {
                    const double x = gate.values[at], s = 1 / (1 + std::exp(-1.702 * x)), slope = s + 1.702 * x * s * (1 - s);
                    sum *= slope, size = (size + std::fabs(sum)) * (1 + std::fabs(slope));
                }
                if (t.act) {
                    const double x = gate.values[at], want = x / (1 + std::exp(-1.702 * x));
                    compare(activated[at], want, u * std::fabs(want) + 16 * u32 * (1 + std::fabs(x)));
                }
                compare(t.gelu ? kept[at] : got[at], sum, u * std::fabs(sum) + u32 * (t.k + 4) * size);
                // the activation starts from the rounded value that was kept
                if (t.gelu) compare(got[at], kept[at] / (1 + std::exp(-1.702 * kept[at])), u * std::fabs(kept[at]) + 16 * u32 * (1 + std::fabs(kept[at])));
            }
        return worst;
    }
    void exact(const Trial& t) { EXPECT_LE(worst(t, integers), t.gelu || t.out == DType::bf16 ? 1 : 0) << t; }
    void expect(const Trial& t) {
        exact(t);
        EXPECT_LE(worst(t, normal), 1) << t;
    }
};

const GemmKernel kernels[] = {GemmKernel::simt, GemmKernel::mma, GemmKernel::hopper};
const int widths[] = {256, 192, 128};  // of hopper's tiles

TEST_F(Gemm, OddShapesInEveryLayout) {
    const int shapes[][3] = {{1, 1, 1}, {1, 193, 31}, {3, 31, 257}, {31, 3, 193}, {193, 1, 31}, {65, 257, 3}, {193, 193, 1}, {257, 65, 31}, {31, 65, 193}};
    for (const auto kernel : {GemmKernel::simt, GemmKernel::mma})
        for (int layout = 0; layout < 4; ++layout)
            for (const auto& s : shapes) exact({kernel, s[0], s[1], s[2], bool(layout & 1), bool(layout & 2)});
    EXPECT_EQ(trials, 2 * 4 * 9);
}

// The emulated card has two multiprocessors: these take several rounds of tiles, and more steps than there are stages.
TEST_F(Gemm, LargerThanOneTileInEveryLayout) {
    for (const auto kernel : {GemmKernel::simt, GemmKernel::mma})
        for (int layout = 0; layout < 4; ++layout) {
            exact({kernel, 136, 264, 200, bool(layout & 1), bool(layout & 2)});
            exact({kernel, 648, 72, 456, bool(layout & 1), bool(layout & 2)});
        }
    for (const int width : widths)
        for (const int peers : {1, 2})
            for (int layout = 0; layout < 4; ++layout) {  // the third row of tiles has no peer
                Trial t{GemmKernel::hopper, 264, 392, 456, bool(layout & 1), bool(layout & 2)};
                t.width = width, t.peers = peers, exact(t);
            }
    EXPECT_EQ(trials, 2 * 4 * 2 + 3 * 2 * 4);
}

// Tiles of 192 and 128 columns are stored under the next one, in 12 and 8 strips over the steps of k: one tile a block, an odd and
// an even number, fewer steps than strips, as many, and more; the same of parts of k.
TEST_F(Gemm, HopperStoresATileUnderTheNext) {
    struct Work { int tiles, steps, splits; };
    const Work works[] = {{1, 1, 1}, {1, 7, 1}, {2, 1, 1}, {2, 6, 1}, {3, 1, 1}, {3, 2, 1}, {3, 4, 1}, {3, 7, 1},
                          {4, 5, 1}, {5, 3, 1}, {6, 1, 1}, {7, 6, 1}, {2, 7, 3}, {3, 8, 2}, {3, 9, 3}, {3, 12, 1}, {3, 25, 1}};
    int i = 0;
    for (const int width : widths)
        for (const Work& w : works) {
            const bool ta = ++i & 1, tb = i & 2;
            Trial t{GemmKernel::hopper, w.tiles * 128 - 56, width - (tb ? 29 : 24), w.steps * 64 - 24, ta, tb};
            t.bias = i % 3, t.residual = i % 4 == 0, t.accumulate = i % 5 == 0;
            t.splits = w.splits, t.width = width, t.peers = 1 + i % 2, exact(t);  // an odd number of works: each meets both
        }
    EXPECT_EQ(trials, 3 * 17);
}

// A residual or a gate comes a strip ahead: every strip of two tiles beside each other has its own, with fewer and with more steps than strips.
TEST_F(Gemm, HopperAsksAheadForWhatIsBesideTheSums) {
    for (const int width : widths)
        for (const auto& [m, steps, peers] : {std::tuple{328, 2, 1}, {200, 7, 2}, {200, 14, 2}}) {
            Trial t{GemmKernel::hopper, m, 2 * width - 24, steps * 64 - 24, false, true, DType::bf16};
            t.width = width, t.peers = peers;
            t.residual = true, expect(t);
            t.residual = false, t.gate = t.act = true;
            EXPECT_LE(worst(t, normal), 1) << t;
        }
    EXPECT_EQ(trials, 3 * 3 * 3);
}

TEST_F(Gemm, HopperTakesEveryExtentThatTmaAllows) {
    for (int layout = 0; layout < 4; ++layout) {
        const bool ta = layout & 1, tb = layout & 2;  // the fast axis of each operand is a multiple of 8
        exact({GemmKernel::hopper, ta ? 8 : 193, tb ? 193 : 8, !ta || tb ? 264 : 257, ta, tb});
        exact({GemmKernel::hopper, ta ? 200 : 1, tb ? 3 : 136, !ta || tb ? 8 : 1, ta, tb});
    }
    EXPECT_EQ(trials, 4 * 2);
}

TEST_F(Gemm, Epilogues) {
    const auto every = [&](Trial t) {
        t.bias = true, expect(t);
        t.residual = true, expect(t);
        t.accumulate = true, expect(t);
        t.residual = t.accumulate = false, t.gelu = true, expect(t);
        t.gelu = false, t.gate = true;
        EXPECT_LE(worst(t, normal), 1) << t;
        t.act = true;
        EXPECT_LE(worst(t, normal), 1) << t;
        t.splits = 3, t.k = 392;
        EXPECT_LE(worst(t, normal), 1) << t;
    };
    for (const DType out : {DType::f32, DType::bf16})
        for (const int n : {72, 67}) {  // whole 16 bytes a row, and not
            if (out == DType::f32) every({GemmKernel::simt, 77, n, 40, false, true, out});
            every({GemmKernel::mma, 77, n, 40, false, true, out});
            for (const int width : widths) {
                Trial t{GemmKernel::hopper, 333, n, 136, false, true, out};  // two tiles in one block, one in the other
                t.width = width, every(t);
            }
        }
    EXPECT_EQ(trials, (2 + 4 + 12) * (2 * 4 + 3));
}

TEST_F(Gemm, AnyAlignment) {
    for (int layout = 0; layout < 4; ++layout)
        for (const int shift : {1, 4}) {
            Trial t{GemmKernel::mma, 72, 136, 200, bool(layout & 1), bool(layout & 2)};
            t.shift = shift, exact(t);
            GemmArgs g{View{reinterpret_cast<void*>(512 + 2 * shift), DType::bf16, 64, 64, 64}, View{reinterpret_cast<void*>(512), DType::bf16, 64, 64, 64}};
            EXPECT_FALSE(cuda::can_run(GemmKernel::hopper, g)) << "TMA wants 16-byte addresses";
        }
}

TEST_F(Gemm, SplitsOfKAddUpInOrder) {
    for (const auto kernel : kernels)
        for (const int n : {72, 67})
            for (const int splits : {2, 5, 100}) {  // 100: more than there are steps
                Trial t{kernel, 130, n, 392, true, false, DType::f32};
                t.splits = splits, t.accumulate = true;
                if (kernel == GemmKernel::hopper && n == 67) continue;
                t.m = 136, exact(t);
            }
    EXPECT_EQ(trials, 5 * 3);
}

// Two weight gradients in one launch: tiles of both in one block, each with its own sums, splits and what is added to.
TEST_F(Gemm, TwoAtOnce) {
    struct One { int m, n; bool accumulate; };
    const std::pair<One, One> pairs[] = {{{136, 392, false}, {264, 72, true}}, {{72, 64, true}, {520, 200, false}}, {{128, 256, false}, {128, 192, false}}};
    const auto check = [&](const One& w, int k, const Matrix& a, const Matrix& b, const Matrix& c, const Matrix& sums, const cuda::Tiles& t) {
        const Numbers got = download_wide(c.all), added = download_wide(sums.all);
        int wrong = 0;
        for (int i = 0; i < w.m; ++i) {
            double sum = w.accumulate ? sums.values[i] : 0;
            for (int q = 0; q < k; ++q) sum += a.values[q * w.m + i];
            wrong += added[i] != sum;
            for (int j = 0; j < w.n; ++j) {
                sum = w.accumulate ? c.values[i * w.n + j] : 0;
                for (int q = 0; q < k; ++q) sum += a.values[q * w.m + i] * b.values[q * w.n + j];
                wrong += got[i * w.n + j] != sum;
            }
        }
        EXPECT_EQ(wrong, 0) << w.m << "x" << w.n << "x" << k << " width " << t.width << " peers " << t.peers << " splits " << t.splits;
    };
    for (const auto& [x, y] : pairs)
        for (const cuda::Tiles& t : {cuda::Tiles{256, 1, 1}, {192, 2, 1}, {128, 2, 3}, {}}) {
            const int k = 264;
            const Matrix a(device, k, x.m, DType::bf16, integers(k * x.m, 1)), b(device, k, x.n, DType::bf16, integers(k * x.n, 2));
            const Matrix d(device, k, y.m, DType::bf16, integers(k * y.m, 3)), e(device, k, y.n, DType::bf16, integers(k * y.n, 4));
            const Matrix c(device, x.m, x.n, DType::f32, integers(x.m * x.n, 5)), f(device, y.m, y.n, DType::f32, integers(y.m * y.n, 6));
            const Matrix c_sums(device, 1, x.m, DType::f32, integers(x.m, 7)), f_sums(device, 1, y.m, DType::f32, integers(y.m, 8));
            GemmTwoArgs g{{a.view, b.view}, {d.view, e.view}};
            const auto into = [](GemmArgs& one, const One& w, const Matrix& to, const Matrix& sums) {
                one.ta = true, one.c = {to.view, w.accumulate ? Mode::accumulate : Mode::write}, one.sums = {sums.view, one.c.mode};
            };
            into(g.first, x, c, c_sums), into(g.second, y, f, f_sums);
            cuda::run_gemm_two(g, t);
            check(x, k, a, b, c, c_sums, t), check(y, k, d, e, f, f_sums, t);
        }
}

TEST_F(Gemm, AnEmptySumIsZero) {
    for (const auto kernel : {GemmKernel::simt, GemmKernel::mma}) {
        Trial t{kernel, 5, 9, 0, false, true};
        t.bias = true, expect(t);
    }
}

// Tiles found by multiplications are those found by divisions.
TEST(TileOrder, WithoutDivisionsIsTheSame) {
    for (const int m : {1, 7, 8, 9, 16, 193, 1536})
        for (const int n : {1, 2, 3, 4, 11, 12, 85}) {
            const cuda::TileOrder order(m, n);
            int differ = 0;
            for (int i = 0; i < m * n; ++i) {
                const auto [x, y] = order.at(i);
                const auto [want_x, want_y] = cuda::tile_at(i, m, n);
                differ += x != want_x || y != want_y;
            }
            EXPECT_EQ(differ, 0) << m << "x" << n;
        }
    for (const int d : {1, 2, 3, 5, 7, 8, 641, 65535, 65536, 65537, 715827883, 1 << 30, 2147483647})
        for (const int n : {0, 1, d - 1, d, 2147483647 / d * d - (d > 1), 2147483646, 2147483647}) EXPECT_EQ(cuda::Divisor(d).of(n), n / d) << n << " / " << d;
}

// What the layers ask for, through the public door: it must choose a kernel that can.
TEST_F(Gemm, TheDispatcherTakesAnything) {
    for (const DType in : {DType::f32, DType::bf16})
        for (const auto& s : {std::array{193, 64, 64}, std::array{64, 193, 7}, std::array{1, 1, 1}, std::array{128, 64, 72}}) {
            const auto [m, n, k] = s;
            const Matrix a(device, m, k, in, integers(std::size_t(m) * k, 1)), b(device, n, k, in, integers(std::size_t(n) * k, 2));
            const Matrix c(device, m, n, DType::f32, {});
            GemmArgs g{a.view, b.view};
            g.tb = true, g.c = {c.view, Mode::write};
            cuda::gemm(g);
            const Numbers got = download_wide(c.all);
            double sum = 0;
            for (int q = 0; q < k; ++q) sum += a.values[(m - 1) * k + q] * b.values[(n - 1) * k + q];
            EXPECT_EQ(got.back(), sum) << m << "x" << n << "x" << k;
        }
}

}  // namespace
