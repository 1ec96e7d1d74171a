// Data structures of the emulator: one block, or the blocks of one cluster, at a time per OS thread,
// one stackful fiber per CUDA thread, cooperative switching at synchronisation.
#pragma once

#include <cuda_runtime_api.h>  // types and host API prototypes only; no GPU or nvcc needed
#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define CUEMU_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUEMU_ASAN 1
#endif
#endif
#ifndef CUEMU_ASAN
#define CUEMU_ASAN 0
#endif
#ifndef CUEMU_CHECK  // 1: kernels are built with -fsanitize=thread against check.cpp
#define CUEMU_CHECK 0
#endif

namespace cuemu {

constexpr unsigned kMaxThreads = 1024, kWarp = 32, kBarriers = 16;  // threads: of a block, here also of all blocks of a cluster
constexpr unsigned kMaxCluster = 8;
constexpr size_t kMaxDynamicSmem = 227 * 1024, kMaxStaticSmem = 48 * 1024;
constexpr size_t kSmemBase = 1024;        // shared address 0..1023 is reserved, as on sm_90
constexpr size_t kSmemSpan = 320 * 1024;  // of a block: dynamic + static + redzones
constexpr unsigned char kPoison = 0xFF;   // 0xFFFF.. is a NaN in fp32, fp16 and bf16

constexpr size_t kPage = 4096;
constexpr size_t kStack = CUEMU_ASAN || CUEMU_CHECK ? 256 * 1024 : 64 * 1024;  // of a fiber, besides a guard page

struct Site {  // where in the kernel a synchronising operation was called
    const char* file = "?";
    int line = 0;
    static constexpr Site here(const char* f = __builtin_FILE(), int l = __builtin_LINE()) { return {f, l}; }
    bool operator==(const Site& o) const { return line == o.line && file == o.file; }
};

// What a test can turn; defaults come from the environment: CUEMU_ORDER, CUEMU_SEED, ...
struct Options {
    enum class Order { forward, reverse, random } order = Order::forward;
    enum class Async { eager, lazy, random } async = Async::lazy;
    uint64_t seed = 1;        // random fiber order, block order, async landing
    unsigned os_threads = 0;  // 0: all cores
    unsigned devices = 1;     // as many GPUs as the runtime says there are; all work alike
    unsigned preempt = 0;     // check build: switch fibers at about 1 in N memory accesses
    bool strict = true;       // different call sites of one barrier or warp operation are an error
    std::string skip;         // "file.cu:12": act as if the barrier or wait there were missing
};
Options& options();

struct KernelFault : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Rng {  // splitmix64
    uint64_t s = 1;
    uint64_t next() {
        uint64_t z = (s += 0x9E3779B97F4A7C15ull);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
        return z ^ (z >> 31);
    }
    unsigned below(unsigned n) { return unsigned((next() >> 32) * n >> 32); }
};

// A vector clock, used by the check build only (see check.cpp).
struct Clock {
    uint32_t epoch = 0;
    std::vector<uint32_t> at;
};

struct CpAsync {
    void* dst;
    const void* src;
    unsigned bytes, src_bytes;
    bool landed;
};

struct Block;
struct Thread {
    uint3 thread_idx{}, block_idx{};
    Block* block = nullptr;
    unsigned linear = 0, lane = 0, warp = 0, priority = 0, rank = 0;  // linear and warp go through all blocks of a cluster
    // fiber
    void* sp = nullptr;
    char* stack = nullptr;
    void* fake_stack = nullptr;
    enum class State : uint8_t { ready, running, blocked, done } state = State::ready;
    // what it is blocked on, for reports and for waking it
    const char* waiting = "";
    Site at;
    unsigned wait_id = 0;  // barrier number, or warp mask
    const uint64_t* wait_mbar = nullptr;
    unsigned wait_parity = 0;
    // asynchronous operations this thread issued
    std::vector<std::vector<CpAsync>> cp_groups;  // committed, oldest first
    std::vector<CpAsync> cp_open;
    unsigned wg_committed = 0;
    bool wg_fence = false;
    bool in_turn = false;  // it has waited for the kernel before
    const float* wg_acc = nullptr;  // accumulators a wgmma may still be writing
    size_t wg_acc_bytes = 0;
    // check build
    Clock clock;
    uint32_t clk = 1, proxy_epoch = 0, proxy_clk = 0;
    bool fenced = false;
};

// A warp-wide operation some lanes have reached and others have not.
using WarpFinish = void (*)(void* const* payload, unsigned mask);
struct WarpGroupOp {
    unsigned mask = 0, arrived = 0;
    WarpFinish finish = nullptr;
    const char* name = "";
    Site at;
};
struct Warp {
    unsigned exists = 0, exited = 0;
    std::vector<WarpGroupOp> open;
    void* payload[kWarp] = {};
};

struct Barrier {
    unsigned expected = 0, arrived = 0;
    int accumulate = 0;  // for __syncthreads_count
    int result = 0;
    Site at;
    std::vector<Thread*> waiting;
    Clock clock;
};

struct TensorMap2D {  // kept inside the 128 opaque bytes of a CUtensorMap
    const unsigned char* base;
    uint64_t rows, cols, row_bytes;
    uint32_t box_rows, box_cols, elem, swizzle;  // swizzle: log2(span / 16 bytes), 0 to 3
};
struct TmaLoad {  // issued, not landed
    unsigned char* dst;
    TensorMap2D map;
    uint64_t* mbar;
    int x, y;
};

struct WgmmaOperand {
    uint64_t desc = 0;
    bool mn_major = false;  // else k is the fast index
    bool operator==(const WgmmaOperand&) const = default;
};
struct Wgmma {  // issued, not completed; registers of the 128 threads of a warpgroup
    int n;
    bool a_in_registers;  // then a's fragments are read when it runs, as late as that may be
    WgmmaOperand a, b;
    bool accumulate;
    unsigned group;
    float* acc[128];
    const unsigned* fragment[128];
    const void* pc;
};
struct WarpgroupState {
    unsigned arrived = 0;
    Wgmma forming{};
    std::vector<Wgmma> queue;
    std::vector<Thread*> waiting;
    Clock clock;  // of the products that are complete: whoever waits for them comes after their reads
};

struct LaunchInfo {
    const char* name;
    dim3 grid, block;
    unsigned cluster;  // blocks side by side along x that run at the same time
    size_t dyn_smem;
    void (*body)(void*);
    void* arg;  // the kernel's parameters
    size_t arg_size;
};

struct Block {
    uint3 idx{};
    unsigned rank = 0, live = 0;  // its place in the cluster; threads that have not ended
    Barrier bars[kBarriers];
    unsigned char* smem = nullptr;  // 1024-aligned, kSmemSpan bytes; [kSmemBase, +dyn) is dynamic
    size_t smem_used = 0, static_bytes = 0;
    struct StaticVar {
        const void* key;
        unsigned char* ptr;
        size_t size;
    };
    std::vector<StaticVar> statics;
    unsigned char* dyn_smem() { return smem + kSmemBase; }
};

// Runs clusters one after another on the calling OS thread; most are of one block.
struct Runner {
    const LaunchInfo* launch = nullptr;
    dim3 block_dim, grid_dim;
    Block blocks[kMaxCluster];
    unsigned nblocks = 1, nthreads = 0, total = 0, live = 0;  // of the cluster; threads of a block, and of all
    Barrier cluster_bar;
    Thread threads[kMaxThreads];
    Warp warps[kMaxThreads / kWarp];
    WarpgroupState warpgroups[kMaxThreads / 128];
    Options::Async async = Options::Async::lazy;
    std::vector<TmaLoad> tma;
    std::vector<Thread*> late;  // in wait_late()
    std::vector<Thread*> mbar_waiting;
    // ready threads: in order a ring, in random schedules a bit for each rank
    Thread* ring[kMaxThreads];
    Thread* by_rank[kMaxThreads];
    uint64_t ready_ranks[kMaxThreads / 64] = {};
    unsigned head = 0, count = 0;
    Rng rng;
    enum class Pick { in_order, any, by_priority } pick = Pick::in_order;
    // fibers
    char* stacks = nullptr;
    void* sched_sp = nullptr;
    void* sched_fake = nullptr;
    const void* sched_stack = nullptr;
    size_t sched_stack_size = 0;
    unsigned char* smem = nullptr;  // of all blocks

