// Speed of the Semantics Deconstructor on captions it has not seen before: 80,000 different ones in the styles of the
// real sets, one in five with a typo, one in fifty with a word of no lexicon, read once by one thread.
#include <benchmark/benchmark.h>

#include <fstream>
#include <memory>
#include <string>

#include "engine/rng.h"
#include "model/semantics/deconstructor.h"

namespace {

using Words = std::vector<std::string>;
const Words colours{"red", "dark blue", "black and white striped", "light grey", "olive green", "plaid", "beige", "navy", "pink floral", "white", "brown", "teal"};
const Words tops{"shirt", "t-shirt", "hooded sweatshirt", "leather jacket with a fur collar", "polo shirt", "blouse with puffed sleeves", "long coat", "hoodie with a white logo on the chest", "tank top"};
const Words bottoms{"jeans", "pants", "a skirt", "cargo shorts", "leggings with a stripe", "a pair of trousers", "sweatpants"};
const Words shoes{"sneakers", "sandals", "boots", "high heels", "running shoes with white soles", "flip flops"};
const Words things{"a backpack", "a small purse over her shoulder", "an umbrella", "a cup of coffee", "two shopping bags", "a phone", "a bouquet of flowers", "a laptop bag"};
const Words hair{"short black hair", "long blonde hair tied in a ponytail", "curly brown hair", "a bald head", "gray hair and a beard"};
const Words people{"man", "woman", "young man", "girl", "elderly lady", "person", "tall boy", "pedestrian"};
const Words tails{"", " No hat.", " The face is not visible.", " She is walking next to a man in a suit.", " He is not wearing glasses.", " The shoes are white.", " It is blue with yellow dots."};
const Words patterns{"The {p} is wearing {c} {t} and {b}. The {p} has {h} and is carrying {x}.{e}",
                     "A {p} with {h}, dressed in a {c} {t}, {c} {b} and {c} {s}, is walking away from the camera while holding {x}.{e}",
                     "{p} in {c} {t} and {b} she has {h} and {s} and {x}{e}",
                     "The {p} wears a {c} {t},{c} {b} and a pair of {s}.There is {x} in the hand.{e}",
                     "A {p} with {h}. Their {t} is {c} and the {b} are {c}, with {s} on. They have {x}.{e}"};

std::string write_caption(eng::Rng& rng) {
    const auto one_of = [&](const Words& words) -> const std::string& { return words[rng.below(words.size())]; };
    std::string out;
    const std::string& pattern = one_of(patterns);
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (pattern[i] != '{') { out += pattern[i]; continue; }
        const char key = pattern[i + 1];
        out += one_of(key == 'p' ? people : key == 'c' ? colours : key == 't' ? tops : key == 'b' ? bottoms : key == 's' ? shoes : key == 'x' ? things : key == 'h' ? hair : tails);
        i += 2;
    }
    if (rng.chance(0.2f)) std::swap(out[2 + rng.below(out.size() - 4)], out[2 + rng.below(out.size() - 4)]);  // a typo
    if (rng.chance(0.2f)) out.erase(2 + rng.below(out.size() - 4), 1);
    if (rng.chance(0.02f)) out += " Wearing a z" + std::to_string(rng.below(1000)) + "orb" + char('a' + rng.below(26)) + "x.";
    return out;
}

long resident_kb() {
    std::ifstream in("/proc/self/status");
    for (std::string line; std::getline(in, line);)
        if (line.starts_with("VmRSS:")) return std::stol(line.substr(6));
    return 0;
}

void cold_captions(benchmark::State& state) {
    eng::Rng rng(7, 1);
    Words captions;
    double characters = 0;
    for (int i = 0; i < 80000; ++i) captions.push_back(write_caption(rng)), characters += double(captions.back().size());
    const long before = resident_kb();
    std::size_t phrases = 0;
    for (auto _ : state) {
        const scvd::Deconstructor sd;
        for (const std::string& text : captions) phrases += sd(text).phrases.size();
    }
    state.counters["captions/s"] = benchmark::Counter(double(captions.size()), benchmark::Counter::kIsIterationInvariantRate);
    state.counters["characters"] = characters / double(captions.size());
    state.counters["phrases"] = double(phrases) / double(captions.size());
    state.counters["MB"] = double(resident_kb() - before) / 1024;
}
BENCHMARK(cold_captions)->Unit(benchmark::kMillisecond)->Iterations(1)->Repetitions(3);

void start(benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(std::make_unique<scvd::Deconstructor>());
}
BENCHMARK(start)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
