// The CUDA context of this process: one device, one compute stream for every kernel, one copy stream for batches.
//
//   host bytes -> pinned slot --copy stream--> device slot --compute stream--> tensor
//
// The first hop is a memcpy, the second runs beside the kernels of the step before, the third is a device copy at memory
// speed. Slots form a ring, so a batch is on its way while the previous one computes.
#include <algorithm>

#include "engine/context_cuda.h"
#include "engine/device.h"

namespace eng::cuda {
namespace {

struct Slot {
    void *pinned = nullptr, *device = nullptr;
    cudaEvent_t arrived = nullptr, free = nullptr;  // on the copy stream | on the compute stream
};
constexpr int kSlots = 4;
constexpr std::size_t kSlotBytes = std::size_t(1) << 20;

struct Context {
    cudaStream_t compute = nullptr, copy = nullptr;
    Slot ring[kSlots];
    int next = 0;

    Context() {
        int devices = 0;
        const cudaError_t e = cudaGetDeviceCount(&devices);
        ENG_CHECK(e != cudaErrorInsufficientDriver, "cuda", "no NVIDIA driver that knows CUDA ", CUDART_VERSION / 1000, ".",
                  CUDART_VERSION % 1000 / 10, " is installed on this machine");
        ENG_CHECK(e != cudaErrorNoDevice && (e != cudaSuccess || devices > 0), "cuda", "the NVIDIA driver finds no GPU on this machine");
        CUDA_CHECK(e);
        CUDA_CHECK(cudaSetDevice(default_gpu % devices));
        CUDA_CHECK(cudaStreamCreateWithFlags(&compute, cudaStreamNonBlocking));
        CUDA_CHECK(cudaStreamCreateWithFlags(&copy, cudaStreamNonBlocking));
        for (Slot& s : ring) {
            CUDA_CHECK(cudaMallocHost(&s.pinned, kSlotBytes));
            CUDA_CHECK(cudaMalloc(&s.device, kSlotBytes));
            CUDA_CHECK(cudaEventCreateWithFlags(&s.arrived, cudaEventDisableTiming));
            CUDA_CHECK(cudaEventCreateWithFlags(&s.free, cudaEventDisableTiming));
        }
    }
};
Context& context() {  // lives as long as the process: the driver tears down better than static destructors could
    static Context* c = new Context;
    return *c;
}

void to_device(void* device, const void* host, std::size_t bytes) {
    Context& c = context();
    for (std::size_t at = 0; at < bytes; at += kSlotBytes) {
        const std::size_t n = std::min(kSlotBytes, bytes - at);
        Slot& s = c.ring[c.next++ % kSlots];
        CUDA_CHECK(cudaEventSynchronize(s.free));  // true at once if it was never used
        std::memcpy(s.pinned, static_cast<const char*>(host) + at, n);
        CUDA_CHECK(cudaMemcpyAsync(s.device, s.pinned, n, cudaMemcpyHostToDevice, c.copy));
        CUDA_CHECK(cudaEventRecord(s.arrived, c.copy));
        CUDA_CHECK(cudaStreamWaitEvent(c.compute, s.arrived, 0));
        CUDA_CHECK(cudaMemcpyAsync(static_cast<char*>(device) + at, s.device, n, cudaMemcpyDeviceToDevice, c.compute));
        CUDA_CHECK(cudaEventRecord(s.free, c.compute));
    }
}
void to_host(void* host, const void* device, std::size_t bytes) {
    if (!bytes) return;
    CUDA_CHECK(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, context().compute));
    CUDA_CHECK(cudaStreamSynchronize(context().compute));  // a kernel's fault shows here
}
void on_device(void* to, const void* from, std::size_t bytes) {
    if (bytes) CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, context().compute));
}
void zero(void* p, std::size_t bytes) {
    if (bytes) CUDA_CHECK(cudaMemsetAsync(p, 0, bytes, context().compute));
}

}  // namespace

cudaStream_t stream() { return context().compute; }

const Transfers transfers{to_device, to_host, on_device, zero};

}  // namespace eng::cuda
