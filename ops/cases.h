#pragma once
// The catalogue: one row per op and shape family. Gradient check, mutant check, low-precision parity, determinism,
// coverage and the benchmarks all walk this list; nothing about an op is written a second time in tests/ or bench/.
#include <string>

#include "ops/ops.h"

namespace eng {

struct Case {
    std::string name;
    std::vector<Shape> inputs;  // filled with N(0,1): gamma-like inputs too, never all ones
    std::function<Tensor(Arena&, const std::vector<Tensor>&)> f;
    double depth = 16;  // terms in the longest sum behind one output or gradient element: rounding grows with its root
    double slack = 1;   // factor on the derived tolerance, with its reason in cases.cpp
    double flops = 0;   // of one forward call, for the benchmark's GFLOP/s
    bool gradient = true;
};

std::vector<Case> all_cases();    // small and odd shapes: 1, primes, 193, not multiples of anything
std::vector<Case> bench_cases();  // the model's shapes

}  // namespace eng
