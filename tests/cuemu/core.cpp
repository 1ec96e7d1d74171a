// Options and reports. No file of the emulator is ever instrumented by the check build: it may touch its own state
// freely.
#include "cuemu/core.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>

namespace cuemu {

constinit thread_local Thread* self = nullptr;
constinit thread_local Runner* blk = nullptr;

// ---- options ----------------------------------------------------------------------
Options& options() {
    static Options o = [] {
        Options o;
        auto env = [](const char* n) {
            const char* v = getenv(n);
            return std::string(v ? v : "");
        };
        if (env("CUEMU_ORDER") == "reverse") o.order = Options::Order::reverse;
        if (env("CUEMU_ORDER") == "random") o.order = Options::Order::random;
        if (env("CUEMU_ASYNC") == "eager") o.async = Options::Async::eager;
        if (env("CUEMU_ASYNC") == "random") o.async = Options::Async::random;
        if (auto s = env("CUEMU_SEED"); !s.empty()) o.seed = strtoull(s.c_str(), nullptr, 0);
        if (auto s = env("CUEMU_THREADS"); !s.empty()) o.os_threads = unsigned(atoi(s.c_str()));
        if (auto s = env("CUEMU_DEVICES"); !s.empty()) o.devices = unsigned(atoi(s.c_str()));
        o.skip = env("CUEMU_SKIP");
        if (auto s = env("CUEMU_PREEMPT"); !s.empty()) o.preempt = unsigned(atoi(s.c_str()));
        return o;
    }();
    return o;
}

// ---- reporting --------------------------------------------------------------------
static std::string format(const char* fmt, va_list ap) {
    char buf[2048];
    vsnprintf(buf, sizeof buf, fmt, ap);
    return buf;
}
static std::string str(const char* fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    std::string s = format(fmt, ap);
    va_end(ap);
    return s;
}

std::string short_name(const char* pretty) {  // "... [with auto Kernel = NAME]"
    std::string s = pretty;
    size_t b = s.find("Kernel = ");
    if (b == std::string::npos) return s;
    s = s.substr(b + 9);
    s.pop_back();
    return s[0] == '&' ? s.substr(1) : s;
}

static std::string block_name(uint3 i) { return str(", block (%u,%u,%u)", i.x, i.y, i.z); }
std::string context() {
    if (!blk || !blk->launch) return "host code";
    std::string s = "kernel " + short_name(blk->launch->name) +
                    block_name(self ? self->block_idx : blk->blocks[0].idx);
    if (self)
        s += str(", thread (%u,%u,%u) [warp %u lane %u]", self->thread_idx.x, self->thread_idx.y, self->thread_idx.z,
                 self->warp, self->lane);
    return s;
}

void fault(const char* fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    std::string text = "cuemu: " + context() + ":\n  " + format(fmt, ap);
    va_end(ap);
    if (!self) throw KernelFault(text);
    if (!blk->faulted) blk->fault_text = text;
    blk->faulted = true;
    blk->suspend();  // the scheduler abandons the block and throws on the host's stack
    __builtin_unreachable();
}

std::string Runner::deadlock_report() const {
    std::map<std::string, std::vector<unsigned>> groups;
    for (unsigned i = 0; i < total; ++i) {
        const Thread& t = threads[i];
        std::string key;
        if (t.state == Thread::State::done)
            key = "have exited";
        else if (t.wait_mbar)
            key = str("wait for phase parity %u of the mbarrier at shared+0x%zx at %s:%d", t.wait_parity,
                      size_t((const unsigned char*)t.wait_mbar - t.block->smem), t.at.file, t.at.line);
        else
            key = str("wait in %s (0x%x) at %s:%d", t.waiting, t.wait_id, t.at.file, t.at.line);
        groups[key].push_back(i);
    }
    std::string s = nblocks == 1 ? "deadlock: no thread of the block can go on" : "deadlock: no thread of the cluster can go on";
    for (auto& [key, ids] : groups) {
        s += "\n    thread";
        for (size_t i = 0; i < ids.size();) {
            size_t j = i;
            while (j + 1 < ids.size() && ids[j + 1] == ids[j] + 1) ++j;
            s += (i ? "," : " ") + std::to_string(ids[i]) + (j > i ? "-" + std::to_string(ids[j]) : "");
            i = j + 1;
        }
        s += ": " + key;
    }
    return s;
}

extern "C" void __asan_on_error() { fprintf(stderr, "cuemu: in %s\n", context().c_str()); }

}  // namespace cuemu
