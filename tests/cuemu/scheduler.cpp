// Fibers and the scheduler: one cluster of blocks at a time, a fiber for each thread.
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "cuemu/check.h"
#include "cuemu/core.h"
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
    smem = reinterpret_cast<unsigned char*>(map(kMaxCluster * kSmemSpan));
    for (unsigned b = 0; b < kMaxCluster; ++b) blocks[b].rank = b, blocks[b].smem = smem + b * kSmemSpan;
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
    if (pick == Pick::in_order) ring[(head + count) % kMaxThreads] = &t;
    else ready_ranks[t.rank / 64] |= uint64_t(1) << t.rank % 64;
    ++count;
}

// Random schedules come in three kinds: any ready thread; the warp or the thread with the
// highest random priority, so that some run far ahead while others starve, which is what
// it takes to see a shared buffer overwritten too early. Ready threads are bits in the
// order of their rank: the first bit has the highest priority.
Thread& Runner::next_ready() {
    --count;
    if (pick == Pick::in_order) {
        Thread& t = *ring[head];
        head = (head + 1) % kMaxThreads;
        return t;
    }
    unsigned skip = pick == Pick::any || rng.below(16) == 0 ? rng.below(count + 1) : 0, w = 0;
    for (unsigned n; (n = unsigned(__builtin_popcountll(ready_ranks[w]))) <= skip; ++w) skip -= n;
    uint64_t bits = ready_ranks[w];
    for (; skip; --skip) bits &= bits - 1;
    const unsigned bit = unsigned(__builtin_ctzll(bits));
    ready_ranks[w] &= ~(uint64_t(1) << bit);
    return *by_rank[w * 64 + bit];
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
    if (const Barrier& all = t.block->bars[0]; all.arrived && all.expected == nthreads)
        fault("the thread exits, but %u threads of the block wait for it in __syncthreads at %s:%d", all.arrived, all.at.file, all.at.line);
    if (!t.in_turn) fault("the thread exits without in_turn(): the next kernel would not know that the one before this has ended");
    w.exited |= 1u << t.lane;
    --live, --t.block->live;
    t.state = Thread::State::done;
    cluster_settle();
}

// Shared memory starts as NaNs; outside the dynamic part it is not addressable at all.
static void start_block(Block& b, uint3 idx, const Runner& r) {
    const size_t end = kSmemBase + r.launch->dyn_smem;
#if CUEMU_ASAN
    __asan_unpoison_memory_region(b.smem, kSmemSpan);
#endif
    memset(b.smem, kPoison, std::max(end, b.smem_used));
#if CUEMU_ASAN
    __asan_poison_memory_region(b.smem, kSmemSpan);
    __asan_unpoison_memory_region(b.dyn_smem(), r.launch->dyn_smem);
#endif
    b.idx = idx;
    b.live = r.nthreads;
    b.smem_used = end;
    b.static_bytes = 0;
    b.statics.clear();
    for (Barrier& bar : b.bars) bar = {};
}

void Runner::start_thread(unsigned i, unsigned priority) {
    const unsigned in_block = i % nthreads;
    Thread& t = threads[i];
    t.block = &blocks[i / nthreads];
    t.block_idx = t.block->idx;
    t.thread_idx = {in_block % block_dim.x, in_block / block_dim.x % block_dim.y, in_block / block_dim.x / block_dim.y};
    t.linear = i;
    t.lane = i % kWarp;
    t.warp = i / kWarp;
    t.priority = priority;
    t.cp_groups.clear();
    t.cp_open.clear();
    t.wg_committed = 0;
    t.wg_fence = t.in_turn = false;
    t.wg_acc_bytes = 0;
    t.clock = {};
    t.clk = 1;
    t.proxy_epoch = t.proxy_clk = 0;
    t.fenced = false;
    // Spread the starts of the stacks over cache sets.
    t.sp = make_stack(t.stack, kStack - (i % 16) * 192, thread_main);
}

void Runner::start_threads(uint64_t seed) {
    pick = Pick::in_order;
    unsigned together = 1;  // threads of one priority: one, a warp, a block of several
    if (options().order == Options::Order::random) {
        const unsigned kind = rng.below(3);
        pick = kind == 0 ? Pick::any : Pick::by_priority;
        if (kind == 1) together = nblocks > 1 && rng.below(2) ? nthreads : kWarp;
    }
    for (unsigned w = 0; w * kWarp < total; ++w) {
        const unsigned lanes = std::min(kWarp, total - w * kWarp);
        warps[w].exists = lanes == kWarp ? ~0u : (1u << lanes) - 1;
        warps[w].exited = 0;
        warps[w].open.clear();
    }
    for (unsigned i = 0; i < total; ++i) {
        start_thread(i, unsigned(Rng{seed ^ i / together * 0x51ED27u}.next()));
        by_rank[i] = &threads[i];
    }
    if (pick == Pick::by_priority)
        std::sort(by_rank, by_rank + total, [](const Thread* x, const Thread* y) {
            return std::pair(y->priority, x->linear) < std::pair(x->priority, y->linear);
        });
    for (unsigned i = 0; i < total; ++i) by_rank[i]->rank = i;
    std::fill(std::begin(ready_ranks), std::end(ready_ranks), 0);
    head = count = 0;
    const bool backward = options().order == Options::Order::reverse;
    for (unsigned k = 0; k < total; ++k) make_ready(threads[backward ? total - 1 - k : k]);
}

void Runner::run_cluster(const LaunchInfo& l, uint3 first, uint64_t seed) {
    launch = &l;
    block_dim = l.block;
    grid_dim = l.grid;
    nblocks = l.cluster;
    nthreads = l.block.x * l.block.y * l.block.z;
    total = live = nblocks * nthreads;
    rng.s = seed;
    faulted = internal = false;
    cluster_bar = {};
    tma.clear();
    late.clear();
    mbar_waiting.clear();
    async = options().async;
    if (async == Options::Async::random) {  // some blocks all early, some all late, some mixed
        const unsigned kind = rng.below(3);
        async = kind == 0 ? Options::Async::eager : kind == 1 ? Options::Async::lazy : Options::Async::random;
    }
    for (WarpgroupState& g : warpgroups) {
        g.arrived = 0;
        g.queue.clear();
        g.waiting.clear();
    }
    for (unsigned b = 0; b < nblocks; ++b) start_block(blocks[b], {first.x + b, first.y, first.z}, *this);
    start_threads(seed);
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
    __asan_unpoison_memory_region(smem, nblocks * kSmemSpan);
    if (faulted)  // fibers were abandoned with live frames
        for (unsigned i = 0; i < total; ++i) __asan_unpoison_memory_region(threads[i].stack, kStack);
#endif
    blk = nullptr;
    if (faulted) throw KernelFault(fault_text);
}

}  // namespace cuemu
