#pragma once
// Every PTX instruction the kernels use, wrapped; nothing else but wgmma.h may contain asm. Each wrapper has its host twin beside it
// (tests/cuemu/async.h), so that a reader can compare the two. The asm side is proved on a GPU only, by the conformance
// test, which holds both to the same formulas.
#include "ops/cuda/gpu.h"
#if GPU_EMULATED
#include "cuemu/async.h"
#endif

#define PTX_INLINE __device__ __forceinline__
// Hopper's instructions exist in the sm_90a part of a fat binary alone; kernels that use them are launched there alone.
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define SM90_ASM(...) asm volatile(__VA_ARGS__)
#define FOR_HOPPER true
#else
#define SM90_ASM(...) __trap()
#define FOR_HOPPER false
#endif

namespace eng::cuda {

// A pointer into shared memory as the 32-bit address PTX wants.
PTX_INLINE unsigned smem_u32(const void* p) {
#if GPU_EMULATED
    return cuemu::shared_address(p);
#else
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
#endif
}

// ---- programmatic dependent launch (sm_90) --------------------------------------------
// At the beginning of every kernel, before it touches memory of the device. Lets the next kernel's blocks come as soon as there is
// room for them, which is when this one's leave, and waits until the kernel before has ended and what it wrote is here: launches
// overlap, work does not.
PTX_INLINE void in_turn() {
#if GPU_EMULATED
    cuemu::self->in_turn = true;
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;\n\tgriddepcontrol.wait;" ::: "memory");
#endif
}

// ---- cp.async (sm_80) ---------------------------------------------------------------
// 16 bytes, global to shared; `valid` bytes are copied, the rest zero-filled.
PTX_INLINE void cp_async16(void* smem, const void* gmem, unsigned valid = 16) {
#if GPU_EMULATED
    cuemu::cp_async(smem, gmem, 16, valid);
#else
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(smem_u32(smem)), "l"(gmem), "r"(valid)
                 : "memory");
#endif
}
PTX_INLINE void cp_async_commit() {
#if GPU_EMULATED
    cuemu::cp_async_commit();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int InFlight>
PTX_INLINE void cp_async_wait(GPU_SITE_ONLY) {
#if GPU_EMULATED
    cuemu::cp_async_wait(InFlight, site);
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(InFlight) : "memory");
#endif
}

// ---- ldmatrix and mma.sync (sm_80) ----------------------------------------------------
PTX_INLINE void ldmatrix_x4(unsigned (&r)[4], const void* row GPU_SITE) {
#if GPU_EMULATED
    cuemu::ldmatrix(r, 4, row, false, site);
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(smem_u32(row))
                 : "memory");
#endif
}
PTX_INLINE void ldmatrix_x4_trans(unsigned (&r)[4], const void* row GPU_SITE) {
#if GPU_EMULATED
    cuemu::ldmatrix(r, 4, row, true, site);
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(smem_u32(row))
                 : "memory");
