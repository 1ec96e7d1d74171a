#pragma once
// The three GEMM kernels behind cuda::gemm, and how their work is cut.
//
//      c[m,n] = sum over k of op(a)[m,k] op(b)[k,n]          ta: a is stored [k][m];  tb: b is stored [n][k]
//
// Every kernel cuts c into tiles and, where tiles alone would leave multiprocessors idle (a weight gradient has few
// tiles and a long k), k into `splits`: each split writes its sum to a buffer of its own, and sum_splits_kernel adds
// them in order and applies the epilogue. No atomics: two runs give the same bits.
#include "ops/cuda/epilogue.h"
#include "ops/cuda/gemm_kernels.h"
#include "ops/cuda/tile_order.h"

namespace eng::cuda {

struct Product {
    const void *a = nullptr, *b = nullptr;
    int m = 0, n = 0, k = 0;
    bool ta = false, tb = false;
    int splits = 1, steps_per_split = 0;  // of the kernel's own depth along k
    Epilogue out;
    Out sums{};              // of op(a) over k, by gemm_hopper where a is stored [k][m]; see GemmArgs
    float* parts = nullptr;  // of them, [splits, tiles beside each other, 4, m]
};

Product product_of(const GemmArgs& g);

// splits 0: chosen by the kernel
void gemm_simt(Product p, DType type, int splits);
void gemm_mma(Product p, int splits);
void gemm_hopper(const Product& p, Tiles wanted);
bool together(const Product& x, const Product& y);  // weight gradients over the same rows: gemm_hopper may make both at once
void gemm_hopper(const Product& first, const Product& second, Tiles wanted);
bool hopper_was_built();  // the binary has code for sm_90a

// Cuts k: sets p's splits and, where there is more than one, points p.out to partial sums in scratch memory.
class SplitK {
public:
    // `wanted` 0: as many as fill the card, but none shorter than `least`: its prologue and its partial sums would outweigh it.
    SplitK(Product& p, int wanted, std::int64_t tiles, int depth, int least = 512);
    void sum(const SplitK* other = nullptr) const;  // after the kernel: adds the splits in order, and runs the epilogue; also another's

private:
    Epilogue whole_;
    int splits_;
    Scratch partial_;
};

// This block's sums go behind those of the splits before it.
PTX_INLINE Epilogue of_split(Epilogue e, int split) {
    e.c = static_cast<float*>(e.c) + (split ? split * e.at(e.m, 0) : 0);
    return e;
}

}  // namespace eng::cuda
