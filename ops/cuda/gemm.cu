// Matrix product: which kernel, how many splits of k, and the sum over splits.
//
// Work split   sum_splits_kernel: one thread per eight elements (one where rows are not whole 16 bytes).
// Traffic      of the splits: 4 m n bytes written and read per split, beside the operands' 2 (m + n) k.
// Determinism  the splits of an element are added in order; their number depends on shape and card alone.
#include "ops/cuda/gemm.h"

#include <algorithm>

#include "ops/cuda/chip.h"

namespace eng::cuda {
namespace {

struct SplitSum {  // of partial sums [splits, m, n], and what happens to their sum
    const float* partial;
    int splits;
    Epilogue whole;
};

// A chain of memory's latencies if splits are read one after another: four are asked for at a time, and added in order.
template <int W>
PTX_INLINE void sum_splits(const SplitSum& s) {
    const Epilogue& e = s.whole;
    const std::int64_t mn = e.at(e.m, 0), i = (std::int64_t(blockIdx.x) * 256 + threadIdx.x) * W;
    if (i >= mn) return;
    float sum[W] = {}, x[4][W];
    for (int first = 0; first < s.splits; first += 4) {
#pragma unroll
        for (int k = 0; k < 4; ++k)
            if (first + k < s.splits) {
                const float* part = s.partial + (first + k) * mn + i;
                if constexpr (W == 1) x[k][0] = *part;
                else read(part, false, 0, x[k]);
            }
#pragma unroll
        for (int k = 0; k < 4; ++k)
            if (first + k < s.splits)
                for (int j = 0; j < W; ++j) sum[j] += x[k][j];
    }
    const int col = e.bias ? int(i % e.n) : 0;
    if constexpr (W == 1) emit1(e, i, col, sum[0]);
    else emit_wide(e, i, col, sum);
}
template <int W>
__global__ __launch_bounds__(256) void sum_splits_kernel(SplitSum first, SplitSum second) {
    in_turn();
    if (blockIdx.y == 0) sum_splits<W>(first);
    else sum_splits<W>(second);
}

// Sets p.steps_per_split.
int count_splits(Product& p, int wanted, std::int64_t tiles, int depth, int least) {
    const int steps = int(ceil_div(p.k, depth));
    if (!wanted) {
        const std::int64_t room = tiles * 4 > chip().sms * 3 ? 1 : chip().sms / tiles;
        wanted = int(std::min<std::int64_t>(room, p.k / least));
    }
    const int splits = std::clamp(wanted, 1, std::max(steps, 1));
    p.steps_per_split = int(ceil_div(steps, splits));
    return steps ? int(ceil_div(steps, p.steps_per_split)) : 1;  // none of them empty
}

bool at16(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

}  // namespace

SplitK::SplitK(Product& p, int wanted, std::int64_t tiles, int depth, int least)
    : whole_(p.out), splits_(count_splits(p, wanted, tiles, depth, least)),
      partial_(splits_ == 1 ? 0 : std::size_t(splits_) * p.m * p.n * sizeof(float)) {
    p.splits = splits_;
    if (splits_ == 1) return;
    p.out = Epilogue{};
    p.out.c = partial_.as<void>();
    p.out.m = p.m, p.out.n = p.n, p.out.wide = p.n % 8 == 0;
}

void SplitK::sum(const SplitK* other) const {
    const bool one = splits_ > 1, two = other && other->splits_ > 1;
    if (!one && !two) return;
    const SplitK &a = one ? *this : *other, &b = two ? *other : a;
    const SplitSum first{a.partial_.as<float>(), a.splits_, a.whole_}, second{b.partial_.as<float>(), b.splits_, b.whole_};
    const bool wide = a.whole_.wide && b.whole_.wide;
    const std::int64_t mn = std::max(std::int64_t(a.whole_.m) * a.whole_.n, std::int64_t(b.whole_.m) * b.whole_.n);
    const dim3 grid(ceil_div(mn, wide ? 8 * 256 : 256), one && two ? 2 : 1);
    wide ? launch<sum_splits_kernel<8>>({grid, dim3(256)}, first, second) : launch<sum_splits_kernel<1>>({grid, dim3(256)}, first, second);
}

Product product_of(const GemmArgs& g) {
    const std::int64_t m = g.ta ? g.a.cols : g.a.rows, k = g.ta ? g.a.rows : g.a.cols;
    const std::int64_t n = g.tb ? g.b.rows : g.b.cols, kb = g.tb ? g.b.cols : g.b.rows;
    ENG_CHECK(k == kb && g.c.rows * g.c.cols == m * n && std::max({m, n, k}) < std::int64_t(1) << 30, "gemm", "a ", g.a.rows,
              "x", g.a.cols, " b ", g.b.rows, "x", g.b.cols, " c ", g.c.rows, "x", g.c.cols);
    const auto narrow = [](const View& v) { return v.dtype == DType::bf16; };
    for (const View* v : {&g.a, &g.b, static_cast<const View*>(&g.c), &g.bias, &g.residual, &g.gate})
        ENG_CHECK(!v->p || narrow(*v) || v->dtype == DType::f32, "gemm", "on the GPU takes f32 and bf16, got ", name_of(v->dtype));
    ENG_CHECK(g.a.dtype == g.b.dtype, "gemm", "of ", name_of(g.a.dtype), " and ", name_of(g.b.dtype));
    ENG_CHECK(!g.sums.p || (g.ta && g.sums.numel() == m), "gemm", "sums of ", g.sums.numel(), " beside ", m, " columns of a", g.ta ? "" : ", which is not transposed");
    Product p{g.a.p, g.b.p, int(m), int(n), int(k), g.ta, g.tb, 1, 0, {}};
    p.sums = g.sums;
    p.out.c = g.c.p, p.out.pre = g.gelu && g.pre.mode != Mode::skip ? g.pre.p : nullptr;
    p.out.bias = g.bias.p, p.out.residual = g.residual.p, p.out.gate = g.gate.p, p.out.act = g.act.p;
    ENG_CHECK(!g.gate.p || (g.c.mode == Mode::write && !g.gelu && !g.ta && !g.residual.p), "gemm", "a gate belongs to an input's gradient that is written, and has no residual");
    ENG_CHECK(!g.act.p || (g.gate.p && g.act.dtype == g.gate.dtype && g.act.mode == Mode::write), "gemm", "an activation is written beside its gate, in its dtype");
    p.out.m = p.m, p.out.n = p.n;
    p.out.c_bf16 = narrow(g.c), p.out.bias_bf16 = narrow(g.bias), p.out.residual_bf16 = narrow(g.residual), p.out.gate_bf16 = narrow(g.gate);
    p.out.accumulate = g.c.mode == Mode::accumulate, p.out.gelu = g.gelu;
    p.out.wide = n % 8 == 0 && at16(g.c.p) && at16(p.out.pre) && at16(g.bias.p) && at16(g.residual.p) && at16(g.gate.p) && at16(g.act.p);
    const View& beside = g.gate.p ? g.gate : g.residual;
    if (p.out.wide && narrow(beside)) p.out.beside = static_cast<const bf16*>(beside.p);
    return p;
}

bool can_run(GemmKernel kernel, const GemmArgs& g) {
    switch (kernel) {
        case GemmKernel::simt: return g.a.dtype == DType::f32 || g.a.dtype == DType::bf16;
        case GemmKernel::mma: return g.a.dtype == DType::bf16;
        case GemmKernel::hopper:  // TMA wants rows of whole 16 bytes
            return g.a.dtype == DType::bf16 && chip().hopper && hopper_was_built() && at16(g.a.p) && at16(g.b.p) && g.a.cols % 8 == 0 &&
                   g.b.cols % 8 == 0 && g.a.numel() > 0;
    }
    return false;
}

namespace {

void run(GemmKernel kernel, const Product& p, const GemmArgs& g, Tiles tiles) {
    if (kernel == GemmKernel::hopper) return gemm_hopper(p, tiles);
    kernel == GemmKernel::simt ? gemm_simt(p, g.a.dtype, tiles.splits) : gemm_mma(p, tiles.splits);
    if (g.sums.p) row_sum({g.a, g.sums});
}

}  // namespace

void run_gemm_kernel(GemmKernel kernel, const GemmArgs& g, Tiles tiles) {
    const Product p = product_of(g);
    ENG_CHECK(can_run(kernel, g), "gemm", "kernel ", int(kernel), " cannot run ", p.m, "x", p.n, "x", p.k, " of ", name_of(g.a.dtype));
    run(kernel, p, g, tiles);
}

// A product of few rows or columns would leave most of a 128-wide tile empty.
static bool for_hopper(const GemmArgs& g, const Product& p) { return can_run(GemmKernel::hopper, g) && std::min(p.m, p.n) >= 64; }
static bool nothing(const GemmArgs& g) { return g.c.mode == Mode::skip || g.c.numel() == 0; }

void gemm(const GemmArgs& g) {
    if (nothing(g)) return;
    const Product p = product_of(g);
    run(g.a.dtype == DType::f32 ? GemmKernel::simt : for_hopper(g, p) ? GemmKernel::hopper : GemmKernel::mma, p, g, {});
}

void run_gemm_two(const GemmTwoArgs& g, Tiles tiles) {
    if (!nothing(g.first) && !nothing(g.second)) {
        const Product x = product_of(g.first), y = product_of(g.second);
        if (together(x, y) && for_hopper(g.first, x) && for_hopper(g.second, y)) return gemm_hopper(x, y, tiles);
    }
    gemm(g.first);
    gemm(g.second);
}
void gemm_two(const GemmTwoArgs& g) { run_gemm_two(g, {}); }

}  // namespace eng::cuda
