// Shared memory, barriers, warp operations and atomics.
#include <sanitizer/asan_interface.h>

#include <cstdlib>
#include <cstring>

#include "cuemu/check.h"
#include "cuemu/core.h"
#include "cuemu/device.h"

namespace cuemu {

// ---- shared memory ----------------------------------------------------------------
void* static_smem(const void* key, size_t size, size_t align) {
    Block& r = *self->block;
    for (auto& v : r.statics)
        if (v.key == key) return v.ptr;
    constexpr size_t redzone = 64;
    align = std::max<size_t>(align, 16);
    size_t at = (r.smem_used + redzone + align - 1) / align * align;
    r.static_bytes += size;
    if (r.static_bytes > kMaxStaticSmem) fault("more than 48 KiB of static shared memory");
    if (r.static_bytes + blk->launch->dyn_smem > kMaxDynamicSmem) fault("more than 227 KiB of shared memory, static and dynamic together");
    r.smem_used = at + size;
#if CUEMU_ASAN
    __asan_unpoison_memory_region(r.smem + at, size);
#endif
    memset(r.smem + at, kPoison, size);
    r.statics.push_back({key, r.smem + at, size});
    return r.smem + at;
}

// Without building strings: the linker may take std::string's code from a kernel's object, where the checker watches it.
bool skipped(Site at) {
    const char *skip = options().skip.c_str(), *colon = strrchr(skip, ':');
    if (!colon || atoi(colon + 1) != at.line) return false;
    const size_t n = size_t(colon - skip), whole = strlen(at.file);
    return whole >= n && !memcmp(at.file + whole - n, skip, n);
}

// ---- barriers of a block, of a cluster -------------------------------------------
// Everyone there is ordered by a barrier of the whole block, but where the block is one of a cluster.
static bool orders_all(bool whole_block) { return whole_block && blk->nblocks == 1; }
static Barrier& bar_join(unsigned id, unsigned n, Site at, const char* name) {
    Runner& r = *blk;
    if (id >= kBarriers) fault("%s: barrier %u does not exist", name, id);
    const bool all = n == 0;
    if (!all && (n % kWarp || n > r.nthreads))
        fault("%s: %u threads on barrier %u of a block of %u", name, n, id, r.nthreads);
    if (all) n = r.nthreads;
    Barrier& b = self->block->bars[id];
    if (all && self->block->live < r.nthreads)
        fault("%s at %s:%d cannot complete: %u threads of the block have exited", name, at.file, at.line,
              r.nthreads - self->block->live);
    if (b.arrived == 0) {
        b.expected = n;
        b.at = at;
    } else if (b.expected != n) {
        fault("%s at %s:%d: barrier %u for %u threads, but others use it for %u at %s:%d", name, at.file, at.line, id,
              n, b.expected, b.at.file, b.at.line);
    } else if (all && options().strict && !(b.at == at)) {
        fault("%s at %s:%d, but %u threads of the block wait at another one, %s:%d", name, at.file, at.line, b.arrived,
              b.at.file, b.at.line);
    }
    if (!orders_all(all)) check::release(*self, b.clock);
    ++b.arrived;
    return b;
}

static void bar_complete(Barrier& b, bool all) {
    b.arrived = 0;
    b.result = b.accumulate;
    b.accumulate = 0;
    if (orders_all(all)) check::block_barrier();
    for (Thread* t : b.waiting) {
        if (!orders_all(all)) check::acquire(*t, b.clock);
        blk->make_ready(*t);
    }
    b.waiting.clear();
}

void bar_sync(unsigned id, unsigned n, Site at, const char* name) {
    if (skipped(at)) return;
    Barrier& b = bar_join(id, n, at, name);
    b.waiting.push_back(self);
    if (b.arrived < b.expected) return blk->block_on(name, id, at);
    bar_complete(b, n == 0);  // makes this thread ready too, behind the others
    blk->suspend();
}

void bar_arrive(unsigned id, unsigned n, Site at) {
    Barrier& b = bar_join(id, n, at, "bar.arrive");
    if (b.arrived == b.expected) bar_complete(b, false);
}

int bar_reduce(int value, Site at) {
    Barrier& b = self->block->bars[0];
    b.accumulate += value;
    bar_sync(0, 0, at, "__syncthreads_count");
    return b.result;
}

void cluster_sync(Site at) {
    if (skipped(at)) return;
    Barrier& b = blk->cluster_bar;
    if (b.arrived == 0) b.at = at;
    else if (options().strict && !(b.at == at))
        fault("cluster_sync at %s:%d, but %u threads of the cluster wait at another one, %s:%d", at.file, at.line, b.arrived, b.at.file, b.at.line);
    check::release(*self, b.clock);
    ++b.arrived;
    b.waiting.push_back(self);
    if (b.arrived < blk->live) return blk->block_on("cluster_sync", 0, at);
    blk->cluster_settle();
    blk->suspend();
}
void Runner::cluster_settle() {
    Barrier& b = cluster_bar;
    if (!b.arrived || b.arrived < live) return;
    bar_complete(b, false);
}

void threadfence() { self->fenced = true; }

// ---- warp operations --------------------------------------------------------------
void warp_op(const char* name, unsigned mask, void* payload, WarpFinish finish, Site at) {
    Runner& r = *blk;
    Warp& w = r.warps[self->warp];
    const unsigned bit = 1u << self->lane;
    if (!(mask & bit))
        fault("%s at %s:%d: the calling lane is not in its own mask 0x%08x", name, at.file, at.line, mask);
    if (mask & ~w.exists)
        fault("%s at %s:%d: mask 0x%08x names lanes that do not exist in this block", name, at.file, at.line, mask);
    if (mask & w.exited)
        fault("%s at %s:%d: mask 0x%08x names lanes 0x%08x, which have exited", name, at.file, at.line, mask,
              mask & w.exited);
    if (finish == finish_syncwarp && skipped(at)) return;
    WarpGroupOp* op = nullptr;
    for (WarpGroupOp& g : w.open) {
        const bool same =
            g.mask == mask && g.finish == finish && (g.at == at || finish == finish_syncwarp || !options().strict);
        if (same)
            op = &g;
        else if ((g.arrived & mask) && (g.mask & bit))  // we need them here, they need us there
            fault("%s (mask 0x%08x) at %s:%d, but lanes 0x%08x of the warp wait in %s (mask 0x%08x) at %s:%d", name,
                  mask, at.file, at.line, g.arrived, g.name, g.mask, g.at.file, g.at.line);
    }
    if (!op) op = &w.open.emplace_back(WarpGroupOp{mask, 0, finish, name, at});
    w.payload[self->lane] = payload;
    op->arrived |= bit;
    if (op->arrived != mask) return r.block_on(name, mask, at);
    w.open.erase(w.open.begin() + (op - w.open.data()));
    r.internal = true;
    finish(w.payload, mask);
    r.internal = false;
    Thread* first = &r.threads[self->warp * kWarp];
    for (unsigned l = 0; l < kWarp; ++l)
        if ((mask >> l & 1) && l != self->lane) r.make_ready(first[l]);
    yield();
}

void finish_syncwarp(void* const*, unsigned mask) { check::warp_sync(mask); }

void finish_ballot(void* const* p, unsigned mask) {
    unsigned v = 0;
    for (unsigned l = 0; l < kWarp; ++l)
        if ((mask >> l & 1) && ((Ballot*)p[l])->pred) v |= 1u << l;
    for (unsigned l = 0; l < kWarp; ++l)
        if (mask >> l & 1) ((Ballot*)p[l])->out = v;
}

void shfl_sources(const int* arg, const int* width, Shfl kind, unsigned mask, int* source) {
    for (int l = 0; l < int(kWarp); ++l) {
        if (!(mask >> l & 1)) continue;
        const int w = width[l], base = l & ~(w - 1), end = base + w;
        if (w < 1 || w > 32 || (w & (w - 1))) fault("shuffle width %d is not a power of two up to 32", w);
        int s = kind == Shfl::idx    ? base | (arg[l] & (w - 1))
                : kind == Shfl::up   ? l - arg[l]
                : kind == Shfl::down ? l + arg[l]
                                     : l ^ arg[l];
        if (kind == Shfl::up ? s < base : kind != Shfl::idx && s >= end) s = l;
        if (!(mask >> s & 1)) fault("shuffle: lane %d reads lane %d, which is not in the mask 0x%08x", l, s, mask);
        source[l] = s;
    }
}

// ---- atomics ----------------------------------------------------------------------
// Blocks run on several OS threads, so these are real atomics. Each is a scheduling point,
// so spinning on an atomic makes progress.
template <class T>
using Raw = std::conditional_t<sizeof(T) == 2, uint16_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>;

template <class T>
static void atomic_enter(T* p, const void* pc) {
    if (reinterpret_cast<uintptr_t>(p) % sizeof(T)) fault("misaligned atomic at %p", (void*)p);
    yield();
    check::atomic(p, sizeof(T), pc);
#if CUEMU_ASAN
    if (__asan_region_is_poisoned(p, sizeof(T))) *(volatile char*)p;  // let ASan report it
#endif
}
template <class T>
T atomic_add(T* p, T v) {
    atomic_enter(p, CUEMU_PC);
    auto* raw = reinterpret_cast<Raw<T>*>(p);
    Raw<T> old = __atomic_load_n(raw, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(raw, &old, bits<Raw<T>>(T(bits<T>(old) + v)), true, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED)) {}
    return bits<T>(old);
}
template <class T>
T atomic_exch(T* p, T v) {
    atomic_enter(p, CUEMU_PC);
    return bits<T>(__atomic_exchange_n(reinterpret_cast<Raw<T>*>(p), bits<Raw<T>>(v), __ATOMIC_ACQ_REL));
}
template <class T>
T atomic_cas(T* p, T expect, T v) {
    atomic_enter(p, CUEMU_PC);
    Raw<T> e = bits<Raw<T>>(expect);
    __atomic_compare_exchange_n(reinterpret_cast<Raw<T>*>(p), &e, bits<Raw<T>>(v), false, __ATOMIC_ACQ_REL,
                                __ATOMIC_RELAXED);
    return bits<T>(e);
}
using u64 = unsigned long long;
#define CUEMU_ATOMICS(T)             \
    template T atomic_add<T>(T*, T); \
    template T atomic_exch<T>(T*, T);
#define CUEMU_INT_ATOMICS(T) \
    CUEMU_ATOMICS(T)         \
    template T atomic_cas<T>(T*, T, T);
CUEMU_ATOMICS(float)
CUEMU_ATOMICS(double)
CUEMU_INT_ATOMICS(int)
CUEMU_INT_ATOMICS(unsigned)
CUEMU_INT_ATOMICS(u64)
template __nv_bfloat16 atomic_add<__nv_bfloat16>(__nv_bfloat16*, __nv_bfloat16);
template __nv_bfloat162 atomic_add<__nv_bfloat162>(__nv_bfloat162*, __nv_bfloat162);

}  // namespace cuemu
