// The access checker: what it knows and reports.
//
// The kernels are compiled with g++ -fsanitize=thread, which makes the compiler announce
// every memory access by calling __tsan_read4(address) and its kin. ThreadSanitizer's own
// runtime is not linked: those calls land here, where the CUDA memory model is known.
// For every two bytes of shared and device memory a cell remembers the last write and the
// last read: who, when, from which instruction. That finds, whatever the schedule was,
//   - data races inside a block (a missing __syncthreads, __syncwarp, mbarrier wait...)
//   - data races between blocks of a launch (anything but atomics, or a fence and a flag)
//   - reads of memory nobody wrote, reads and writes outside every allocation
//   - use of a buffer while cp.async or TMA may still be writing it, or wgmma reading it
//   - wgmma reading ordinary writes that no fence.proxy.async made visible
//   - host memory, or another thread's local memory, used by a kernel; and, by page
//     protection, device memory used by the host.
//
// "When" is an epoch, counted up at every barrier of the whole block, and within it a
// vector clock for the smaller synchronisations. Blocks run one after another here, but those of a cluster, where all
// synchronisation is by vector clocks.
#include <cstring>

#include "cuemu/check_state.h"

#if CUEMU_CHECK
namespace cuemu::check {

void fresh(Clock& c) {  // whatever happened in an earlier epoch is ordered anyway
    if (c.epoch == st().epoch && !c.at.empty()) return;
    c.epoch = st().epoch;
    c.at.assign(blk->total, 0);
}

uint32_t short_pc(const void* pc) { return uint32_t(reinterpret_cast<uintptr_t>(pc) - st().image); }

// The words of a report, from which no kernel returns. The linker may take std::string's code from a kernel's object: while
// they are put together the checker looks away (until the next block), else it would report its own report.
std::string source_line(uint32_t pc) {  // of the kernel, not of the wrapper inlined into it
    blk->internal = true;
    char cmd[128], out[512];  // $PPID: the shell's parent is this process
    snprintf(cmd, sizeof cmd, "addr2line -i -s -e /proc/$PPID/exe 0x%x 2>/dev/null", pc - 1);
    std::string s;
    if (FILE* f = popen(cmd, "r")) {
        while (fgets(out, sizeof out, f)) {
            const std::string line(out, strcspn(out, "\n ("));
            if (s.empty() || s.starts_with("ptx.h") || s.starts_with("device.h")) s = line;
        }
        pclose(f);
    }
    return s.empty() || s[0] == '?' ? "pc " + std::to_string(pc) : s;
}

std::string name_of(const Event& e) {  // whose access it was
    blk->internal = true;
    const State& s = st();
    const dim3 d = blk->block_dim;
    const unsigned tid = e.tid % blk->nthreads, rank = e.tid / blk->nthreads;
    std::string t = "thread (" + std::to_string(tid % d.x) + "," + std::to_string(tid / d.x % d.y) + "," +
                    std::to_string(tid / d.x / d.y) + ")";
    if (blk->nblocks > 1) t += " of block " + std::to_string(rank) + " of the cluster";
    if (e.epoch >= s.block_first) return t;
    auto b =
        std::upper_bound(s.blocks.begin(), s.blocks.end(), e.epoch, [](uint32_t v, auto& x) { return v < x.first; });
    const uint3 i = (b - 1)->second;
    return t + (blk->nblocks > 1 ? " that begins with block (" : " of block (") + std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z) + ")";
}

namespace {
bool ordered_across_blocks(const Event& e) {
    State& s = st();
    auto b = std::upper_bound(s.blocks.begin(), s.blocks.end(), e.epoch, [](uint32_t v, auto& x) { return v < x.first; });
    auto a = s.acquired.find((b - 1)->first);
    return a != s.acquired.end() && a->second >= e.epoch;
}
bool ordered(const Event& e, Thread& t, const State& s) {  // did e happen before what t does now?
    if (e.epoch < s.launch_first) return true;
    if (e.epoch < s.block_first) return ordered_across_blocks(e);
    if (e.epoch < s.epoch || e.tid == t.linear) return true;
    fresh(t.clock);
    return t.clock.at[e.tid] >= e.clk;
}
}  // namespace

const char* verb(Kind k) { return k == Kind::read ? "reads" : k == Kind::write ? "writes" : "atomically updates"; }

