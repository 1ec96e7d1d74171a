// Training steps of a preset on a made-up batch, timed; the batch, the weights and the first loss can be dumped so that
// another implementation of the same model can be held to the same numbers (bench/torch_step.py).
//   bench_step PRESET DTYPE STEPS [DUMP_FOLDER [BATCH]]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "bench/made_up_step.h"
#include "engine/parallel.h"
#include "train/run_log.h"

using namespace scvd;

int main(int argc, char** argv) try {
    ENG_CHECK(argc >= 4, "bench_step", "usage: bench_step PRESET f32|bf16 STEPS [DUMP_FOLDER [BATCH]]");
    Config c;
    load_config(c, argv[1]);
    c.model.dtype = argv[2];
    if (argc > 5) c.train.batch = std::stoi(argv[5]);
    const int steps = std::stoi(argv[3]);
    MadeUpStep step(c, eng::Device::cpu);
    if (argc > 4) step.dump(argv[4]);
    std::vector<double> ms;
    for (int s = 0; s < steps + 2; ++s) {
        const auto start = std::chrono::steady_clock::now();
        step.run();
        if (s >= 2) ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    }
    if (ms.empty()) return 0;
    std::sort(ms.begin(), ms.end());
    fmt::print("{}\n", nlohmann::json{{"engine", "scvd"}, {"preset", argv[1]}, {"dtype", argv[2]}, {"batch", c.train.batch}, {"threads", eng::num_threads()}, {"steps", steps},
                                      {"ms_median", ms[ms.size() / 2]}, {"ms_min", ms.front()}, {"ms_max", ms.back()}, {"peak_MB", double(process_memory().peak) / 1e6},
                                      {"step_arena_MB", double(step.step_peak_bytes()) / 1e6}}.dump());
} catch (const std::exception& e) {
    fmt::print(stderr, "bench_step: {}\n", e.what());
    return 1;
}
