// Matrix products through oneDNN: sgemm for f32, cached matmul primitives for bf16, which is f32 too on a CPU
// that does not multiply it (widened.h). f64 exists to check gradients and runs plain loops.
#include <map>
#include <mutex>
#include <tuple>

#include "ops/cpu/math.h"
#include "ops/cpu/widened.h"

namespace eng::cpu {
namespace {

struct Extents { std::int64_t m, n, k; };
Extents extents(const GemmArgs& g) {
    const Extents x{g.ta ? g.a.cols : g.a.rows, g.tb ? g.b.rows : g.b.cols, g.ta ? g.a.rows : g.a.cols};
    const std::int64_t k2 = g.tb ? g.b.cols : g.b.rows;
    ENG_CHECK(x.k == k2 && g.c.rows * g.c.cols == x.m * x.n, "gemm", "a ", g.a.rows, "x", g.a.cols, " b ", g.b.rows, "x", g.b.cols, " c ", g.c.rows, "x", g.c.cols);
    return x;
}

void gemm_f64(const GemmArgs& g, Extents x) {
    const double *a = ptr<double>(g.a), *b = ptr<double>(g.b);
    const double* bias = ptr<double>(g.bias);
    const double* res = ptr<double>(g.residual);
    parallel_for(x.m, 8, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t m = first; m < last; ++m)
            emit_range<double>(g.c, m * x.n, (m + 1) * x.n, [&](std::int64_t i) {
                const std::int64_t n = i - m * x.n;
                double s = (bias ? bias[n] : 0) + (res ? res[i] : 0);
                for (std::int64_t k = 0; k < x.k; ++k)
                    s += (g.ta ? a[k * x.m + m] : a[m * x.k + k]) * (g.tb ? b[n * x.k + k] : b[k * x.n + n]);
                return s;
            });
    });
}

// c starts as bias + residual, and the product is added onto it.
void gemm_f32(const GemmArgs& g, Extents x) {
    float* c = ptr<float>(g.c);
    const float *bias = ptr<float>(g.bias), *res = ptr<float>(g.residual);
    const bool prefill = bias || res;
    if (prefill)
        parallel_for(x.m, row_grain(x.n), [&](std::int64_t first, std::int64_t last) {
            for (std::int64_t m = first; m < last; ++m) {
                float* y = c + m * x.n;
                if (res) std::memcpy(y, res + m * x.n, std::size_t(x.n) * 4);
                else std::memset(y, 0, std::size_t(x.n) * 4);
                if (bias)
#pragma omp simd
                    for (std::int64_t n = 0; n < x.n; ++n) y[n] += bias[n];
            }
        });
    const float beta = prefill || g.c.mode == Mode::accumulate ? 1.f : 0.f;
    const auto status = dnnl_sgemm(g.ta ? 'T' : 'N', g.tb ? 'T' : 'N', x.m, x.n, x.k, 1.f, ptr<float>(g.a), g.a.cols,
                                   ptr<float>(g.b), g.b.cols, beta, c, x.n);
    ENG_CHECK(status == dnnl_success, "gemm", "oneDNN refused ", x.m, "x", x.n, "x", x.k, ", status ", int(status));
}

struct Primitive {
    dnnl::memory::desc a, b, bias, c;
    dnnl::matmul op;
};
using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t, bool, bool, bool, bool, bool>;

Primitive make_primitive(Extents x, bool ta, bool tb, bool f32_out, bool bias, bool add) {
    using M = dnnl::memory;
    const auto bf = M::data_type::bf16, to = f32_out ? M::data_type::f32 : bf;
    Primitive p;
    p.a = M::desc({x.m, x.k}, bf, ta ? M::dims{1, x.m} : M::dims{x.k, 1});
    p.b = M::desc({x.k, x.n}, bf, tb ? M::dims{1, x.k} : M::dims{x.n, 1});
    p.c = M::desc({x.m, x.n}, to, M::dims{x.n, 1});
    p.bias = M::desc({1, x.n}, bf, M::dims{x.n, 1});
    dnnl::primitive_attr attr;
    if (add) {
        dnnl::post_ops ops;
        ops.append_sum(1.f);
        attr.set_post_ops(ops);
    }
    const dnnl::matmul::desc d = bias ? dnnl::matmul::desc(p.a, p.b, p.bias, p.c) : dnnl::matmul::desc(p.a, p.b, p.c);
    p.op = dnnl::matmul(dnnl::matmul::primitive_desc(d, attr, cpu_engine()));
    return p;
}

