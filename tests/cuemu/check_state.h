#pragma once
// What the access checker remembers: the last write and the last read of every two bytes, and who is ordered with whom.
#include "cuemu/check.h"

#if CUEMU_CHECK
#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <unordered_map>
#include <vector>

namespace cuemu::check {

constexpr size_t kGranule = 2, kArena = size_t(8) << 30;         // of addresses, not of memory
enum : uint16_t { kAtomic = 1, kPending = 2, kAsyncWrite = 4 };  // flags of an Event

struct Event {
    uint32_t epoch = 0, clk = 0, pc = 0;
    uint16_t tid = 0;
    uint8_t flags = 0;
    uint8_t bytes : 4 = 0, written : 4 = 0;  // which of the cell's two were touched; of a write, which ever were (by this block, for shared memory)
};
struct alignas(32) Cell {  // what four bytes need is one line of a cache, where nearly all of the checker's time goes
    Event w, r;
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
    Cell* shared = reserve<Cell>(kMaxCluster * kSmemSpan / kGranule * sizeof(Cell));
    char* arena = reserve<char>(kArena);
    Cell* global = reserve<Cell>(kArena / kGranule * sizeof(Cell));
    uint32_t* page_alloc = reserve<uint32_t>(kArena / kPage * sizeof(uint32_t));
    std::vector<Alloc> allocs{Alloc{}};
    size_t used = kPage;
    int users = 0;  // of device memory
    uintptr_t image = 0, image_end = 0, tls = 0, tls_end = 0;
    unsigned preempt = 0, countdown = 1;  // of what the compiler announces a thread gives way every `preempt`th time or so, none if 0

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
inline State& st() {
    static State* s = new State;
    return *s;
}

#define FAULT [[noreturn, gnu::cold, gnu::noinline]] void
enum class Kind { read, write, atomic };
const char* verb(Kind);
uint32_t short_pc(const void* pc);
std::string source_line(uint32_t pc);
void fresh(Clock&);  // whatever happened in an earlier epoch is ordered anyway
inline bool local(const void* p, const Thread& t) { return reinterpret_cast<uintptr_t>(p) - reinterpret_cast<uintptr_t>(t.stack) < kStack; }
// Thread t touches n bytes: checks bounds, initialisation and order, and remembers. Faults name both source lines.
void access(const void* ptr, size_t n, Kind, const void* pc, Proxy, Thread& t);

template <class F>
void each_cell(const void* p, size_t n, F f) {  // of shared or device memory already checked
    State& s = st();
    const uintptr_t a = reinterpret_cast<uintptr_t>(p);
    size_t off = a - reinterpret_cast<uintptr_t>(s.runner ? s.runner->smem : nullptr);
    Cell* base = s.shared;
    if (!s.runner || off >= kMaxCluster * kSmemSpan) off = a - reinterpret_cast<uintptr_t>(s.arena), base = s.global;
    for (size_t g = off / kGranule; g <= (off + n - 1) / kGranule; ++g) f(base[g]);
}

}  // namespace cuemu::check
#endif
