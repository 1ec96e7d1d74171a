// The access checker.
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
// vector clock for the smaller synchronisations. Blocks run one after another here.
#include "cuemu/check.h"

#if CUEMU_CHECK
#include <link.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <unordered_map>

namespace cuemu::check {

namespace {
constexpr size_t kGranule = 2, kPage = 4096, kArena = size_t(8) << 30;  // of addresses, not of memory
enum : uint16_t { kAtomic = 1, kPending = 2, kAsyncWrite = 4 };         // flags of an Event

struct Event {
    uint32_t epoch = 0, clk = 0, pc = 0;
    uint16_t tid = 0;
    uint8_t flags = 0, bytes = 0;  // bytes: which of the cell's two were touched
};
struct Cell {
    Event w, r;
    uint8_t written = 0;  // which bytes ever were (by this block, for shared memory)
};

struct Alloc {
    char* p;
    size_t n;
    bool freed, all_written;
};
struct AtomicSync {
    Clock clock;
    std::unordered_map<uint32_t, uint32_t> blocks;  // first epoch of a block -> released up to
};

template <class T>
T* reserve(size_t bytes) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    return static_cast<T*>(p);
}

struct State {
    Runner* runner = nullptr;
    uint32_t epoch = 1, block_first = 1, launch_first = 1;
    std::vector<std::pair<uint32_t, uint3>> blocks;   // of this launch, by first epoch
    std::unordered_map<uint32_t, uint32_t> acquired;  // from which blocks, up to which epoch
    std::unordered_map<uintptr_t, AtomicSync> atomics;
    std::unordered_map<const uint64_t*, Clock> mbars;
    Cell* shared = reserve<Cell>(kSmemSpan / kGranule * sizeof(Cell));
    char* arena = reserve<char>(kArena);
    Cell* global = reserve<Cell>(kArena / kGranule * sizeof(Cell));
    uint32_t* page_alloc = reserve<uint32_t>(kArena / kPage * sizeof(uint32_t));
    std::deque<Alloc> allocs{Alloc{}};
    size_t used = kPage;
    int users = 0;  // of device memory
    uintptr_t image = 0, image_end = 0, tls = 0, tls_end = 0;
    unsigned countdown = 1;

    State() {
        dl_iterate_phdr(
            [](dl_phdr_info* i, size_t, void* self) {  // the first one is the program
                auto& s = *static_cast<State*>(self);
                s.image = i->dlpi_addr;
                for (int k = 0; k < i->dlpi_phnum; ++k) {
                    if (i->dlpi_phdr[k].p_type == PT_LOAD)
                        s.image_end =
                            std::max(s.image_end, i->dlpi_addr + i->dlpi_phdr[k].p_vaddr + i->dlpi_phdr[k].p_memsz);
                    if (i->dlpi_phdr[k].p_type == PT_TLS) {
                        s.tls = reinterpret_cast<uintptr_t>(i->dlpi_tls_data);
                        s.tls_end = s.tls + i->dlpi_phdr[k].p_memsz;
                    }
                }
                return 1;
            },
            this);
    }
};
State& st() {
    static State* s = new State;
    return *s;
}

uint32_t short_pc(const void* pc) { return uint32_t(reinterpret_cast<uintptr_t>(pc) - st().image); }

std::string source_line(uint32_t pc) {  // of the kernel, not of the wrapper inlined into it
    char cmd[128], out[512];            // $PPID: the shell's parent is this process
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
    const State& s = st();
    const dim3 d = blk->block_dim;
    std::string t = "thread (" + std::to_string(e.tid % d.x) + "," + std::to_string(e.tid / d.x % d.y) + "," +
                    std::to_string(e.tid / d.x / d.y) + ")";
    if (e.epoch >= s.block_first) return t;
    auto b =
        std::upper_bound(s.blocks.begin(), s.blocks.end(), e.epoch, [](uint32_t v, auto& x) { return v < x.first; });
    const uint3 i = (b - 1)->second;
    return t + " of block (" + std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z) + ")";
}

