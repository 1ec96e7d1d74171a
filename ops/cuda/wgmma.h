#pragma once
// wgmma (sm_90a): one warpgroup multiplies tiles that lie in shared memory. PTX ISA, "Asynchronous warpgroup level matrix
// instructions"; layouts as TMA stores them with the 128-byte swizzle, rows of 128 bytes, eight rows a group:
//
//   k-major   row = one of the m (n) rows, 64 k wide.    Groups of eight rows lie 1024 bytes apart (stride offset).
//             The next 16 k begin 32 bytes further in the same rows.
//   mn-major  row = one k, 64 of the m (n) wide.         Groups of eight k lie 1024 bytes apart (stride offset); the next
//             64 of m (n) begin `lead` bytes further (leading offset). The next 16 k begin 2048 bytes further.
#include "ops/cuda/ptx.h"

namespace eng::cuda {

constexpr int kBox = 64 * 64;  // elements of 64 rows x 128 bytes, the unit of these layouts
enum class Major : int { k = 0, mn = 1 };

// Descriptor of a tile that starts `further` bytes behind `smem`: address, leading and stride offset in units of 16 bytes, swizzle mode 1.
// Descriptors of one tile differ by an addition to their lower half, which is why `further` is not added to `smem`.
PTX_INLINE std::uint64_t wgmma_desc(const void* smem, unsigned lead = 16, unsigned further = 0) {
    const unsigned low = ((smem_u32(smem) & 0x3ffff) >> 4 | lead >> 4 << 16) + (further >> 4);
    return low | std::uint64_t(1024 >> 4) << 32 | std::uint64_t(1) << 62;
}
PTX_INLINE void wgmma_fence() {  // before the first wgmma that follows other uses of the accumulators
#if GPU_EMULATED
    cuemu::wgmma_fence();
#else
    SM90_ASM("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
PTX_INLINE void wgmma_commit() {
#if GPU_EMULATED
    cuemu::wgmma_commit();
#else
    SM90_ASM("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
template <int InFlight>
PTX_INLINE void wgmma_wait(GPU_SITE_ONLY) {
#if GPU_EMULATED
    cuemu::wgmma_wait(InFlight, site);
#else
    SM90_ASM("wgmma.wait_group.sync.aligned %0;" ::"n"(InFlight) : "memory");
#endif
}

// The accumulators of a product: as asm operands, and their names in the text, 32 at a time.
#define WGMMA_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define WGMMA_D8(i) WGMMA_D4(i), WGMMA_D4(i + 4)
#define WGMMA_D32(i) WGMMA_D8(i), WGMMA_D8(i + 8), WGMMA_D8(i + 16), WGMMA_D8(i + 24)
#define WGMMA_NAMES0 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_NAMES32 \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_NAMES64 \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define WGMMA_NAMES96 \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define WGMMA_NAMES_64 WGMMA_NAMES0
#define WGMMA_NAMES_128 WGMMA_NAMES0 ", " WGMMA_NAMES32
#define WGMMA_NAMES_192 WGMMA_NAMES_128 ", " WGMMA_NAMES64
#define WGMMA_NAMES_256 WGMMA_NAMES_192 ", " WGMMA_NAMES96
// `args`: what follows the accumulators, with p, the predicate of accumulation, which is operand `pred`.
#define WGMMA_TEXT(n, names, pred, args) \
    "{\n.reg .pred p;\nsetp.ne.b32 p, " pred ", 0;\nwgmma.mma_async.sync.aligned.m64n" n "k16.f32.bf16.bf16 {" names "}, " args ";\n}"

// d (64xN, N/2 floats a thread) = a (64x16) b (16xN) + (accumulate ? d : 0). Thread t holds rows t/32*16 + t%32/4 and
// that + 8, and of each eight columns 2 (t%4) and that + 1: d[4 j + 2 h + e] is row + 8 h, column 8 j + 2 (t%4) + e.
template <int N, Major ma, Major mb>
PTX_INLINE void wgmma_bf16(float (&d)[N / 2], std::uint64_t desc_a, std::uint64_t desc_b, bool accumulate GPU_SITE) {
    static_assert(N == 8 || N == 64 || N == 128 || N == 192 || N == 256);
#if GPU_EMULATED
    cuemu::wgmma(N, d, {desc_a, ma == Major::mn}, {desc_b, mb == Major::mn}, accumulate, site);
#else
#define WGMMA_OPERANDS "l"(desc_a), "l"(desc_b), "r"(int(accumulate)), "n"(int(ma)), "n"(int(mb))
    if constexpr (N == 8) {
        SM90_ASM(WGMMA_TEXT("8", "%0, %1, %2, %3", "%6", "%4, %5, p, 1, 1, %7, %8") : WGMMA_D4(0) : WGMMA_OPERANDS);
    } else if constexpr (N == 64) {
        SM90_ASM(WGMMA_TEXT("64", WGMMA_NAMES_64, "%34", "%32, %33, p, 1, 1, %35, %36") : WGMMA_D32(0) : WGMMA_OPERANDS);
    } else if constexpr (N == 128) {
        SM90_ASM(WGMMA_TEXT("128", WGMMA_NAMES_128, "%66", "%64, %65, p, 1, 1, %67, %68") : WGMMA_D32(0), WGMMA_D32(32) : WGMMA_OPERANDS);
    } else if constexpr (N == 192) {
        SM90_ASM(WGMMA_TEXT("192", WGMMA_NAMES_192, "%98", "%96, %97, p, 1, 1, %99, %100") : WGMMA_D32(0), WGMMA_D32(32), WGMMA_D32(64) : WGMMA_OPERANDS);
    } else {
        SM90_ASM(WGMMA_TEXT("256", WGMMA_NAMES_256, "%130", "%128, %129, p, 1, 1, %131, %132")
                 : WGMMA_D32(0), WGMMA_D32(32), WGMMA_D32(64), WGMMA_D32(96) : WGMMA_OPERANDS);
    }
#undef WGMMA_OPERANDS
#endif
}

// The same with a in registers, which nobody may touch before the wait: thread t holds its two rows; a[2 h + i] are columns
// 8 h + 2 (t%4) and that + 1 of row + 8 i. So are two neighbouring groups of eight columns of a product, packed.
template <int N, Major mb>
PTX_INLINE void wgmma_bf16(float (&d)[N / 2], const unsigned (&a)[4], std::uint64_t desc_b, bool accumulate GPU_SITE) {
    static_assert(N == 64 || N == 256);
#if GPU_EMULATED
    cuemu::wgmma(N, d, a, {desc_b, mb == Major::mn}, accumulate, site);
#else
#define WGMMA_OPERANDS "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(desc_b), "r"(int(accumulate)), "n"(int(mb))
    if constexpr (N == 64) {
        SM90_ASM(WGMMA_TEXT("64", WGMMA_NAMES_64, "%37", "{%32, %33, %34, %35}, %36, p, 1, 1, %38") : WGMMA_D32(0) : WGMMA_OPERANDS);
    } else {
        SM90_ASM(WGMMA_TEXT("256", WGMMA_NAMES_256, "%133", "{%128, %129, %130, %131}, %132, p, 1, 1, %134")
                 : WGMMA_D32(0), WGMMA_D32(32), WGMMA_D32(64), WGMMA_D32(96) : WGMMA_OPERANDS);
    }
#undef WGMMA_OPERANDS
#endif
}
#undef WGMMA_TEXT
#undef WGMMA_NAMES_256
#undef WGMMA_NAMES_192
#undef WGMMA_NAMES_128
#undef WGMMA_NAMES_64
#undef WGMMA_NAMES96
#undef WGMMA_NAMES64
#undef WGMMA_NAMES32
#undef WGMMA_NAMES0
#undef WGMMA_D32
#undef WGMMA_D8
#undef WGMMA_D4

}  // namespace eng::cuda
