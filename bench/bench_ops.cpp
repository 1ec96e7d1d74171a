// Every benchmark case of the catalogue at the model's shapes, forward and forward+backward, in f32 and bf16, beside the
// machine's measured peaks: memory bandwidth of a large copy, f32 and bf16 rate of a large matrix product.
#include <benchmark/benchmark.h>

#include <cmath>

#include "engine/parallel.h"
#include "engine/rng.h"
#include "ops/cases.h"

using namespace eng;

namespace {

Tensor random_tensor(Arena& arena, Shape s, DType t, std::uint64_t stream) {
    Tensor x(arena, s, t);
    dispatch_float(t, "bench", [&](auto tag) {
        for (std::int64_t i = 0; i < x.numel(); ++i) x.as<decltype(tag)>()[i] = decltype(tag)(float(normal(1, stream, std::uint64_t(i))));
    });
    return x;
}

void run_case(benchmark::State& state, const Case& c, DType t, bool backward) {
    Arena arena;
    std::vector<Tensor> x;
    double bytes = 0;
    for (std::size_t i = 0; i < c.inputs.size(); ++i) x.push_back(random_tensor(arena, c.inputs[i], t, i)), bytes += double(x.back().bytes());
    Tensor dy;
    {
        Recording off(nullptr);
        const Tensor y = c.f(arena, x);
        bytes += double(y.bytes());
        dy = random_tensor(arena, y.shape(), y.dtype(), 99);
    }
    for (auto _ : state) {
        Tape tape;
        Recording on(backward ? &tape : nullptr);
        std::vector<Tensor> in = x;
        if (backward)
            for (Tensor& v : in) v = tape.leaf(v);
        const Tensor y = c.f(arena, in);
        if (backward) tape.backward(y, dy);
        benchmark::DoNotOptimize(y.raw());
    }
    const double passes = backward ? 3 : 1;  // backward moves and computes about twice what forward does
    state.counters["GB/s"] = benchmark::Counter(passes * bytes / 1e9, benchmark::Counter::kIsIterationInvariantRate);
    state.counters["GFLOP/s"] = benchmark::Counter(passes * c.flops / 1e9, benchmark::Counter::kIsIterationInvariantRate);
}

void copy_peak(benchmark::State& state) {
    Arena arena;
    const Tensor a = random_tensor(arena, {1 << 25}, DType::f32, 1);
    for (auto _ : state) benchmark::DoNotOptimize(scale(a, 1).raw());
    state.counters["GB/s"] = benchmark::Counter(2.0 * double(a.bytes()) / 1e9, benchmark::Counter::kIsIterationInvariantRate);
}
void gemm_peak(benchmark::State& state, DType t) {
    Arena arena;
    const Tensor a = random_tensor(arena, {2048, 2048}, t, 1), b = random_tensor(arena, {2048, 2048}, t, 2);
    for (auto _ : state) benchmark::DoNotOptimize(linear(a, b).raw());
    state.counters["GFLOP/s"] = benchmark::Counter(2.0 * 2048 * 2048 * 2048 / 1e9, benchmark::Counter::kIsIterationInvariantRate);
}

}  // namespace

int main(int argc, char** argv) {
    benchmark::RegisterBenchmark("peak/copy", copy_peak)->UseRealTime();
    benchmark::RegisterBenchmark("peak/gemm f32", gemm_peak, DType::f32)->UseRealTime();
    benchmark::RegisterBenchmark("peak/gemm bf16", gemm_peak, DType::bf16)->UseRealTime();
    for (const Case& c : bench_cases())
        for (const DType t : {DType::f32, DType::bf16})
            for (const bool backward : {false, true})
                benchmark::RegisterBenchmark((c.name + " " + name_of(t) + (backward ? " fwd+bwd" : " fwd")).c_str(),
                                             [=](benchmark::State& s) { run_case(s, c, t, backward); })->UseRealTime();
    benchmark::Initialize(&argc, argv);
    benchmark::AddCustomContext("threads", std::to_string(num_threads()));
    benchmark::RunSpecifiedBenchmarks();
}
