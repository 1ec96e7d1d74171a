#pragma once
// What the launchers ask of the card: how many blocks fill it, and which instructions it has.
#include "ops/cuda/gpu.h"

namespace eng::cuda {

struct Chip {
    int sms = 0;           // multiprocessors
    std::size_t smem = 0;  // bytes of shared memory that one block may have
    bool hopper = false;   // TMA and wgmma: compute capability 9.x
    std::size_t l2 = 0;    // bytes of the cache that all multiprocessors share
    bool clusters = false; // blocks may be launched in pairs
};

// So small that kernels go round more than once: the emulator's card, and for tests SCVD_SMALL_CARD=1 on a real one.
constexpr int kFewSms = 2, kSmallL2 = 8 * 1024;

inline bool clusters_are_wanted() {  // unless SCVD_CLUSTERS=0, for finding out whose fault something is
    return !environment_says("SCVD_CLUSTERS", "0");
}
inline const Chip& chip() {
#if GPU_EMULATED
    static const Chip c{kFewSms, 227 * 1024, true, kSmallL2, clusters_are_wanted()};
#else
    static const Chip c = [] {
        int device = 0, sms = 0, smem = 0, major = 0, l2 = 0;
        CUDA_CHECK(cudaGetDevice(&device));
        CUDA_CHECK(cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device));
        CUDA_CHECK(cudaDeviceGetAttribute(&smem, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
        CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
        CUDA_CHECK(cudaDeviceGetAttribute(&l2, cudaDevAttrL2CacheSize, device));
        if (environment_says("SCVD_SMALL_CARD", "1")) sms = kFewSms, l2 = kSmallL2;
        return Chip{sms, std::size_t(smem), major == 9, std::size_t(l2), major == 9 && sms > 1 && clusters_are_wanted()};
    }();
#endif
    return c;
}

}  // namespace eng::cuda
