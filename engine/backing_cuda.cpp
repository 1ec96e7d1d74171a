// GPU memory for an arena: one range of reserved addresses, into which physical memory is mapped chunk by chunk as the
// arena grows. Addresses never move, so captured graphs stay valid, and what is not used is left to others.
#include <cuda.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "engine/backing.h"
#include "engine/context_cuda.h"
#include "engine/device.h"

namespace eng::cuda {
namespace {

constexpr std::size_t kChunk = std::size_t(64) << 20;  // a multiple of every GPU's allocation granularity

// The driver's memory functions, found at run time: the binary starts on machines without a driver.
template <class F> F* entry(const char* name) {
    void* f = nullptr;
    cudaDriverEntryPointQueryResult found;
    CUDA_CHECK(cudaGetDriverEntryPointByVersion(name, &f, 12000, cudaEnableDefault, &found));
    ENG_CHECK(f && found == cudaDriverEntryPointSuccess, "cuda", "this driver has no ", name);
    return reinterpret_cast<F*>(f);
}
struct Driver {
    decltype(&cuMemAddressReserve) reserve = entry<decltype(cuMemAddressReserve)>("cuMemAddressReserve");
    decltype(&cuMemAddressFree) free_addresses = entry<decltype(cuMemAddressFree)>("cuMemAddressFree");
    decltype(&cuMemCreate) create = entry<decltype(cuMemCreate)>("cuMemCreate");
    decltype(&cuMemRelease) release = entry<decltype(cuMemRelease)>("cuMemRelease");
    decltype(&cuMemMap) map = entry<decltype(cuMemMap)>("cuMemMap");
    decltype(&cuMemUnmap) unmap = entry<decltype(cuMemUnmap)>("cuMemUnmap");
    decltype(&cuMemSetAccess) set_access = entry<decltype(cuMemSetAccess)>("cuMemSetAccess");
};
const Driver& driver() {
    static const Driver d;
    return d;
}

class GpuMemory : public Backing {
public:
    explicit GpuMemory(std::size_t capacity) {
        stream();  // a context, or the sentence that says why there is none
        CUDA_CHECK(cudaGetDevice(&location_.id));
        std::size_t free = 0, total = 0;
        CUDA_CHECK(cudaMemGetInfo(&free, &total));
        capacity_ = capacity ? std::min(capacity, total) : free;
        reserved_ = (capacity_ + kChunk - 1) / kChunk * kChunk;
        const CUresult r = driver().reserve(&base_, reserved_, 0, 0, 0);
        ENG_CHECK(r == CUDA_SUCCESS, "arena", "cannot reserve ", reserved_, " bytes of GPU addresses: error ", int(r));
    }
    ~GpuMemory() override {
        cudaStreamSynchronize(stream());
        if (mapped_) driver().unmap(base_, mapped_);
        driver().free_addresses(base_, reserved_);
    }
    std::size_t capacity() const override { return capacity_; }

    char* take(std::size_t offset, std::size_t size, std::size_t) override {
        if (offset + size > reserved_) return nullptr;
        while (mapped_ < offset + size)
            if (!grow()) return nullptr;
        return reinterpret_cast<char*>(base_ + offset);
    }
    void give_back(char*, std::size_t) override {}  // the one compute stream orders the next owner after this one
    void fill(char* p, unsigned char byte, std::size_t n) override { CUDA_CHECK(cudaMemsetAsync(p, byte, n, stream())); }
    std::size_t first_other(const char* p, unsigned char byte, std::size_t n) override {
        std::vector<unsigned char> host(n);
        try {
            transfers.to_host(host.data(), p, n);
        } catch (const Error&) {  // a kernel has faulted, as every call says from now on; an error thrown in a destructor would end the program
            return n;
        }
        return std::size_t(std::find_if(host.begin(), host.end(), [=](unsigned char b) { return b != byte; }) - host.begin());
    }

private:
    bool grow() {
        CUmemAllocationProp prop{};
        prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
        prop.location = location_;
        CUmemGenericAllocationHandle chunk;
        if (driver().create(&chunk, kChunk, &prop, 0) != CUDA_SUCCESS) return false;
        const CUdeviceptr at = base_ + mapped_;
        const CUmemAccessDesc access{location_, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
        const bool ok = driver().map(at, kChunk, 0, chunk, 0) == CUDA_SUCCESS && driver().set_access(at, kChunk, &access, 1) == CUDA_SUCCESS;
        driver().release(chunk);  // the mapping keeps it
        if (ok) mapped_ += kChunk;
        return ok;
    }

    CUmemLocation location_{CU_MEM_LOCATION_TYPE_DEVICE, {0}};
    CUdeviceptr base_ = 0;
    std::size_t capacity_ = 0, reserved_ = 0, mapped_ = 0;
};

// Memory per level of nesting, so that an inner one never moves an outer one. It grows where it stands: a recorded step goes on to use
// the addresses that it was recorded with. Lives as long as the process.
GpuMemory* levels[4];
std::size_t most_asked[std::size(levels)] = {}, scratch_depth = 0;

}  // namespace

std::unique_ptr<Backing> make_backing(std::size_t capacity) { return std::make_unique<GpuMemory>(capacity); }

Scratch::Scratch(std::size_t bytes) {
    ENG_CHECK(scratch_depth < std::size(levels), "scratch", "more than ", std::size(levels), " levels deep");
    GpuMemory*& level = levels[scratch_depth];
    if (!level) level = new GpuMemory(std::numeric_limits<std::size_t>::max());  // addresses for all that there is
    p_ = level->take(0, bytes, bytes);
    ENG_CHECK(p_, "cuda", "out of memory: a kernel needs ", bytes, " bytes beside its tensors");
    most_asked[scratch_depth] = std::max(most_asked[scratch_depth], bytes);
    ++scratch_depth;
}
Scratch::~Scratch() { --scratch_depth; }
std::size_t scratch_peak() { return std::accumulate(std::begin(most_asked), std::end(most_asked), std::size_t(0)); }

}  // namespace eng::cuda
