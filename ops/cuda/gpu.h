#pragma once
// The one header that every .cu file includes. The same kernel source is compiled twice: by nvcc into device code, and
// by g++ (-x c++) into host functions that the emulator in tests/cuemu runs under sanitizers and random schedules.
// Whatever differs between the two lives here and in ptx.h; docs/cuda.md has the rules for kernels.
#include "engine/context_cuda.h"
#include "engine/environment.h"

#if defined(__CUDACC__)  // nvcc ------------------------------------------------------------------------------------

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

#define GPU_EMULATED 0
#define GPU_SITE       // last parameter of a wrapper in ptx.h: under the emulator the caller's file and line
#define GPU_SITE_ONLY  // under nvcc nothing

// Statically sized shared array: GPU_SHARED(tile, float[32][33]);
#define GPU_SHARED(name, ...) __shared__ std::type_identity_t<__VA_ARGS__> name
// Pointer to the dynamic shared memory of the launch: GPU_DYN_SHARED(char, smem);
#define GPU_DYN_SHARED(T, name)                                        \
    extern __shared__ __align__(1024) unsigned char gpu_dyn_shared_[]; \
    T* name = reinterpret_cast<T*>(gpu_dyn_shared_)

namespace eng::cuda {
template <auto Kernel> cudaFuncAttributes attributes_of() {
    cudaFuncAttributes of{};
    CUDA_CHECK(cudaFuncGetAttributes(&of, Kernel));
    return of;
}
// What Kernel's code on this card was made from: below 90 the driver has translated the code for older cards, which has
// neither Hopper's instructions nor a wait in in_turn().
template <auto Kernel> int ptx_version() { return attributes_of<Kernel>().ptxVersion; }
// SCVD_EARLY_LAUNCH=0 launches each kernel in its turn, for finding out whose fault something is.
template <auto Kernel> bool launches_early() {
    return !environment_says("SCVD_EARLY_LAUNCH", "0") && ptx_version<Kernel>() >= 90;
}
}  // namespace eng::cuda

#else  // emulator --------------------------------------------------------------------------------------------------

#define GPU_EMULATED 1
#include "cuemu/device.h"

#endif

namespace eng::cuda {

struct Launch {
    dim3 grid, block;
    std::size_t smem = 0;  // dynamic shared memory, up to 227 KiB
    unsigned cluster = 1;  // blocks side by side along x that run at the same time; more than one from sm_90 on
};

#if !GPU_EMULATED
// Names the kernel that was to be launched. What an earlier one has done wrong may be found here too; with CUDA_LAUNCH_BLOCKING=1 it is this one.
[[noreturn]] inline void launch_failed(const void* kernel, const Launch& cfg, cudaError_t e) {
    const char* name = "?";
    cudaFuncGetName(&name, kernel);
    fail("cuda", name, " in ", cfg.grid.x, "x", cfg.grid.y, "x", cfg.grid.z, " blocks of ", cfg.block.x, " threads with ", cfg.smem, " bytes", environment_says("CUDA_LAUNCH_BLOCKING", "1") ? ": " : ", or a kernel before it: ", cudaGetErrorString(e));
}
#endif

// Runs Kernel on the compute stream; an empty grid is no launch. The only way to start a kernel.
template <auto Kernel, class... Args>
void launch(const Launch& cfg, Args&&... args) {
    if (cfg.grid.x == 0 || cfg.grid.y == 0 || cfg.grid.z == 0) return;
#if GPU_EMULATED
    cuemu::launch(stream(), [cfg, invoke = cuemu::Invoke<Kernel>{{std::forward<Args>(args)...}}]() mutable {
        cuemu::run_grid({cuemu::kernel_name<Kernel>(), cfg.grid, cfg.block, cfg.cluster, cfg.smem, &cuemu::Invoke<Kernel>::call, &invoke, sizeof invoke});
    });
#else
    // Without asking: 48 KB less what the kernel has of its own. More has to be asked for; how much there is depends on card and kernel.
    static const cudaFuncAttributes of = attributes_of<Kernel>();
    static std::size_t allowed = std::min<std::size_t>(of.maxDynamicSharedSizeBytes, 48 * 1024 - of.sharedSizeBytes);
    if (cfg.smem > allowed) {
        CUDA_CHECK(cudaFuncSetAttribute(Kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(cfg.smem)));
        allowed = cfg.smem;
    }
    static const bool is_early = launches_early<Kernel>();
    cudaLaunchAttribute attributes[2]{};
    unsigned n = 0;
    if (is_early) {
        attributes[n].id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attributes[n++].val.programmaticStreamSerializationAllowed = 1;
    }
    if (cfg.cluster > 1) {
        attributes[n].id = cudaLaunchAttributeClusterDimension;
        attributes[n++].val.clusterDim = {cfg.cluster, 1, 1};
    }
    const cudaLaunchConfig_t config{cfg.grid, cfg.block, cfg.smem, stream(), attributes, n};
    if (const cudaError_t e = cudaLaunchKernelEx(&config, Kernel, std::forward<Args>(args)...); e != cudaSuccess) launch_failed(reinterpret_cast<const void*>(Kernel), cfg, e);
#endif
}

}  // namespace eng::cuda
