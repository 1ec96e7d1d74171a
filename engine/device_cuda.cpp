// The CUDA context of this process: one device, one compute stream for every kernel, one copy stream for batches.
//
//   host bytes -> pinned ring --copy stream--> device ring --compute stream--> tensor
//
// The first hop is a memcpy, the second runs beside the kernels of the step before, the third is a device copy at memory
// speed: what is uploaded while a step computes is on the device before the step ends. The host waits only when it is a
// whole ring ahead.
#include <algorithm>
#include <cstring>
#include <deque>
#include <optional>
#include <vector>

#include "engine/context_cuda.h"
#include "engine/device.h"

namespace eng::cuda {
namespace {

#ifdef SCVD_EMULATED  // so small that it goes round in every test
constexpr std::size_t kRing = std::size_t(4) << 20;
#else
constexpr std::size_t kRing = std::size_t(64) << 20;  // three batches of 128 pictures of 384 x 128
#endif
constexpr std::size_t kPiece = kRing / 16;  // of a large upload: the second is packed while the first travels
constexpr std::size_t kMostPieces = 256;    // two events each

// Pinned memory and its mirror on the device, handed out in a circle.
class Ring {
public:
    struct Piece {
        std::size_t at = 0;
        cudaEvent_t arrived = nullptr, used = nullptr;  // on the copy stream | on the compute stream
    };
    Ring() {
        CUDA_CHECK(cudaMallocHost(&pinned_, kRing));
        CUDA_CHECK(cudaMalloc(&device_, kRing));
    }
    // The next n bytes; whoever had them before is done with them. Both events are to be recorded before the next call.
    const Piece& next(std::size_t n) {
        if (at_ + n > kRing) {  // leaves the circle's end empty
            while (!busy_.empty() && busy_.front().at >= at_) release_oldest();
            at_ = 0;
        }
        if (busy_.size() >= kMostPieces) release_oldest();
        const std::size_t end = at_ + (n + 255) / 256 * 256;
        while (!busy_.empty() && busy_.front().at >= at_ && busy_.front().at < end) release_oldest();
        if (spare_.empty()) {
            Piece& fresh = spare_.emplace_back();
            CUDA_CHECK(cudaEventCreateWithFlags(&fresh.arrived, cudaEventDisableTiming));
            CUDA_CHECK(cudaEventCreateWithFlags(&fresh.used, cudaEventDisableTiming));
        }
        Piece p = spare_.back();
        spare_.pop_back();
        p.at = at_, at_ = end;
        return busy_.emplace_back(p);
    }
    char* pinned(const Piece& p) const { return static_cast<char*>(pinned_) + p.at; }
    char* device(const Piece& p) const { return static_cast<char*>(device_) + p.at; }

private:
    void release_oldest() {
        CUDA_CHECK(cudaEventSynchronize(busy_.front().used));
        spare_.push_back(busy_.front());
        busy_.pop_front();
    }
    void *pinned_ = nullptr, *device_ = nullptr;
    std::size_t at_ = 0;
    std::deque<Piece> busy_;    // the oldest in front, which follows at_ in the circle
    std::vector<Piece> spare_;  // events to use again
};

struct Context {
    cudaStream_t compute = nullptr, copy = nullptr;
    std::optional<Ring> ring;

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
        ring.emplace();
    }
};
Context& context() {  // lives as long as the process: the driver tears down better than static destructors could
    static Context* c = new Context;
    return *c;
}

void to_device(void* device, const void* host, std::size_t bytes) {
    Context& c = context();
    for (std::size_t at = 0; at < bytes; at += kPiece) {
        const std::size_t n = std::min(kPiece, bytes - at);
        const Ring::Piece& p = c.ring->next(n);
        std::memcpy(c.ring->pinned(p), static_cast<const char*>(host) + at, n);
        CUDA_CHECK(cudaMemcpyAsync(c.ring->device(p), c.ring->pinned(p), n, cudaMemcpyHostToDevice, c.copy));
        CUDA_CHECK(cudaEventRecord(p.arrived, c.copy));
        CUDA_CHECK(cudaStreamWaitEvent(c.compute, p.arrived, 0));
        CUDA_CHECK(cudaMemcpyAsync(static_cast<char*>(device) + at, c.ring->device(p), n, cudaMemcpyDeviceToDevice, c.compute));
        CUDA_CHECK(cudaEventRecord(p.used, c.compute));
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
