// Scheduler, barriers, warp operations, launching. Never instrumented by the
// check build: everything here may touch emulator state freely.
#include "cuemu/core.h"

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>

#include "cuemu/check.h"
#include "cuemu/device.h"
#include "cuemu/fiber.h"

#if !CUEMU_UCONTEXT
asm(R"(
.text
.globl cuemu_switch_stack
.type cuemu_switch_stack,@function
cuemu_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmp *%rcx
.size cuemu_switch_stack,.-cuemu_switch_stack
)");
#endif

namespace cuemu {

constinit thread_local Thread* self = nullptr;
constinit thread_local Runner* blk = nullptr;

static constexpr size_t kPage = 4096;
static constexpr size_t kStack = CUEMU_ASAN || CUEMU_CHECK ? 256 * 1024 : 64 * 1024;  // besides a guard page

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

static std::string short_name(const char* pretty) {  // "... [with auto Kernel = NAME]"
    std::string s = pretty;
    size_t b = s.find("Kernel = ");
    if (b == std::string::npos) return s;
    s = s.substr(b + 9);
    s.pop_back();
    return s[0] == '&' ? s.substr(1) : s;
}

std::string context() {
    if (!blk || !blk->launch) return "host code";
    std::string s = "kernel " + short_name(blk->launch->name) +
                    str(", block (%u,%u,%u)", blk->block_idx.x, blk->block_idx.y, blk->block_idx.z);
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
    for (unsigned i = 0; i < nthreads; ++i) {
        const Thread& t = threads[i];
        std::string key;
        if (t.state == Thread::State::done)
            key = "have exited";
        else if (t.wait_mbar)
            key = str("wait for phase parity %u of the mbarrier at shared+0x%zx at %s:%d", t.wait_parity,
                      size_t((const unsigned char*)t.wait_mbar - smem), t.at.file, t.at.line);
        else
            key = str("wait in %s (0x%x) at %s:%d", t.waiting, t.wait_id, t.at.file, t.at.line);
        groups[key].push_back(i);
    }
    std::string s = "deadlock: no thread of the block can go on";
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

static void on_segv(int, siginfo_t* info, void*) {
    fprintf(stderr, "cuemu: invalid address %p in %s\n", info->si_addr, context().c_str());
    if (blk && (char*)info->si_addr >= blk->stacks &&
        (char*)info->si_addr < blk->stacks + kMaxThreads * (kStack + kPage))
        fprintf(stderr, "cuemu: a thread overflowed its %zu KiB stack\n", kStack / 1024);
    signal(SIGSEGV, SIG_DFL);
}

// ---- fibers -----------------------------------------------------------------------
Runner::Runner() {
    size_t bytes = kMaxThreads * (kStack + kPage);
    auto map = [](size_t n) {
        void* p = mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) throw std::bad_alloc();
        return static_cast<char*>(p);
    };
    stacks = map(bytes);
    for (unsigned i = 0; i < kMaxThreads; ++i) {
        threads[i].stack = stacks + i * (kStack + kPage) + kPage;
        mprotect(threads[i].stack - kPage, kPage, PROT_NONE);
    }
    smem = reinterpret_cast<unsigned char*>(map(kSmemSpan));
    check::attach(*this);
}

static void thread_main() {
#if CUEMU_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &blk->sched_stack, &blk->sched_stack_size);
#endif
    blk->launch->body(blk->launch->arg);
    blk->thread_exit(*self);
    blk->suspend();
}

static void resume(Runner& r, Thread& t) {
    self = &t;
    t.state = Thread::State::running;
#if CUEMU_ASAN
    __sanitizer_start_switch_fiber(&r.sched_fake, t.stack, kStack);
#endif
    switch_stack(&r.sched_sp, t.sp);
#if CUEMU_ASAN
    __sanitizer_finish_switch_fiber(r.sched_fake, nullptr, nullptr);
#endif
    self = nullptr;
}

void Runner::suspend() {
    Thread& t = *self;
#if CUEMU_ASAN
    __sanitizer_start_switch_fiber(t.state == Thread::State::done ? nullptr : &t.fake_stack, sched_stack,
                                   sched_stack_size);
#endif
    switch_stack(&t.sp, sched_sp);
#if CUEMU_ASAN
    __sanitizer_finish_switch_fiber(t.fake_stack, &sched_stack, &sched_stack_size);
#endif
}

void Runner::make_ready(Thread& t) {
    t.state = Thread::State::ready;
    t.wait_mbar = nullptr;
    ring[(head + count++) % kMaxThreads] = &t;
}

// Random schedules come in three kinds: any ready thread; the warp or the thread with the
// highest random priority, so that some run far ahead while others starve, which is what
// it takes to see a shared buffer overwritten too early.
Thread& Runner::next_ready() {
    unsigned best = 0;
    if (pick == Pick::any || (pick == Pick::by_priority && rng.below(16) == 0)) {
        best = rng.below(count);
    } else if (pick == Pick::by_priority) {
        for (unsigned i = 1; i < count; ++i)
            if (ring[(head + i) % kMaxThreads]->priority > ring[(head + best) % kMaxThreads]->priority) best = i;
    }
    Thread& t = *ring[(head + best) % kMaxThreads];
    std::swap(ring[head], ring[(head + best) % kMaxThreads]);
    head = (head + 1) % kMaxThreads;
    --count;
    return t;
}

void Runner::block_on(const char* what, unsigned id, Site at) {
    self->state = Thread::State::blocked;
    self->waiting = what;
    self->wait_id = id;
    self->at = at;
    suspend();
}

void yield() {
    if (!self) return;
    blk->make_ready(*self);
    blk->suspend();
}

void Runner::thread_exit(Thread& t) {
    Warp& w = warps[t.warp];
    for (const WarpGroupOp& g : w.open)
        if (g.mask >> t.lane & 1)
            fault("the thread exits, but lanes 0x%08x of its warp wait for it in %s (mask 0x%08x) at %s:%d", g.arrived,
                  g.name, g.mask, g.at.file, g.at.line);
    if (bars[0].arrived && bars[0].expected == nthreads)
        fault("the thread exits, but %u threads of the block wait for it in __syncthreads at %s:%d", bars[0].arrived,
              bars[0].at.file, bars[0].at.line);
    w.exited |= 1u << t.lane;
    --live;
    t.state = Thread::State::done;
}

void Runner::run_block(const LaunchInfo& l, uint3 idx, uint64_t seed) {
    launch = &l;
    block_idx = idx;
    block_dim = l.block;
    grid_dim = l.grid;
    nthreads = live = l.block.x * l.block.y * l.block.z;
    rng.s = seed;
    faulted = internal = false;
    head = count = 0;

    // Shared memory starts as NaNs; outside the dynamic part it is not addressable at all.
    size_t end = kSmemBase + l.dyn_smem;
#if CUEMU_ASAN
    __asan_unpoison_memory_region(smem, kSmemSpan);
#endif
    memset(smem, kPoison, std::max(end, smem_used));
#if CUEMU_ASAN
    __asan_poison_memory_region(smem, kSmemSpan);
    __asan_unpoison_memory_region(smem + kSmemBase, l.dyn_smem);
#endif
    smem_used = end;
    static_bytes = 0;
    statics.clear();
    tma.clear();
    late.clear();
    mbar_waiting.clear();
    async = options().async;
    if (async == Options::Async::random) {  // some blocks all early, some all late, some mixed
        const unsigned kind = rng.below(3);
        async = kind == 0 ? Options::Async::eager : kind == 1 ? Options::Async::lazy : Options::Async::random;
    }
    for (Barrier& b : bars) {
        b.expected = b.arrived = 0;
        b.accumulate = 0;
        b.waiting.clear();
        b.clock = {};
    }
    for (WarpgroupState& g : warpgroups) {
        g.arrived = 0;
        g.queue.clear();
        g.waiting.clear();
    }
    for (unsigned w = 0; w * kWarp < nthreads; ++w) {
        unsigned lanes = std::min(kWarp, nthreads - w * kWarp);
        warps[w].exists = lanes == kWarp ? ~0u : (1u << lanes) - 1;
        warps[w].exited = 0;
        warps[w].open.clear();
    }
    pick = Pick::in_order;
    bool by_warp = false;
    if (options().order == Options::Order::random) {
        const unsigned kind = rng.below(3);
        pick = kind == 0 ? Pick::any : Pick::by_priority;
        by_warp = kind == 1;
    }
    bool backward = options().order == Options::Order::reverse;
    for (unsigned k = 0; k < nthreads; ++k) {
        unsigned i = backward ? nthreads - 1 - k : k;
        Thread& t = threads[i];
        t.thread_idx = {i % l.block.x, i / l.block.x % l.block.y, i / l.block.x / l.block.y};
        t.block_idx = idx;
        t.linear = i;
        t.lane = i % kWarp;
        t.warp = i / kWarp;
        t.priority = unsigned(Rng{seed ^ (by_warp ? t.warp : i) * 0x51ED27u}.next());
        t.cp_groups.clear();
        t.cp_open.clear();
        t.wg_committed = 0;
        t.wg_fence = false;
        t.wg_acc_bytes = 0;
        t.clock = {};
        t.clk = 1;
        t.proxy_epoch = t.proxy_clk = 0;
        t.fenced = false;
        // Spread the starts of the stacks over cache sets.
        t.sp = make_stack(t.stack, kStack - (i % 16) * 192, thread_main);
        make_ready(t);
    }
    blk = this;
    check::block_begin(*this);

    while (live && !faulted) {
        if (count == 0) {  // asynchronous copies land as late as they can: when all threads wait
            if (land_async()) continue;
            fault_text = "cuemu: " + context() + ":\n  " + deadlock_report();
            faulted = true;
            break;
        }
        if (async == Options::Async::random && !tma.empty() && rng.below(8) == 0) land_async();
        resume(*this, next_ready());
    }
    if (!faulted && !tma.empty()) {
        faulted = true;
        fault_text = "cuemu: " + context() + ":\n  the block ends with a TMA load still in flight";
    }
#if CUEMU_ASAN
    __asan_unpoison_memory_region(smem, kSmemSpan);
    if (faulted)  // fibers were abandoned with live frames
        for (unsigned i = 0; i < nthreads; ++i) __asan_unpoison_memory_region(threads[i].stack, kStack);
#endif
    blk = nullptr;
    if (faulted) throw KernelFault(fault_text);
}

// ---- launching --------------------------------------------------------------------
static std::unique_ptr<Runner> borrow(std::unique_ptr<Runner> give_back) {
    static std::mutex m;
    static std::vector<std::unique_ptr<Runner>> pool;
    std::lock_guard lock(m);
    if (give_back) {
        pool.push_back(std::move(give_back));
        return nullptr;
    }
    if (pool.empty()) return std::make_unique<Runner>();
    auto r = std::move(pool.back());
    pool.pop_back();
    return r;
}

void run_grid(const LaunchInfo& l) {
    const uint64_t blocks = uint64_t(l.grid.x) * l.grid.y * l.grid.z;
    const uint64_t threads = uint64_t(l.block.x) * l.block.y * l.block.z;
    auto refuse = [&](const char* why) {
        throw KernelFault("cuemu: launch of " + short_name(l.name) + " refused: " + why);
    };
    if (blocks == 0 || threads == 0) refuse("empty grid or block");
    if (threads > kMaxThreads || l.block.z > 64) refuse("block too large");
    if (l.grid.x > 0x7fffffffu || l.grid.y > 65535 || l.grid.z > 65535) refuse("grid too large");
    if (l.dyn_smem > kMaxDynamicSmem) refuse("more than 227 KiB of dynamic shared memory");
#if !CUEMU_ASAN
    static const bool handler = [] {
        struct sigaction sa = {};
        sa.sa_sigaction = on_segv;
        sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
        return sigaction(SIGSEGV, &sa, nullptr) == 0;
    }();
    (void)handler;
#else
    (void)on_segv;
#endif
    const Options& o = options();
    unsigned workers = o.os_threads ? o.os_threads : std::max(1u, std::thread::hardware_concurrency());
    if (CUEMU_CHECK) workers = 1;  // the checker keeps one history
    workers = unsigned(std::min<uint64_t>(workers, blocks));
    const bool shuffled = o.order == Options::Order::random;
    uint64_t stride = 1, offset = 0;
    if (shuffled) {  // an affine permutation of the blocks
        Rng g{o.seed};
        do stride = 1 + g.next() % blocks;
        while (std::gcd(stride, blocks) != 1);
        offset = g.next() % blocks;
    }
    check::DeviceAccess access;
    check::launch_begin();
    std::atomic<uint64_t> next{0};
    std::mutex m;
    std::exception_ptr error;
    auto work = [&] {
        alignas(16) static thread_local char signal_stack[32 * 1024];
        stack_t ss = {};
        ss.ss_sp = signal_stack;
        ss.ss_size = sizeof signal_stack;
        if (!CUEMU_ASAN) sigaltstack(&ss, nullptr);
        auto runner = borrow(nullptr);
        try {
            for (uint64_t i; (i = next++) < blocks;) {
                uint64_t b = shuffled                             ? (i * stride + offset) % blocks
                             : o.order == Options::Order::reverse ? blocks - 1 - i
                                                                  : i;
                uint3 idx{unsigned(b % l.grid.x), unsigned(b / l.grid.x % l.grid.y), unsigned(b / l.grid.x / l.grid.y)};
                runner->run_block(l, idx, Rng{o.seed * 0x9E3779B9u + b}.next());
            }
        } catch (...) {
            next = blocks;
            std::lock_guard lock(m);
            if (!error) error = std::current_exception();
        }
        borrow(std::move(runner));
    };
    std::vector<std::thread> extra;
    for (unsigned w = 1; w < workers; ++w) extra.emplace_back(work);
    work();
    for (std::thread& t : extra) t.join();
    if (error) std::rethrow_exception(error);
    check_canaries();
}

// ---- shared memory ----------------------------------------------------------------
void* static_smem(const void* key, size_t size, size_t align) {
    Runner& r = *blk;
    for (auto& v : r.statics)
        if (v.key == key) return v.ptr;
    constexpr size_t redzone = 64;
    align = std::max<size_t>(align, 16);
    size_t at = (r.smem_used + redzone + align - 1) / align * align;
    r.static_bytes += size;
    if (r.static_bytes > kMaxStaticSmem) fault("more than 48 KiB of static shared memory");
    r.smem_used = at + size;
#if CUEMU_ASAN
    __asan_unpoison_memory_region(r.smem + at, size);
#endif
    memset(r.smem + at, kPoison, size);
    r.statics.push_back({key, r.smem + at, size});
    return r.smem + at;
}

bool skipped(Site at) {
    const std::string& s = options().skip;
    return !s.empty() && (std::string(at.file) + ":" + std::to_string(at.line)).ends_with(s);
}

// ---- block barriers ---------------------------------------------------------------
static Barrier& bar_join(unsigned id, unsigned n, Site at, const char* name) {
    Runner& r = *blk;
    if (id >= kBarriers) fault("%s: barrier %u does not exist", name, id);
    const bool all = n == 0;
    if (!all && (n % kWarp || n > r.nthreads))
        fault("%s: %u threads on barrier %u of a block of %u", name, n, id, r.nthreads);
    if (all) n = r.nthreads;
    Barrier& b = r.bars[id];
    if (all && r.live < r.nthreads)
        fault("%s at %s:%d cannot complete: %u threads of the block have exited", name, at.file, at.line,
              r.nthreads - r.live);
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
    if (!all) check::release(*self, b.clock);
    ++b.arrived;
    return b;
}

static void bar_complete(Barrier& b, bool all) {
    b.arrived = 0;
    b.result = b.accumulate;
    b.accumulate = 0;
    if (all) check::block_barrier();
    for (Thread* t : b.waiting) {
        if (!all) check::acquire(*t, b.clock);
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
    blk->bars[0].accumulate += value;
    bar_sync(0, 0, at, "__syncthreads_count");
    return blk->bars[0].result;
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
template <class T, class Op>
T atomic_rmw(T* p, T v) {
    atomic_enter(p, CUEMU_PC);
    auto* raw = reinterpret_cast<Raw<T>*>(p);
    Raw<T> old = __atomic_load_n(raw, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(raw, &old, bits<Raw<T>>(T(Op{}(bits<T>(old), v))), true, __ATOMIC_ACQ_REL,
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
#define CUEMU_ATOMICS(T)                  \
    template T atomic_rmw<T, Add>(T*, T); \
    template T atomic_exch<T>(T*, T);
#define CUEMU_INT_ATOMICS(T)              \
    CUEMU_ATOMICS(T)                      \
    template T atomic_rmw<T, Min>(T*, T); \
    template T atomic_rmw<T, Max>(T*, T); \
    template T atomic_rmw<T, Or>(T*, T);  \
    template T atomic_cas<T>(T*, T, T);
CUEMU_ATOMICS(float)
CUEMU_ATOMICS(double)
CUEMU_INT_ATOMICS(int)
CUEMU_INT_ATOMICS(unsigned)
CUEMU_INT_ATOMICS(u64)
template __nv_bfloat16 atomic_rmw<__nv_bfloat16, Add>(__nv_bfloat16*, __nv_bfloat16);
template __nv_bfloat162 atomic_rmw<__nv_bfloat162, Add>(__nv_bfloat162*, __nv_bfloat162);

}  // namespace cuemu
