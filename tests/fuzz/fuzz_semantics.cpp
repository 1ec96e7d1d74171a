// Arbitrary bytes into the Semantics Deconstructor: whatever they are, the result must be valid. A broken promise aborts.
//   cmake -B build-fuzz -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DSCVD_FUZZ=ON -DSCVD_BENCH=OFF -DSCVD_TESTS=OFF
//   cmake --build build-fuzz --target fuzz_semantics
//   build-fuzz/fuzz_semantics -max_len=2000 -dict=tests/fuzz/semantics.dict -max_total_time=1200 corpus/
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>

#include "engine/io/json.h"
#include "model/semantics/deconstructor.h"

namespace {

void promise(bool kept, const char* what) {
    if (kept) return;
    std::fprintf(stderr, "broken promise: %s\n", what);
    std::abort();
}

void check(const scvd::Phrase& p, std::size_t size) {
    promise(!p.text.empty(), "a phrase has a text");
    promise(p.begin < p.end && p.end <= size, "a span lies in the text");
    promise(p.text.front() != ' ' && p.text.back() != ' ' && p.text.find("  ") == std::string::npos, "blanks stand between words");
    promise(static_cast<int>(p.category) < scvd::category_count, "a category is one of them");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const scvd::Deconstructor sd;
    static const std::set<std::string> persons{"man", "woman", "boy", "girl", "child", "person"};
    const std::string text(reinterpret_cast<const char*>(data), size);
    const scvd::Deconstruction d = sd(text);
    promise(persons.contains(d.person), "the person is one of six");
    promise(d.person_begin <= d.person_end && d.person_end <= size, "the person's span lies in the text");
    for (const auto* list : {&d.phrases, &d.absent})
        for (const scvd::Phrase& p : *list) check(p, size);
    const scvd::Prompts p = scvd::make_prompts(d);
    promise(p.mask[0] == 1 && p.phrase[0] == -1, "slot 0 is the person");
    promise(!eng::parse_json_or_discard(scvd::to_json(d, p)).is_discarded(), "the output is JSON");
    if (size < 400) promise(!sd.explain(text).empty() || d.phrases.empty(), "explain has a line for every token");

    std::string other = text;  // upper case gives the same phrases
    for (char& c : other)
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    const scvd::Deconstruction upper = sd(other);
    promise(upper.person == d.person && upper.phrases.size() == d.phrases.size(), "letter case does not matter");
    for (std::size_t i = 0; i < d.phrases.size(); ++i)
        promise(upper.phrases[i].text == d.phrases[i].text && upper.phrases[i].begin == d.phrases[i].begin, "letter case does not matter");
    return 0;
}
