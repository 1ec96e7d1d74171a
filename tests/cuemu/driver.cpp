// The virtual memory part of the driver, so that engine/backing_cuda.cpp itself can be tested: an address range without
// access, opened chunk by chunk, from a GPU of 2 GiB.
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include <cstring>

namespace {

constexpr size_t kMemory = size_t(2) << 30;
size_t in_use = 0;

CUresult reserve(CUdeviceptr* p, size_t size, size_t, CUdeviceptr, unsigned long long) {
    void* m = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *p = reinterpret_cast<CUdeviceptr>(m);
    return m == MAP_FAILED ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}
CUresult free_addresses(CUdeviceptr p, size_t size) {
    munmap(reinterpret_cast<void*>(p), size);
    return CUDA_SUCCESS;
}
CUresult create(CUmemGenericAllocationHandle* h, size_t size, const CUmemAllocationProp*, unsigned long long) {
    if (in_use + size > kMemory) return CUDA_ERROR_OUT_OF_MEMORY;
    in_use += size;
    *h = size;
    return CUDA_SUCCESS;
}
CUresult release(CUmemGenericAllocationHandle) { return CUDA_SUCCESS; }
CUresult map(CUdeviceptr, size_t size, size_t, CUmemGenericAllocationHandle h, unsigned long long) {
    return h == size ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
CUresult unmap(CUdeviceptr p, size_t size) {
    mprotect(reinterpret_cast<void*>(p), size, PROT_NONE);
    in_use -= size;
    return CUDA_SUCCESS;
}
CUresult set_access(CUdeviceptr p, size_t size, const CUmemAccessDesc*, size_t) {
    return mprotect(reinterpret_cast<void*>(p), size, PROT_READ | PROT_WRITE) ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

}  // namespace

extern "C" {

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
    *free = kMemory - in_use, *total = kMemory;
    return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** f, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* found) {
    const struct { const char* name; void* f; } table[] = {
        {"cuMemAddressReserve", reinterpret_cast<void*>(reserve)}, {"cuMemAddressFree", reinterpret_cast<void*>(free_addresses)},
        {"cuMemCreate", reinterpret_cast<void*>(create)},          {"cuMemRelease", reinterpret_cast<void*>(release)},
        {"cuMemMap", reinterpret_cast<void*>(map)},                {"cuMemUnmap", reinterpret_cast<void*>(unmap)},
        {"cuMemSetAccess", reinterpret_cast<void*>(set_access)}};
    *f = nullptr;
    for (const auto& e : table)
        if (!strcmp(e.name, name)) *f = e.f;
    *found = *f ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
}

}  // extern "C"
