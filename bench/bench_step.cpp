// Training steps of a preset on a made-up batch, timed, and its encoders alone; the batch, the weights and the first loss can be dumped so that
// another implementation of the same model can be held to the same numbers (bench/torch_step.py).
//   bench_step PRESET DTYPE STEPS [DUMP_FOLDER [BATCH]]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "bench/made_up_step.h"
#include "engine/io/json.h"
#include "engine/parallel.h"
#include "train/run_log.h"

using namespace scvd;

namespace {

// Milliseconds of `count` calls, sorted, after two that warm up.
std::vector<double> timed(int count, const std::function<void()>& f) {
    std::vector<double> ms;
    for (int i = -2; i < count; ++i) {
        const auto start = std::chrono::steady_clock::now();
        f();
        if (i >= 0) ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    }
    std::sort(ms.begin(), ms.end());
    return ms;
}

nlohmann::json summary(const std::vector<double>& ms) { return {{"median", ms[ms.size() / 2]}, {"min", ms.front()}, {"max", ms.back()}}; }

}  // namespace

int main(int argc, char** argv) try {
    ENG_CHECK(argc >= 4, "bench_step", "usage: bench_step PRESET f32|bf16 STEPS [DUMP_FOLDER [BATCH]]");
    Config c;
    load_config(c, argv[1]);
    c.model.dtype = argv[2];
    if (argc > 5) c.train.batch = std::stoi(argv[5]);
    const int steps = std::stoi(argv[3]);
    MadeUpStep step(c, eng::Device::cpu);
    if (argc > 4) step.dump(argv[4]);
    if (steps < 1) return 0;
    const auto images = timed(steps, [&] { step.encode_images(); }), texts = timed(steps, [&] { step.encode_texts(); }), whole = timed(steps, [&] { step.run(); });
    const eng::Json row{{"engine", "scvd"}, {"preset", argv[1]}, {"dtype", argv[2]}, {"batch", c.train.batch}, {"threads", eng::num_threads()}, {"steps", steps},
                        {"ms", {{"step", summary(whole)}, {"images", summary(images)}, {"texts", summary(texts)}}},
                        {"peak_MB", double(process_memory().peak) / 1e6}, {"step_arena_MB", double(step.step_peak_bytes()) / 1e6}};
    fmt::print("{}\n", eng::json_text(row));
} catch (const std::exception& e) {
    fmt::print(stderr, "bench_step: {}\n", e.what());
    return 1;
}
