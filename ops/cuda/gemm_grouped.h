#pragma once
// Products of blocks of rows (GroupedGemmArgs): what both of their kernels know. A block of threads makes a tile of one block of c and goes
// through the members of it, one after another, as if their k were one long k.
#include "ops/cuda/chosen.h"
#include "ops/cuda/gemm.h"

namespace eng::cuda {

struct Grouped {
    Product p;  // of one member; operands and outputs point at block 0
    const int *a_at, *b_at, *c_at;
    int members, element;          // bytes
    std::int64_t a_size, b_size;   // elements of a block
    Out sums;

    PTX_INLINE Product member(int i) const {
        Product one = p;
        one.a = static_cast<const char*>(p.a) + (a_at ? a_at[i] : i) * a_size * element;
        one.b = static_cast<const char*>(p.b) + (b_at ? b_at[i] : i) * b_size * element;
        return one;
    }
    PTX_INLINE Epilogue out(int block) const {
        Epilogue e = p.out;
        const std::int64_t at = block * e.at(e.m, 0) * (e.c_bf16 ? 2 : 4);
        e.c = static_cast<char*>(e.c) + at;
        if (e.pre) e.pre = static_cast<char*>(e.pre) + at;
        return e;
    }
};

// Calls use(list, n) with the members of block `block` of c, some of them at a time, in order. Where blocks have no lists, the block is its
// member, and there is no list.
template <int THREADS, bool LISTED, class F>
PTX_INLINE void for_members(const Grouped& g, int block, F&& use) {
    if constexpr (LISTED) for_chosen<THREADS>(g.members, [&](int i) { return g.c_at[i] == block; }, use);
    else use(nullptr, 1);
}

void grouped_simt(const Grouped& g, std::int64_t blocks);

}  // namespace eng::cuda