std::string describe(const void* p, bool shared) {
    blk->internal = true;
    char b[160];
    State& s = st();
    if (shared) {
        const Block& b_of = blk->block_of(p);
        const size_t off = static_cast<const unsigned char*>(p) - b_of.smem;
        if (off >= kSmemBase && off < kSmemBase + blk->launch->dyn_smem)
            snprintf(b, sizeof b, "dynamic shared memory, byte %zu", off - kSmemBase);
        else
            snprintf(b, sizeof b, "static shared memory at shared+0x%zx", off);
        for (auto& v : b_of.statics)
            if (p >= v.ptr && p < v.ptr + v.size)
                snprintf(b, sizeof b, "static shared array of %zu bytes, byte %zu", v.size,
                         size_t((unsigned char*)p - v.ptr));
    } else {
        const Alloc& a = s.allocs[s.page_alloc[(static_cast<const char*>(p) - s.arena) / kPage]];
        snprintf(b, sizeof b, "device allocation of %zu bytes, byte %zu", a.n, size_t((const char*)p - a.p));
    }
    return b;
}

namespace {

// One access by a thread. Every kernel's every load passes here: what is only said before a fault stands apart (FAULT).
struct Access {
    const void* p;
    size_t n;
    Kind kind;
    Proxy proxy;
    const void* pc;
    Thread& t;
    std::string line() const { return source_line(short_pc(pc)); }
};
FAULT race(const Access& a, bool shared, const Event& e, bool other_writes) {
    fault("DATA RACE on %s:\n    this thread %s it at %s\n    %s %s it at %s, with nothing to order the two",
          describe(a.p, shared).c_str(), verb(a.kind), a.line().c_str(), name_of(e).c_str(),
          e.flags & kAtomic ? "atomically updated"
          : other_writes    ? "wrote"
                            : "read",
          source_line(e.pc).c_str());
}
FAULT outside_of_shared(const Access& a, size_t off, size_t dyn_smem) {
    fault("OUT OF BOUNDS: %s %zu bytes of shared memory at shared+0x%zx, at %s\n    dynamic shared memory is shared+0x%zx..0x%zx",
          verb(a.kind), a.n, off, a.line().c_str(), kSmemBase, kSmemBase + dyn_smem);
}
FAULT outside_of_allocations(const Access& a, size_t off) {
    const State& s = st();
    const uint32_t id = s.page_alloc[off / kPage];
    const Alloc& near = s.allocs[id ? id : s.page_alloc[off < kPage ? 1 : off / kPage - 1]];  // the first page is nobody's
    fault("OUT OF BOUNDS: %s %zu bytes at byte %td of %s of %zu bytes, at %s", verb(a.kind), a.n, (const char*)a.p - near.p,
          near.freed ? "a freed device allocation" : "a device allocation", near.n, a.line().c_str());
}
FAULT before_its_turn(const Access& a) { fault("BEFORE ITS TURN: %s memory of the device before in_turn(), at %s", verb(a.kind), a.line().c_str()); }
FAULT in_flight(const Access& a, bool shared, const Event& w) {
    fault("%s %s at %s,\n    where the asynchronous copy issued by %s at %s may still be in flight", verb(a.kind),
          describe(a.p, shared).c_str(), a.line().c_str(), name_of(w).c_str(), source_line(w.pc).c_str());
}
FAULT uninitialised(const Access& a, bool shared) {
    fault("UNINITIALISED: %s %s at %s, which nobody has written", verb(a.kind), describe(a.p, shared).c_str(), a.line().c_str());
}
FAULT not_fenced(const Access& a, bool shared, const Event& w) {
    fault("MISSING fence.proxy.async: the tensor core reads %s at %s,\n    which %s wrote at %s and never fenced", describe(a.p, shared).c_str(),
          a.line().c_str(), name_of(w).c_str(), source_line(w.pc).c_str());
}

bool in_static_shared(const Block& b, const Access& a) {
    for (const Block::StaticVar& v : b.statics)
        if (a.p >= v.ptr && (const unsigned char*)a.p + a.n <= v.ptr + v.size) return true;
    return false;
}

// What is neither shared nor of the device: local memory, parameters, constants, the emulator's own state may be touched.
void others(const Access& a) {
    const State& s = st();
    const Runner& r = *s.runner;
    const uintptr_t at = reinterpret_cast<uintptr_t>(a.p);
    if (a.t.wg_acc_bytes && at - reinterpret_cast<uintptr_t>(a.t.wg_acc) < a.t.wg_acc_bytes)
        fault("%s an accumulator at %s,\n    which a wgmma may still be updating (no wgmma.wait_group yet)", verb(a.kind), a.line().c_str());
    if (local(a.p, a.t) || at - reinterpret_cast<uintptr_t>(&r) < sizeof r || at - reinterpret_cast<uintptr_t>(r.launch->arg) < r.launch->arg_size ||
        at - s.image < s.image_end - s.image || at - s.tls < s.tls_end - s.tls)
        return;
    if (at - reinterpret_cast<uintptr_t>(r.stacks) < kMaxThreads * (kStack + kPage))
        fault("%s another thread's local memory at %s", verb(a.kind), a.line().c_str());
    fault("%s HOST MEMORY at %p, at %s", verb(a.kind), a.p, a.line().c_str());
}

// Checks a cell, `bytes` of which are touched, and remembers who touched it.
template <bool Shared>
void touch(Cell& c, uint8_t bytes, const Access& a, bool all_written, const State& s) {
    const bool current = Shared ? c.w.epoch >= s.block_first : c.w.epoch != 0;
    const bool seen = current && c.w.bytes & bytes;
    if (!current) c.w.written = 0;
    if (c.w.flags & kPending && seen) in_flight(a, Shared, c.w);
    if (a.kind != Kind::write && !all_written && (c.w.written & bytes) != bytes) uninitialised(a, Shared);
    if (seen && !(a.kind == Kind::atomic && c.w.flags & kAtomic) && !ordered(c.w, a.t, s)) race(a, Shared, c.w, true);
    if (a.proxy == Proxy::async && !(c.w.flags & kAsyncWrite) && seen) {
        const Thread& w = s.runner->threads[c.w.tid];
        if (std::pair(w.proxy_epoch, w.proxy_clk) < std::pair(c.w.epoch, c.w.clk)) not_fenced(a, Shared, c.w);
    }
    const bool was_read = (Shared ? c.r.epoch >= s.block_first : c.r.epoch != 0) && c.r.bytes & bytes;
    const Event now{s.epoch, a.t.clk, short_pc(a.pc), uint16_t(a.t.linear), uint8_t(a.kind == Kind::atomic ? kAtomic : 0), bytes, 0};
    if (a.kind == Kind::read) {
        c.r = now;
        return;
    }
    if (was_read && !ordered(c.r, a.t, s)) race(a, Shared, c.r, false);
    // an atomic does not hide this thread's own, still unpublished, plain write
    const bool keep = a.kind == Kind::atomic && seen && !(c.w.flags & kAtomic) && c.w.tid == a.t.linear && c.w.epoch == s.epoch;
    const auto written = uint8_t(c.w.written | bytes);
    if (!keep) c.w = now;
    c.w.written = written & 3;
    c.r = {};
}
template <bool Shared>
void touch_all(Cell* cells, size_t off, const Access& a, bool all_written, const State& s) {
    const size_t first = off / kGranule, last = (off + a.n - 1) / kGranule;
    for (size_t i = first; i <= last; ++i)
        touch<Shared>(cells[i], uint8_t((i == first && off % 2 ? 2 : 3) & (i == last && (off + a.n) % 2 ? 1 : 3)), a, all_written, s);
}

}  // namespace