// One rounding to bf16: bias and residual are added inside oneDNN's f32 accumulator.
void gemm_bf16(const GemmArgs& g, Extents x) {
    static std::map<Key, Primitive> cache;
    static std::mutex mutex;
    static dnnl::stream stream(cpu_engine());
    const bool f32_out = g.c.dtype == DType::f32, bias = g.bias.p, add = g.residual.p || g.c.mode == Mode::accumulate;
    if (g.residual.p) std::memcpy(g.c.p, g.residual.p, std::size_t(x.m * x.n) * size_of(g.c.dtype));
    std::lock_guard lock(mutex);
    const Key key{x.m, x.n, x.k, g.ta, g.tb, f32_out, bias, add};
    auto it = cache.find(key);
    if (it == cache.end()) {
        if (cache.size() > 4096) cache.clear();  // ragged batches make a new shape each step
        it = cache.emplace(key, make_primitive(x, g.ta, g.tb, f32_out, bias, add)).first;
    }
    Primitive& p = it->second;
    const auto memory = [&](const dnnl::memory::desc& d, void* data) { return dnnl::memory(d, cpu_engine(), data); };
    std::unordered_map<int, dnnl::memory> args{{DNNL_ARG_SRC, memory(p.a, g.a.p)}, {DNNL_ARG_WEIGHTS, memory(p.b, g.b.p)}, {DNNL_ARG_DST, memory(p.c, g.c.p)}};
    if (bias) args.emplace(DNNL_ARG_BIAS, memory(p.bias, g.bias.p));
    p.op.execute(stream, args);
    stream.wait();
}

void gemm_widened(GemmArgs g, Extents x) {
    const Widened a(g.a), b(g.b), bias(g.bias), residual(g.residual);
    const Rounded c(g.c);
    g.a = a.view(), g.b = b.view(), g.bias = bias.view(), g.residual = residual.view(), g.c = c.out();
    gemm_f32(g, x);
    c.store();
}

}  // namespace

void gemm(const GemmArgs& g) {
    if (g.c.mode == Mode::skip) return;
    const Extents x = extents(g);
    if (x.m == 0 || x.n == 0) return;
    switch (g.a.dtype) {
        case DType::f64: gemm_f64(g, x); break;
        case DType::f32: gemm_f32(g, x); break;
        case DType::bf16: multiplies_bf16() ? gemm_bf16(g, x) : gemm_widened(g, x); break;
        default: fail("gemm", "of ", name_of(g.a.dtype));
    }
    if (g.sums.p) {
        ENG_CHECK(g.ta, "gemm", "sums over the columns of a have no kernel");
        row_sum({g.a, g.sums});
    }
    if (g.gate.p) {
        ENG_CHECK(g.c.mode == Mode::write && !g.gelu && !g.ta, "gemm", "a gate belongs to an input's gradient that is written");
        quick_gelu_backward({g.c, g.gate, g.c});
        if (g.act.p) quick_gelu_forward({g.gate, g.act});
        return;
    }
    if (!g.gelu) return;
    if (g.pre.mode != Mode::skip) std::memcpy(g.pre.p, g.c.p, std::size_t(x.m * x.n) * size_of(g.c.dtype));
    quick_gelu_forward({g.c, g.c});
}

void gemm_two(const GemmTwoArgs& g) { gemm(g.first), gemm(g.second); }

