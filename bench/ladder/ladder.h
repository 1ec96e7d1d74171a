#pragma once
// Ladders: one product, one attention, written several times, each rung faster than the one below for one reason. All
// rungs of a ladder take the argument struct of the op and are held to one check (tests/test_ladder.cpp). The upper rungs
// are the kernels that the engine runs, called where they lie. What a rung gains is not measured yet: no GPU was at hand.
#include <span>

#include "ops/kernels.h"

namespace eng::ladder {

template <class Args> struct Rung {
    const char* name;
    void (*run)(const Args&);
};

// c = op(a) op(b) with the whole epilogue, bf16 in, any strides that GemmArgs can say.
std::span<const Rung<GemmArgs>> gemm_rungs();
// y = softmax(scale q k^T) v and lse, bf16, heads of 64 columns, at most 256 keys.
std::span<const Rung<AttentionFwd>> attention_rungs();

void gemm_naive(const GemmArgs& g);
void gemm_shared(const GemmArgs& g);
void gemm_register(const GemmArgs& g);
void gemm_mma(const GemmArgs& g);
void gemm_wgmma(const GemmArgs& g);

void attention_naive(const AttentionFwd& a);
void attention_online(const AttentionFwd& a);
void attention_tiled(const AttentionFwd& a);
void attention_whole(const AttentionFwd& a);
void attention_wgmma(const AttentionFwd& a);

}  // namespace eng::ladder
