// Products of blocks of rows in f32 on the ordinary cores: gemm_simt.cu's tile of 64 x 64, over the members of a block of c.
//
// Work split   a block of 256 threads makes 64 x 64 of one block of c, a thread 4 x 4 of it; k in steps of 16, member by member.
// Traffic      2 m n k FLOP and 4 (m n k / 64) 2 bytes a member; the next step's operands are on their way while this one's are multiplied.
// Sums         of b over k: the threads of the first rows add up the values that they multiply with anyway.
// Registers    128 to 159, no spills.
// Numerics     one f32 sum per element, in the order of k and of the members. Determinism: one owner per element.
// Limits       not both operands transposed.
#include "ops/cuda/gemm_grouped.h"
#include "ops/cuda/simt_tile.h"

namespace eng::cuda {
namespace {

constexpr int kTile = 64, kOwn = 4, kFetched = kTile * kDepth / kThreads;

template <bool LISTED>
__global__ __launch_bounds__(kThreads) void gemm_grouped_simt_kernel(Grouped g, int tiles_m, int tiles_n) {
    in_turn();
    GPU_SHARED(s, SimtTile<kTile>);
    const int block = int(blockIdx.x) / (tiles_m * tiles_n), y = threadIdx.x / 16, x = threadIdx.x % 16;
    const TileAt at = tile_at(int(blockIdx.x) % (tiles_m * tiles_n), tiles_m, tiles_n);
    const int row0 = at.m * kTile, col0 = at.n * kTile, per_member = (g.p.k + kDepth - 1) / kDepth;
    const int pitch_a = g.p.ta ? g.p.m : g.p.k, pitch_b = g.p.tb ? g.p.k : g.p.n;
    float ra[kFetched], rb[kFetched], acc[kOwn][kOwn] = {}, sums[kOwn] = {};

    for_members<kThreads, LISTED>(g, block, [&](const int* list, int n) {
        const int steps = n * per_member;
        const auto fetch_step = [&](int step) {
            if (step >= steps) return;
            const int i = step / per_member, k0 = step % per_member * kDepth;
            const Product p = g.member(LISTED ? list[i] : block);
            fetch<kTile>(ra, static_cast<const float*>(p.a), !p.ta, row0, k0, p.m, p.k, pitch_a);
            fetch<kTile>(rb, static_cast<const float*>(p.b), p.tb, col0, k0, p.n, p.k, pitch_b);
        };
        fetch_step(0);
        for (int step = 0; step < steps; ++step) {
            put<kTile>(s.a, ra, !g.p.ta);
            put<kTile>(s.b, rb, g.p.tb);
            __syncthreads();  // the tile is whole
            fetch_step(step + 1);
            multiply_step(acc, s, y, x);
            if (g.sums.p && y == 0)
                for (int kk = 0; kk < kDepth; ++kk)
                    for (int j = 0; j < kOwn; ++j) sums[j] += s.b[kk][x * kOwn + j];
            __syncthreads();  // the tile is used up: the next step overwrites it
        }
    });

    const Epilogue e = g.out(block);
    store_tile<kTile>(acc, e, row0, col0, y, x);
    if (!g.sums.p || at.m || y) return;
    for (int j = 0; j < kOwn; ++j)
        if (col0 + x * kOwn + j < e.n) emit(g.sums, e.at(block, col0 + x * kOwn + j), sums[j]);
}

}  // namespace

void grouped_simt(const Grouped& g, std::int64_t blocks) {
    const int tiles_m = int(ceil_div(g.p.m, kTile)), tiles_n = int(ceil_div(g.p.n, kTile));
    const Launch over{dim3(unsigned(blocks * tiles_m * tiles_n)), dim3(kThreads)};
    g.c_at ? launch<gemm_grouped_simt_kernel<true>>(over, g, tiles_m, tiles_n) : launch<gemm_grouped_simt_kernel<false>>(over, g, tiles_m, tiles_n);
}

}  // namespace eng::cuda