    bool internal = false;  // emulator code on behalf of a warp: the check build looks away
    bool faulted = false;
    std::string fault_text;

    Runner();
    void run_cluster(const LaunchInfo&, uint3 first, uint64_t seed);
    void start_thread(unsigned i, unsigned priority);
    void start_threads(uint64_t seed);
    void make_ready(Thread& t);
    Thread& next_ready();
    void suspend();  // called on a fiber: back to the scheduler
    void block_on(const char* what, unsigned id, Site at);
    void thread_exit(Thread& t);
    void cluster_settle();  // lets cluster_sync() pass if all who have not ended are there
    bool land_async();  // tma.cpp: lets one asynchronous operation complete, if any is in flight
    void wait_late();   // called on a fiber, before an asynchronous operation is waited for
    std::string deadlock_report() const;
    Block& block_of(const void* shared) { return blocks[(static_cast<const unsigned char*>(shared) - smem) / kSmemSpan]; }
};

extern constinit thread_local Thread* self;  // the CUDA thread now running, or null on the host
extern constinit thread_local Runner* blk;

[[noreturn]] void fault(const char* fmt, ...) __attribute__((format(printf, 1, 2)));
void yield();
std::string short_name(const char* pretty);  // of a kernel, from its __PRETTY_FUNCTION__
std::string context();  // "kernel k, block (..), thread (..)" or "host code"

// Host entry: runs the grid; throws KernelFault.
void run_grid(const LaunchInfo&);
void launch(cudaStream_t, std::function<void()> grid);  // streams.cpp: after what the stream was given, or into the graph being recorded
bool recording();  // streams.cpp: a graph, which refuses to allocate
void catch_up(cudaStream_t);  // streams.cpp: everything that the stream was given has happened
void catch_up_all();
std::vector<std::string> launched_kernels();  // by this process so far, with their template arguments
void copy(void* dst, const void* src, size_t n);  // runtime.cpp: by a stream, or by the host
void fill(void* dst, int value, size_t n);
void check_canaries();

// Kernel-side primitives (device.h and ptx.h give them their CUDA names).
void* static_smem(const void* key, size_t size, size_t align);
void bar_sync(unsigned id, unsigned nthreads, Site at, const char* name);
void bar_arrive(unsigned id, unsigned nthreads, Site at);
int bar_reduce(int value, Site at);  // __syncthreads_count
void cluster_sync(Site at);
void warp_op(const char* name, unsigned mask, void* payload, WarpFinish finish, Site at);
void threadfence();
bool skipped(Site at);

}  // namespace cuemu
