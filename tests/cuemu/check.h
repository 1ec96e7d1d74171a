// Hooks of the access checker (check.cpp). In builds without it they vanish.
#pragma once
#include "cuemu/core.h"

namespace cuemu::check {
#define CUEMU_PC __builtin_extract_return_addr(__builtin_return_address(0))

enum class Proxy { generic, async };
#if CUEMU_CHECK
void attach(Runner&);  // shadow for a runner's shared memory
void launch_begin();
void block_begin(Runner&);
void block_barrier();                 // every thread of the block met
void release(Thread&, Clock&);        // everything t did so far happens before ...
void acquire(Thread&, const Clock&);  // ... whoever acquires the clock
void warp_sync(unsigned mask);
void proxy_fence(Thread&);
void read(const void*, size_t, const void* pc, Proxy = Proxy::generic);
void write(const void*, size_t, const void* pc);
void atomic(const void*, size_t, const void* pc);
void async_begin(const void* dst, size_t, const void* pc);  // undefined until async_end
void async_end(const void* dst, size_t, Thread* waiter);
Clock* mbar_clock(const uint64_t*);
void* alloc(size_t);  // device memory with redzones, never reused
bool release_alloc(void*);
void host_wrote(const void*, size_t);  // cudaMemcpy / cudaMemset
struct DeviceAccess {                  // while one exists device memory can be touched; the host may not
    DeviceAccess();
    ~DeviceAccess();
};
#else
inline void attach(Runner&) {}
inline void launch_begin() {}
inline void block_begin(Runner&) {}
inline void block_barrier() {}
inline void release(Thread&, Clock&) {}
inline void acquire(Thread&, const Clock&) {}
inline void warp_sync(unsigned) {}
inline void proxy_fence(Thread&) {}
inline void read(const void*, size_t, const void*, Proxy = Proxy::generic) {}
inline void write(const void*, size_t, const void*) {}
inline void atomic(const void*, size_t, const void*) {}
inline void async_begin(const void*, size_t, const void*) {}
inline void async_end(const void*, size_t, Thread*) {}
inline Clock* mbar_clock(const uint64_t*) { return nullptr; }
struct DeviceAccess {
    DeviceAccess() {}
};
#endif
}  // namespace cuemu::check
