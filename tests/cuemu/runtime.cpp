// The few CUDA runtime functions an engine needs, on the CPU. Link this
// instead of libcudart; anything not emulated is a link error, not a surprise.
// Streams are in streams.cpp.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "cuemu/check.h"
#include "cuemu/core.h"

namespace {
using cuemu::fault;
using cuemu::kPoison;

thread_local int device = 0;  // that this host thread has chosen; they differ in name alone

// Device memory starts as NaNs, so a kernel that reads what nobody wrote is noticed.
//   ASan build:  one malloc each; ASan's redzones and quarantine find bad accesses.
//   check build: check.cpp's allocator and per-access tests.
//   plain build: 64-byte canaries on both sides, looked at by cudaFree and after launches.
#if !CUEMU_ASAN && !CUEMU_CHECK
constexpr size_t kCanary = 256;  // keeps the 256-byte alignment of cudaMalloc
std::mutex lock;
std::map<char*, size_t> live;
const char* damage(char* p, size_t n) {
    for (size_t i = 0; i < kCanary; ++i)
        if (p[-1 - ptrdiff_t(i)] != 0x5a) return "before its start";
    for (size_t i = 0; i < kCanary; ++i)
        if (p[n + i] != 0x5a) return "past its end";
    return nullptr;
}
#endif
}  // namespace

namespace cuemu {
// Plain build: throws if any allocation's surroundings were written to.
void check_canaries() {
#if !CUEMU_ASAN && !CUEMU_CHECK
    std::lock_guard g(lock);
    for (auto& [p, n] : live)
        if (const char* where = damage(p, n)) {
            memset(p - kCanary, 0x5a, kCanary);
            memset(p + n, 0x5a, kCanary);
            throw KernelFault("cuemu: a kernel wrote outside a device allocation of " + std::to_string(n) + " bytes, " +
                              where);
        }
#endif
}
void copy(void* dst, const void* src, size_t n) {
    check::DeviceAccess access;
    memcpy(dst, src, n);
#if CUEMU_CHECK
    check::host_wrote(dst, n);
#endif
}
void fill(void* dst, int value, size_t n) {
    check::DeviceAccess access;
    memset(dst, value, n);
#if CUEMU_CHECK
    check::host_wrote(dst, n);
#endif
}
}  // namespace cuemu

// No cudaMemcpy or cudaMemset: they know nothing of a stream that was made non-blocking, as the engine's is.
extern "C" {

cudaError_t cudaMalloc(void** out, size_t n) {
    if (cuemu::recording()) return cudaErrorStreamCaptureUnsupported;
    cuemu::check::DeviceAccess access;
#if CUEMU_CHECK
    *out = cuemu::check::alloc(n);
#elif CUEMU_ASAN
    if (posix_memalign(out, 256, n ? n : 1)) return cudaErrorMemoryAllocation;
#else
    char* base = static_cast<char*>(aligned_alloc(256, (n + 2 * kCanary + 255) / 256 * 256));
    if (!base) return cudaErrorMemoryAllocation;
    memset(base, 0x5a, n + 2 * kCanary);
    *out = base + kCanary;
    std::lock_guard g(lock);
    live[base + kCanary] = n;
#endif
    memset(*out, kPoison, n);
    return cudaSuccess;
}

cudaError_t cudaFree(void* p) {
    if (!p) return cudaSuccess;
    if (cuemu::recording()) return cudaErrorStreamCaptureUnsupported;
    cuemu::catch_up_all();
#if CUEMU_CHECK
    if (!cuemu::check::release_alloc(p)) fault("cudaFree(%p): not a device pointer", p);
#elif CUEMU_ASAN
    free(p);
#else
    std::lock_guard g(lock);
    auto it = live.find(static_cast<char*>(p));
    if (it == live.end()) fault("cudaFree(%p): not a device pointer", p);
    if (const char* where = damage(it->first, it->second)) {
        const size_t n = it->second;
        fault("a kernel wrote outside a device allocation of %zu bytes, %s", n, where);
    }
    free(static_cast<char*>(p) - kCanary);
    live.erase(it);
#endif
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* n) {
    *n = int(cuemu::options().devices);
    return cudaSuccess;
}
cudaError_t cudaSetDevice(int d) {
    if (d < 0 || d >= int(cuemu::options().devices)) return cudaErrorInvalidDevice;
    device = d;
    return cudaSuccess;
}
cudaError_t cudaGetDevice(int* d) {
    *d = device;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int d) {
    *p = {};
    strcpy(p->name, "emulated");
    p->uuid.bytes[0] = char(d);
    return cudaSuccess;
}
cudaError_t cudaMallocHost(void** p, size_t n) {
    *p = malloc(n);
    return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t) { return "(emulated)"; }

}  // extern "C"
