// Launching: the blocks of a grid, or its clusters of blocks, over OS threads, in the order that the options ask for.
#include <signal.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

#include "cuemu/check.h"
#include "cuemu/core.h"

namespace cuemu {

static void on_segv(int, siginfo_t* info, void*) {
    fprintf(stderr, "cuemu: invalid address %p in %s\n", info->si_addr, context().c_str());
    if (blk && (char*)info->si_addr >= blk->stacks &&
        (char*)info->si_addr < blk->stacks + kMaxThreads * (kStack + kPage))
        fprintf(stderr, "cuemu: a thread overflowed its %zu KiB stack\n", kStack / 1024);
    signal(SIGSEGV, SIG_DFL);
}

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

static std::mutex launched_lock;
static std::set<std::string> launched;
std::vector<std::string> launched_kernels() {
    std::lock_guard g(launched_lock);
    return {launched.begin(), launched.end()};
}

static void refuse_the_impossible(const LaunchInfo& l, uint64_t threads) {
    auto refuse = [&](const char* why) {
        throw KernelFault("cuemu: launch of " + short_name(l.name) + " refused: " + why);
    };
    if (!l.grid.x || !l.grid.y || !l.grid.z || !threads) refuse("empty grid or block");
    if (threads > kMaxThreads || l.block.z > 64) refuse("block too large");
    if (l.grid.x > 0x7fffffffu || l.grid.y > 65535 || l.grid.z > 65535) refuse("grid too large");
    if (l.dyn_smem > kMaxDynamicSmem) refuse("more than 227 KiB of dynamic shared memory");
    if (l.cluster == 0 || l.cluster > kMaxCluster) refuse("clusters have 1 to 8 blocks");
    if (l.grid.x % l.cluster) refuse("the grid is not made of whole clusters");
    if (l.cluster > 1 && (threads % 128 || l.cluster * threads > kMaxThreads)) refuse("no twin of clusters but of whole warpgroups and 1024 threads");
}

static void catch_segv() {
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
}

// The order in which a grid's clusters begin: forward, in reverse, or by an affine permutation.
struct Order {
    uint64_t n, stride = 1, offset = 0;
    Order(const Options& o, uint64_t clusters) : n(clusters) {
        if (o.order == Options::Order::reverse) stride = offset = n - 1;
        if (o.order != Options::Order::random) return;
        Rng g{o.seed};
        do stride = 1 + g.next() % n;
        while (std::gcd(stride, n) != 1);
        offset = g.next() % n;
    }
    uint64_t operator[](uint64_t i) const { return (i * stride + offset) % n; }
};

void run_grid(const LaunchInfo& l) {
    {
        std::lock_guard g(launched_lock);
        launched.insert(short_name(l.name));
    }
    const uint64_t threads = uint64_t(l.block.x) * l.block.y * l.block.z;
    refuse_the_impossible(l, threads);
    catch_segv();
    const Options& o = options();
    const uint64_t wide = l.grid.x / l.cluster, clusters = wide * l.grid.y * l.grid.z;
    const Order order(o, clusters);
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
            for (uint64_t i; (i = next++) < clusters;) {
                const uint64_t c = order[i];
                uint3 first{unsigned(c % wide) * l.cluster, unsigned(c / wide % l.grid.y), unsigned(c / wide / l.grid.y)};
                runner->run_cluster(l, first, Rng{o.seed * 0x9E3779B9u + c}.next());
            }
        } catch (...) {
            next = clusters;
            std::lock_guard lock(m);
            if (!error) error = std::current_exception();
        }
        borrow(std::move(runner));
    };
    unsigned workers = o.os_threads ? o.os_threads : std::max(1u, std::thread::hardware_concurrency());
    if (CUEMU_CHECK) workers = 1;  // the checker keeps one history
    std::vector<std::thread> extra;
    for (unsigned w = 1; w < std::min<uint64_t>(workers, clusters); ++w) extra.emplace_back(work);
    work();
    for (std::thread& t : extra) t.join();
    if (error) std::rethrow_exception(error);
    check_canaries();
}

}  // namespace cuemu
