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

// For finding out whose fault something is: SCVD_HOPPER=0 goes without TMA and wgmma, SCVD_CLUSTERS=0 without pairs of blocks.
inline bool hopper_is_wanted() { return !environment_says("SCVD_HOPPER", "0"); }
inline bool clusters_are_wanted() { return !environment_says("SCVD_CLUSTERS", "0"); }
inline const Chip& chip() {
#if GPU_EMULATED
    static const Chip c{kFewSms, 227 * 1024, hopper_is_wanted(), kSmallL2, clusters_are_wanted()};
#else
    static const Chip c = [] {
        int device = 0, sms = 0, smem = 0, major = 0, l2 = 0;
        CUDA_CHECK(cudaGetDevice(&device));
        CUDA_CHECK(cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device));
        CUDA_CHECK(cudaDeviceGetAttribute(&smem, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
        CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
        CUDA_CHECK(cudaDeviceGetAttribute(&l2, cudaDevAttrL2CacheSize, device));
        if (environment_says("SCVD_SMALL_CARD", "1")) sms = kFewSms, l2 = kSmallL2;
        return Chip{sms, std::size_t(smem), major == 9 && hopper_is_wanted(), std::size_t(l2), major == 9 && sms > 1 && clusters_are_wanted()};
    }();
#endif
    return c;
}

}  // namespace eng::cuda
