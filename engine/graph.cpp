#include "engine/graph.h"

namespace eng {

void StepGraph::run(const std::string& key, const std::function<void()>& step) {
    Entry& e = entries_[key];
    if (arena_.device() == Device::cpu || e.runs < 2 || (!e.replay && recorded_ == kMost)) {
        ++e.runs;
        return step();
    }
    if (!e.replay) {
        struct Frozen {
            Arena& arena;
            explicit Frozen(Arena& a) : arena(a) { arena.freeze(true); }
            ~Frozen() { arena.freeze(false); }
        } frozen(arena_);
        const std::size_t before = arena_.in_use();
        e.replay = cuda::capture(step);
        ++recorded_;
        ENG_CHECK(arena_.in_use() == before, "graph", "step ", key, " keeps ", arena_.in_use() - before, " bytes of step memory");
    }
    e.replay->launch();
}

}  // namespace eng