void fresh(Clock& c) {  // whatever happened in an earlier epoch is ordered anyway
    if (c.epoch == st().epoch && !c.at.empty()) return;
    c.epoch = st().epoch;
    c.at.assign(blk->nthreads, 0);
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

enum class Kind { read, write, atomic };
const char* verb(Kind k) { return k == Kind::read ? "reads" : k == Kind::write ? "writes" : "atomically updates"; }

std::string describe(const void* p, bool shared) {
    char b[160];
    State& s = st();
    if (shared) {
        const size_t off = static_cast<const unsigned char*>(p) - blk->smem;
        if (off >= kSmemBase && off < kSmemBase + blk->launch->dyn_smem)
            snprintf(b, sizeof b, "dynamic shared memory, byte %zu", off - kSmemBase);
        else
            snprintf(b, sizeof b, "static shared memory at shared+0x%zx", off);
        for (auto& v : blk->statics)
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
    if (const size_t off = a - reinterpret_cast<uintptr_t>(r.smem); off < kSmemSpan) {
        shared = true;
        bool ok = off >= kSmemBase && off + n <= kSmemBase + r.launch->dyn_smem;
        for (size_t i = 0; !ok && i < r.statics.size(); ++i)
            ok = ptr >= r.statics[i].ptr && (const unsigned char*)ptr + n <= r.statics[i].ptr + r.statics[i].size;
        if (!ok)
            fault(
                "OUT OF BOUNDS: %s %zu bytes of shared memory at shared+0x%zx, at %s\n    dynamic shared memory is "
                "shared+0x%zx..0x%zx",
                verb(kind), n, off, source_line(short_pc(pc)).c_str(), kSmemBase, kSmemBase + r.launch->dyn_smem);
        cell = s.shared + off / kGranule;
        last = (off + n - 1) / kGranule - off / kGranule;
    } else if (const size_t off = a - reinterpret_cast<uintptr_t>(s.arena); off < kArena) {
        const uint32_t id = s.page_alloc[off / kPage];
        const Alloc& al = s.allocs[id];
        if (!id || (const char*)ptr < al.p || (const char*)ptr + n > al.p + al.n || al.freed) {
            const Alloc& near = id ? al : s.allocs[s.page_alloc[off / kPage - 1]];
            fault("OUT OF BOUNDS: %s %zu bytes at byte %td of %s of %zu bytes, at %s", verb(kind), n,
                  (const char*)ptr - near.p, near.freed ? "a freed device allocation" : "a device allocation", near.n,
                  source_line(short_pc(pc)).c_str());
        }
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

template <class F>
void each_cell(const void* p, size_t n, F f) {  // of shared or device memory already checked
    State& s = st();
    const uintptr_t a = reinterpret_cast<uintptr_t>(p);
    size_t off = a - reinterpret_cast<uintptr_t>(s.runner ? s.runner->smem : nullptr);
    Cell* base = s.shared;
    if (!s.runner || off >= kSmemSpan) off = a - reinterpret_cast<uintptr_t>(s.arena), base = s.global;
    for (size_t g = off / kGranule; g <= (off + n - 1) / kGranule; ++g) f(base[g]);
}

void announced(const void* p, size_t n, Kind k, const void* pc, bool aligned) {  // by the compiler
    if (!self || blk->internal) return;
    if (aligned && reinterpret_cast<uintptr_t>(p) % n)
        fault("MISALIGNED: %s %zu bytes at %p, at %s", verb(k), n, p, source_line(short_pc(pc)).c_str());
    if (unsigned every = options().preempt) {
        State& s = st();
        const uintptr_t a = reinterpret_cast<uintptr_t>(p);
        const bool mine = a - reinterpret_cast<uintptr_t>(s.runner->smem) >= kSmemSpan &&
                          a - reinterpret_cast<uintptr_t>(s.arena) >= kArena;
        if (!mine && --s.countdown == 0) {
            s.countdown = 1 + blk->rng.below(2 * every);
            yield();
        }
    }
    access(p, n, k, pc, Proxy::generic, *self);
}
}  // namespace

// ---- hooks --------------------------------------------------------------------------
void attach(Runner& r) { st().runner = &r; }
void launch_begin() {
    State& s = st();
    s.launch_first = ++s.epoch;
    s.blocks.clear();
    s.atomics.clear();
}
void block_begin(Runner& r) {
    State& s = st();
    s.runner = &r;
    s.block_first = ++s.epoch;
    s.blocks.push_back({s.epoch, r.block_idx});
    s.acquired.clear();
    s.mbars.clear();
}
void block_barrier() { ++st().epoch; }

void release(Thread& t, Clock& c) {
    fresh(c);
    fresh(t.clock);
    for (size_t i = 0; i < c.at.size(); ++i) c.at[i] = std::max(c.at[i], t.clock.at[i]);
    c.at[t.linear] = t.clk++;
}
void acquire(Thread& t, const Clock& c) {
    if (c.epoch != st().epoch) return;
    fresh(t.clock);
    for (size_t i = 0; i < c.at.size(); ++i) t.clock.at[i] = std::max(t.clock.at[i], c.at[i]);
}
void warp_sync(unsigned mask) {
    Clock all;
    Thread* lane = &blk->threads[self->warp * kWarp];
    for (unsigned l = 0; l < kWarp; ++l)
        if (mask >> l & 1) release(lane[l], all);
    for (unsigned l = 0; l < kWarp; ++l)
        if (mask >> l & 1) acquire(lane[l], all);
}
void proxy_fence(Thread& t) {
    t.proxy_epoch = st().epoch;
    t.proxy_clk = t.clk++;
}
Clock* mbar_clock(const uint64_t* bar) { return &st().mbars[bar]; }

void read(const void* p, size_t n, const void* pc, Proxy proxy) {
    if (n) access(p, n, Kind::read, pc, proxy, *self);
}
void write(const void* p, size_t n, const void* pc) { access(p, n, Kind::write, pc, Proxy::generic, *self); }

void atomic(const void* p, size_t n, const void* pc) {
    State& s = st();
    access(p, n, Kind::atomic, pc, Proxy::generic, *self);
    AtomicSync& a = s.atomics[reinterpret_cast<uintptr_t>(p)];
    for (auto [block, upto] : a.blocks) {
        uint32_t& mine = s.acquired[block];
        mine = std::max(mine, upto);
    }
    acquire(*self, a.clock);
    if (self->fenced) {
        release(*self, a.clock);
        a.blocks[s.block_first] = s.epoch;
    }
}

void async_begin(const void* dst, size_t n, const void* pc) {
    write(dst, n, pc);
    each_cell(dst, n, [](Cell& c) { c.w.flags |= kPending | kAsyncWrite; });
}
void async_end(const void* dst, size_t n, Thread* waiter) {
    each_cell(dst, n, [&](Cell& c) {
        c.w.flags &= uint8_t(~kPending);
        if (waiter) c.w.epoch = st().epoch, c.w.clk = waiter->clk;  // cp.async: visible to the waiter from now on
    });
}

// ---- device memory ------------------------------------------------------------------
DeviceAccess::DeviceAccess() {
    if (st().users++ == 0) mprotect(st().arena, st().used, PROT_READ | PROT_WRITE);
}
DeviceAccess::~DeviceAccess() {
    if (--st().users == 0) mprotect(st().arena, st().used, PROT_NONE);
}
void* alloc(size_t n) {
    State& s = st();
    const size_t pages = (std::max<size_t>(n, 1) + kPage - 1) / kPage;
    if (s.used + (pages + 1) * kPage > kArena) throw std::bad_alloc();
    char* p = s.arena + s.used;
    for (size_t i = 0; i < pages; ++i) s.page_alloc[s.used / kPage + i] = uint32_t(s.allocs.size());
    s.allocs.push_back({p, n, false, false});
    s.used += (pages + 1) * kPage;  // one page nobody owns, and addresses are never used again
    return p;
}
bool release_alloc(void* p) {
    State& s = st();
    const size_t off = static_cast<char*>(p) - s.arena;
    if (off >= kArena) return false;
    Alloc& a = s.allocs[s.page_alloc[off / kPage]];
    if (a.p != p || a.freed) return false;
    a.freed = true;
    const size_t bytes = (a.n + kPage - 1) / kPage * kPage;
    madvise(p, bytes, MADV_DONTNEED);
    madvise(s.global + off / kGranule, bytes / kGranule * sizeof(Cell), MADV_DONTNEED);
    return true;
}
void host_wrote(const void* p, size_t n) {
    State& s = st();
    const size_t off = static_cast<const char*>(p) - s.arena;
    if (off >= kArena || !n) return;
    Alloc& a = s.allocs[s.page_alloc[off / kPage]];
    if (a.p == p && a.n == n)
        a.all_written = true;
    else
        each_cell(p, n, [&](Cell& c) {
            c = {};
            c.w.epoch = 1;
            c.written = 3;
        });
}

}  // namespace cuemu::check

// ---- what the compiler calls ---------------------------------------------------------
using cuemu::check::announced;
using cuemu::check::Kind;
extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
#define CUEMU_HOOKS(N)                                                                         \
    void __tsan_read##N(void* p) { announced(p, N, Kind::read, CUEMU_PC, true); }              \
    void __tsan_write##N(void* p) { announced(p, N, Kind::write, CUEMU_PC, true); }            \
    void __tsan_unaligned_read##N(void* p) { announced(p, N, Kind::read, CUEMU_PC, false); }   \
    void __tsan_unaligned_write##N(void* p) { announced(p, N, Kind::write, CUEMU_PC, false); } \
    void __tsan_volatile_read##N(void* p) { announced(p, N, Kind::read, CUEMU_PC, true); }     \
    void __tsan_volatile_write##N(void* p) { announced(p, N, Kind::write, CUEMU_PC, true); }
CUEMU_HOOKS(1)
CUEMU_HOOKS(2)
CUEMU_HOOKS(4)
CUEMU_HOOKS(8)
CUEMU_HOOKS(16)
void __tsan_read_range(void* p, size_t n) { announced(p, n, Kind::read, CUEMU_PC, false); }
void __tsan_write_range(void* p, size_t n) { announced(p, n, Kind::write, CUEMU_PC, false); }
// Function-local statics of host code; kernels must not use C++ atomics (link error).
char __tsan_atomic8_load(const volatile char* p, int) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
}
#endif