void access(const void* p, size_t n, Kind kind, const void* pc, Proxy proxy, Thread& t) {
    const State& s = st();
    const Runner& r = *s.runner;
    const Access a{p, n, kind, proxy, pc, t};
    if (const size_t at = reinterpret_cast<uintptr_t>(p) - reinterpret_cast<uintptr_t>(r.smem); at < kMaxCluster * kSmemSpan) {
        const size_t off = at % kSmemSpan;
        const bool dynamic = off >= kSmemBase && off + n <= kSmemBase + r.launch->dyn_smem;
        if (!dynamic && !in_static_shared(r.blocks[at / kSmemSpan], a)) outside_of_shared(a, off, r.launch->dyn_smem);
        touch_all<true>(s.shared, at, a, false, s);
    } else if (const size_t off = reinterpret_cast<uintptr_t>(p) - reinterpret_cast<uintptr_t>(s.arena); off < kArena) {
        const uint32_t id = s.page_alloc[off / kPage];
        const Alloc& of = s.allocs[id];
        if (!id || (const char*)p < of.p || (const char*)p + n > of.p + of.n || of.freed) outside_of_allocations(a, off);
        if (!t.in_turn) before_its_turn(a);
        touch_all<false>(s.global, off, a, of.all_written, s);
    } else {
        return others(a);
    }
    if (kind == Kind::write) t.fenced = false;
}

}  // namespace cuemu::check
#endif
