// The access checker's way in: hooks that the emulator calls, its device memory, and the callbacks that g++ plants.
#include <cstring>

#include "cuemu/check_state.h"

#if CUEMU_CHECK
namespace cuemu::check {

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
    s.blocks.push_back({s.epoch, r.blocks[0].idx});
    s.acquired.clear();
    s.mbars.clear();
    s.preempt = options().preempt;
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
            c.w.written = 3;
        });
}

namespace {
FAULT misaligned(const void* p, size_t n, Kind k, const void* pc) {
    fault("MISALIGNED: %s %zu bytes at %p, at %s", verb(k), n, p, source_line(short_pc(pc)).c_str());
}
FAULT of_another_block(size_t n, Kind k, const void* pc) {
    fault("OUT OF BOUNDS: %s %zu bytes of another block's shared memory, at %s", verb(k), n, source_line(short_pc(pc)).c_str());
}

void announced(const void* p, size_t n, Kind k, const void* pc, bool aligned) {  // by the compiler
    Thread* t = self;
    if (!t || blk->internal) return;
    const uintptr_t a = reinterpret_cast<uintptr_t>(p);
    if (aligned && a & (n - 1)) misaligned(p, n, k, pc);
    if (local(p, *t) && !t->wg_acc_bytes) return;  // most of what there is
    State& s = st();
    const size_t at = a - reinterpret_cast<uintptr_t>(blk->smem);
    if (s.preempt && (at < kMaxCluster * kSmemSpan || a - reinterpret_cast<uintptr_t>(s.arena) < kArena) && --s.countdown == 0) {
        s.countdown = 1 + blk->rng.below(2 * s.preempt);
        yield();
    }
    if (at < kMaxCluster * kSmemSpan && &blk->block_of(p) != t->block) of_another_block(n, k, pc);
    access(p, n, k, pc, Proxy::generic, *t);
}

}  // namespace

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
