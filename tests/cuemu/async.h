// Host twins of the PTX wrappers in ops/cuda/ptx.h and wgmma.h.
#pragma once
#include "cuemu/core.h"

namespace cuemu {

unsigned shared_address(const void* p);  // as __cvta_generic_to_shared

void cp_async(void* dst, const void* src, unsigned bytes, unsigned src_bytes);
void cp_async_commit();
void cp_async_wait(unsigned allowed_in_flight, Site at);

void ldmatrix(unsigned* r, int matrices, const void* row, bool trans, Site at);
void mma_m16n8k16_bf16(float* d, const unsigned* a, const unsigned* b, const float* c, Site at);

void mbar_init(uint64_t* bar, unsigned arrivals);
void mbar_arrive(uint64_t* bar, unsigned expect_tx_bytes);
void mbar_arrive_at(uint64_t* bar, unsigned rank);
bool mbar_try_wait(uint64_t* bar, unsigned parity);
void mbar_wait(uint64_t* bar, unsigned parity, Site at);
void fence_proxy_async();

void tma_load_2d(void* dst, const void* tensor_map, uint64_t* bar, int x, int y);
void tma_load_2d_multicast(void* dst, const void* tensor_map, uint64_t* bar, int x, int y, unsigned blocks);

void wgmma_fence();
void wgmma(int n, float* acc, WgmmaOperand a, WgmmaOperand b, bool accumulate, Site at);
void wgmma(int n, float* acc, const unsigned* a, WgmmaOperand b, bool accumulate, Site at);  // a in registers
void wgmma_commit();
void wgmma_wait(unsigned allowed_in_flight, Site at);

}  // namespace cuemu