#endif
}
// d += a b
PTX_INLINE void mma_m16n8k16_bf16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1 GPU_SITE) {
#if GPU_EMULATED
    const unsigned b[2] = {b0, b1};
    cuemu::mma_m16n8k16_bf16(d, a, b, d, site);
#else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// Two floats to packed bf16, lo in the low half.
PTX_INLINE unsigned pack_bf16(float lo, float hi) {
    __nv_bfloat162 v = __floats2bfloat162_rn(lo, hi);
    return *reinterpret_cast<unsigned*>(&v);
}
PTX_INLINE float2 unpack_bf16(unsigned v) { return make_float2(__uint_as_float(v << 16), __uint_as_float(v & 0xffff0000u)); }

constexpr float kLog2e = 1.44269504088896f, kLn2 = 0.693147180559945f;  // exp x = exp2(kLog2e x)
PTX_INLINE float exp2_approx(float x) {
#if GPU_EMULATED
    return exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

PTX_INLINE float rcp_approx(float x) {  // within 1 ulp; of infinity 0
#if GPU_EMULATED
    return 1.0f / x;
#else
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

// The lane, asked for where it is used: what is made of it need not stay in a register over a loop.
PTX_INLINE unsigned lane_here() {
#if GPU_EMULATED
    return threadIdx.x % 32;
#else
    unsigned lane;
    asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
    return lane;
#endif
}

PTX_INLINE void prefetch_l2([[maybe_unused]] const void* p) {  // the sector of memory that p lies in, at least
#if !GPU_EMULATED
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
#endif
}

PTX_INLINE float max_nan(float x, float y) {  // the larger; NaN if one of them is
#if GPU_EMULATED
    return x > y || x != x ? x : y;
#else
    float z;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
    return z;
#endif
}
PTX_INLINE float tanh_approx(float x) {  // within 2^-11 of the value
#if GPU_EMULATED
    return cuemu::to_bits(tanhf(x), 11);  // as wrong as the card may be
#else
    float y;
    asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

// ---- named barriers -------------------------------------------------------------------
PTX_INLINE void named_barrier_sync(unsigned id, unsigned threads GPU_SITE) {
#if GPU_EMULATED
    cuemu::bar_sync(id, threads, site, "bar.sync");
#else
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}
PTX_INLINE void named_barrier_arrive(unsigned id, unsigned threads GPU_SITE) {
#if GPU_EMULATED
    cuemu::bar_arrive(id, threads, site);
#else
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}

// ---- mbarrier (sm_90 forms) -------------------------------------------------------------
PTX_INLINE void mbar_init(uint64_t* bar, unsigned arrivals) {
#if GPU_EMULATED
    cuemu::mbar_init(bar, arrivals);
#else
    SM90_ASM("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(smem_u32(bar)), "r"(arrivals) : "memory");
#endif
}
PTX_INLINE void fence_mbar_init() {  // after mbar_init, before the __syncthreads that publishes it
#if !GPU_EMULATED
    SM90_ASM("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
PTX_INLINE void mbar_arrive(uint64_t* bar) {
#if GPU_EMULATED
    cuemu::mbar_arrive(bar, 0);
#else
    SM90_ASM("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(smem_u32(bar)) : "memory");
#endif
}
PTX_INLINE void mbar_arrive_expect_tx(uint64_t* bar, unsigned bytes) {
#if GPU_EMULATED
    cuemu::mbar_arrive(bar, bytes);
#else
    SM90_ASM("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(smem_u32(bar)), "r"(bytes) : "memory");
#endif
}
// Returns once the phase with this parity has completed.
PTX_INLINE void mbar_wait(uint64_t* bar, unsigned parity GPU_SITE) {
#if GPU_EMULATED
    cuemu::mbar_wait(bar, parity, site);
#else
    SM90_ASM(
        "{\n.reg .pred p;\n"
        "again_%=: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
        "@!p bra again_%=;\n}" ::"r"(smem_u32(bar)),
        "r"(parity)
        : "memory");
#endif
}
// Whether it has, without waiting for it (the hardware may wait a little).
PTX_INLINE bool mbar_try_wait(uint64_t* bar, unsigned parity) {
#if GPU_EMULATED
    return cuemu::mbar_try_wait(bar, parity);
#else
    unsigned done = 0;
    SM90_ASM(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(smem_u32(bar)), "r"(parity)
        : "memory");
    return done;
#endif
}
// Ordinary shared memory writes become visible to wgmma and TMA.
PTX_INLINE void fence_proxy_async() {
#if GPU_EMULATED
    cuemu::fence_proxy_async();
#else
    SM90_ASM("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// ---- TMA --------------------------------------------------------------------------------
struct alignas(64) TensorMap {
    unsigned char opaque[128];
};  // a CUtensorMap; see tma.h

// Asks for the description itself, which the first copy would wait for. It is a kernel's parameter: no earlier kernel writes it.
PTX_INLINE void prefetch_map([[maybe_unused]] const TensorMap& map) {
#if !GPU_EMULATED
    SM90_ASM("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
#endif
}

// Box at column x, row y of the tensor, into shared memory; completes on the mbarrier.
PTX_INLINE void tma_load_2d(void* smem, const TensorMap& map, uint64_t* bar, int x, int y) {
#if GPU_EMULATED
    cuemu::tma_load_2d(smem, &map, bar, x, y);
#else
    SM90_ASM(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
            smem_u32(smem)),
        "l"(&map), "r"(smem_u32(bar)), "r"(x), "r"(y)
        : "memory");
#endif
}

// ---- clusters: blocks that run at the same time and reach each other's shared memory -------------
PTX_INLINE unsigned cluster_rank() {  // of this block in its cluster
#if GPU_EMULATED
    return cuemu::self->block->rank;
#else
    unsigned rank = 0;
    SM90_ASM("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
#endif
}
// All threads of the cluster that have not ended, and what they wrote.
PTX_INLINE void cluster_sync(GPU_SITE_ONLY) {
#if GPU_EMULATED
    cuemu::cluster_sync(site);
#else
    SM90_ASM("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" ::: "memory");
#endif
}
// Arrives at the barrier that lies where `bar` does, in block `rank` of the cluster. It says that this block has read something, and publishes
// nothing that it wrote, so the release of a block's scope is enough, as in CUTLASS's pipelines: a cluster's is a fence of the whole device
// (MEMBAR.ALL.GPU in SASS), once per step of a product's main loop.
PTX_INLINE void mbar_arrive_at(uint64_t* bar, unsigned rank) {
#if GPU_EMULATED
    cuemu::mbar_arrive_at(bar, rank);
#else
    SM90_ASM(
        "{\n.reg .b32 there;\n"
        "mapa.shared::cluster.u32 there, %0, %1;\n"
        "mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(smem_u32(bar)),
        "r"(rank)
        : "memory");
#endif
}
// As tma_load_2d, to the same place in every block whose bit is set, each of which counts the bytes at its own barrier.
PTX_INLINE void tma_load_2d_multicast(void* smem, const TensorMap& map, uint64_t* bar, int x, int y, unsigned short blocks) {
#if GPU_EMULATED
    cuemu::tma_load_2d_multicast(smem, &map, bar, x, y, blocks);
#else
    SM90_ASM(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, %4}], "
        "[%2], %5;" ::"r"(smem_u32(smem)),
        "l"(&map), "r"(smem_u32(bar)), "r"(x), "r"(y), "h"(blocks)
        : "memory");
#endif
}

// ---- register budget, election --------------------------------------------------------------
template <int Regs>
PTX_INLINE void setmaxnreg_inc() {
    static_assert(Regs % 8 == 0 && Regs >= 24 && Regs <= 256);
#if !GPU_EMULATED
    SM90_ASM("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Regs));
#endif
}
template <int Regs>
PTX_INLINE void setmaxnreg_dec() {
    static_assert(Regs % 8 == 0 && Regs >= 24 && Regs <= 256);
#if !GPU_EMULATED
    SM90_ASM("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Regs));
#endif
}

}  // namespace eng::cuda