namespace {

View block(const View& v, const View& at, std::int64_t i, std::int64_t rows, std::int64_t count = 1) {
    View x = v;
    x.p = static_cast<char*>(v.p) + (at.p ? ptr<std::int32_t>(at)[i] : i) * rows * v.cols * std::int64_t(size_of(v.dtype));
    x.rows = rows * count;
    return x;
}
Out block(const Out& o, std::int64_t i, std::int64_t rows, std::int64_t count = 1) {
    return {block(static_cast<const View&>(o), View{}, i, rows, count), o.mode};
}

// Members that meet the same block of b one after another, with neighbouring blocks of a, are one product.
void products(const GroupedGemmArgs& g, std::int64_t m) {
    const auto at = [](const View& v, std::int64_t i) { return v.p ? ptr<std::int32_t>(v)[i] : i; };
    for (std::int64_t i = 0, n = 1; i < g.members; i += n) {
        for (n = 1; !g.ta && i + n < g.members && at(g.b_at, i + n) == at(g.b_at, i) && at(g.a_at, i + n) == at(g.a_at, i) + n;) ++n;
        GemmArgs one{block(g.a, g.a_at, i, g.a_rows, n), block(g.b, g.b_at, i, g.b_rows), g.bias, {}, block(g.c, i, m, n)};
        one.ta = g.ta, one.tb = g.tb, one.gelu = g.gelu;
        one.pre = g.pre.mode == Mode::skip ? Out{{}, Mode::skip} : block(g.pre, i, m, n);
        gemm(one);
    }
}

// A narrow block is summed in f32 and rounded once.
void sums_of_products(const GroupedGemmArgs& g, std::int64_t m, std::int64_t n) {
    std::vector<std::vector<std::int64_t>> members(std::size_t(g.c.rows / m));
    for (std::int64_t i = 0; i < g.members; ++i) members[std::size_t(ptr<std::int32_t>(g.c_at)[i])].push_back(i);
    std::vector<float> wide(g.c.dtype == DType::bf16 ? std::size_t(m * n) : 0);
    for (std::size_t block_of_c = 0; block_of_c < members.size(); ++block_of_c) {
        const std::int64_t to = std::int64_t(block_of_c);
        const Out c = block(g.c, to, m), sums = g.sums.mode == Mode::skip ? g.sums : block(g.sums, to, 1);
        Out here = wide.empty() ? c : Out{{wide.data(), DType::f32, m, n, n}, Mode::write};
        if (members[block_of_c].empty()) zero_if_write(c), zero_if_write(sums);
        bool first = true;
        for (const std::int64_t i : members[block_of_c]) {
            GemmArgs one{block(g.a, g.a_at, i, g.a_rows), block(g.b, g.b_at, i, g.b_rows), {}, {}, here};
            one.ta = g.ta, one.tb = g.tb;
            gemm(one);
            here.mode = Mode::accumulate;
            if (sums.mode != Mode::skip) row_sum({one.b, {sums, first ? sums.mode : Mode::accumulate}});
            first = false;
        }
        if (!first && !wide.empty()) emit_parallel(c, m * n, [&](std::int64_t i) { return wide[std::size_t(i)]; });
    }
}

}  // namespace

void grouped_gemm(const GroupedGemmArgs& g) {
    if (g.c.mode == Mode::skip) return;
    const std::int64_t m = g.ta ? g.a.cols : g.a_rows, n = g.tb ? g.b_rows : g.b.cols;
    ENG_CHECK(g.c_at.p ? !g.tb && !g.bias.p && !g.gelu : !g.ta, "grouped_gemm", "sums over members take no b transposed, no bias and no activation, single products no a transposed");
    ENG_CHECK(g.c.cols == n && g.c.rows % m == 0 && (g.c_at.p || g.c.rows == g.members * m), "grouped_gemm", g.members, " products of ", m, "x", n, " into c ", g.c.rows, "x", g.c.cols);
    g.c_at.p ? sums_of_products(g, m, n) : products(g, m);
}

}  // namespace eng::cpu
