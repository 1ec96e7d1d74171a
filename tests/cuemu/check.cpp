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

bool ordered(const Event& e, Thread& t) {  // did e happen before what t does now?
    State& s = st();
    if (e.epoch < s.launch_first) return true;
    if (e.epoch < s.block_first) {
        auto b = std::upper_bound(s.blocks.begin(), s.blocks.end(), e.epoch,
                                  [](uint32_t v, auto& x) { return v < x.first; });
        auto a = s.acquired.find((b - 1)->first);
        return a != s.acquired.end() && a->second >= e.epoch;
    }
    if (e.epoch < s.epoch || e.tid == t.linear) return true;
    fresh(t.clock);
    return t.clock.at[e.tid] >= e.clk;
}

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

[[noreturn]] void race(const void* p, bool shared, Kind k, const void* pc, const Event& e, bool other_writes) {
    fault("DATA RACE on %s:\n    this thread %s it at %s\n    %s %s it at %s, with nothing to order the two",
          describe(p, shared).c_str(), verb(k), source_line(short_pc(pc)).c_str(), name_of(e).c_str(),
          e.flags & kAtomic ? "atomically updated"
          : other_writes    ? "wrote"
                            : "read",
          source_line(e.pc).c_str());
}


void access(const void* ptr, size_t n, Kind kind, const void* pc, Proxy proxy, Thread& t) {
    State& s = st();
    Runner& r = *s.runner;
    const uintptr_t a = reinterpret_cast<uintptr_t>(ptr);
    Cell* cell;
    size_t last;
    bool shared = false, all_written = false;
    if (const size_t at = a - reinterpret_cast<uintptr_t>(r.smem); at < kMaxCluster * kSmemSpan) {
        shared = true;
        const Block& b = r.block_of(ptr);
        const size_t off = at % kSmemSpan;
        bool ok = off >= kSmemBase && off + n <= kSmemBase + r.launch->dyn_smem;
        for (size_t i = 0; !ok && i < b.statics.size(); ++i)
            ok = ptr >= b.statics[i].ptr && (const unsigned char*)ptr + n <= b.statics[i].ptr + b.statics[i].size;
        if (!ok)
            fault(
                "OUT OF BOUNDS: %s %zu bytes of shared memory at shared+0x%zx, at %s\n    dynamic shared memory is "
                "shared+0x%zx..0x%zx",
                verb(kind), n, off, source_line(short_pc(pc)).c_str(), kSmemBase, kSmemBase + r.launch->dyn_smem);
        cell = s.shared + at / kGranule;
        last = (at + n - 1) / kGranule - at / kGranule;
    } else if (const size_t off = a - reinterpret_cast<uintptr_t>(s.arena); off < kArena) {
        const uint32_t id = s.page_alloc[off / kPage];
        const Alloc& al = s.allocs[id];
        if (!id || (const char*)ptr < al.p || (const char*)ptr + n > al.p + al.n || al.freed) {
            const Alloc& near = id ? al : s.allocs[s.page_alloc[off / kPage - 1]];
            fault("OUT OF BOUNDS: %s %zu bytes at byte %td of %s of %zu bytes, at %s", verb(kind), n,
                  (const char*)ptr - near.p, near.freed ? "a freed device allocation" : "a device allocation", near.n,
                  source_line(short_pc(pc)).c_str());
        }
        if (!t.in_turn) fault("BEFORE ITS TURN: %s memory of the device before in_turn(), at %s", verb(kind), source_line(short_pc(pc)).c_str());
        cell = s.global + off / kGranule;
        last = (off + n - 1) / kGranule - off / kGranule;
        all_written = al.all_written;
    } else if (t.wg_acc_bytes && a - reinterpret_cast<uintptr_t>(t.wg_acc) < t.wg_acc_bytes) {
        fault("%s an accumulator at %s,\n    which a wgmma may still be updating (no wgmma.wait_group yet)", verb(kind),
              source_line(short_pc(pc)).c_str());
    } else if (a - reinterpret_cast<uintptr_t>(t.stack) < 256 * 1024 ||
               a - reinterpret_cast<uintptr_t>(&r) < sizeof r ||
               a - reinterpret_cast<uintptr_t>(r.launch->arg) < r.launch->arg_size ||
               a - s.image < s.image_end - s.image || a - s.tls < s.tls_end - s.tls) {
        return;  // local memory, parameters, constants; the emulator's own state
    } else if (a - reinterpret_cast<uintptr_t>(r.stacks) < kMaxThreads * (256 * 1024 + kPage)) {
        fault("%s another thread's local memory at %s", verb(kind), source_line(short_pc(pc)).c_str());
    } else {
        fault("%s HOST MEMORY at %p, at %s", verb(kind), ptr, source_line(short_pc(pc)).c_str());
    }

    const uint32_t spc = short_pc(pc);
    for (size_t i = 0; i <= last; ++i) {
        Cell& c = cell[i];
        const uint8_t bytes = uint8_t((i == 0 && a % 2 ? 2 : 3) & (i == last && (a + n) % 2 ? 1 : 3));
        const bool current = shared ? c.w.epoch >= s.block_first : c.w.epoch != 0;
        const bool seen = current && c.w.bytes & bytes;
        if (!current) c.written = 0;
        if (c.w.flags & kPending && seen)
            fault("%s %s at %s,\n    where the asynchronous copy issued by %s at %s may still be in flight", verb(kind),
                  describe(ptr, shared).c_str(), source_line(spc).c_str(), name_of(c.w).c_str(),
                  source_line(c.w.pc).c_str());
        if (kind != Kind::write && !all_written && (c.written & bytes) != bytes)
            fault("UNINITIALISED: %s %s at %s, which nobody has written", verb(kind), describe(ptr, shared).c_str(),
                  source_line(spc).c_str());
        if (seen && !(kind == Kind::atomic && c.w.flags & kAtomic) && !ordered(c.w, t))
            race(ptr, shared, kind, pc, c.w, true);
        if (proxy == Proxy::async && !(c.w.flags & kAsyncWrite) && seen) {
            const Thread& w = r.threads[c.w.tid];
            if (std::pair(w.proxy_epoch, w.proxy_clk) < std::pair(c.w.epoch, c.w.clk))
                fault(
                    "MISSING fence.proxy.async: the tensor core reads %s at %s,\n    which %s wrote at %s and never "
                    "fenced",
                    describe(ptr, shared).c_str(), source_line(spc).c_str(), name_of(c.w).c_str(),
                    source_line(c.w.pc).c_str());
        }
        const bool was_read = (shared ? c.r.epoch >= s.block_first : c.r.epoch != 0) && c.r.bytes & bytes;
        const Event now{s.epoch, t.clk, spc, uint16_t(t.linear), uint8_t(kind == Kind::atomic ? kAtomic : 0), bytes};
        if (kind == Kind::read) {
            c.r = now;
        } else {
            if (was_read && !ordered(c.r, t)) race(ptr, shared, kind, pc, c.r, false);
            // an atomic does not hide this thread's own, still unpublished, plain write
            const bool keep =
                kind == Kind::atomic && seen && !(c.w.flags & kAtomic) && c.w.tid == t.linear && c.w.epoch == s.epoch;
            if (!keep) c.w = now;
            c.r = {};
            c.written |= bytes;
        }
    }
    if (kind == Kind::write) t.fenced = false;
}

}  // namespace cuemu::check
#endif
