// Matrix product on the ordinary cores, sums in f32: register tiles. What f32 runs on; bf16 has tensor cores.
//
// Work split   a block of 256 threads makes T x T of c (T = 128, or 64 where tiles are few), a thread P x P of it.
// Tiling       k in steps of 16. The next step's operands travel from global memory to registers while this one's are
//              multiplied; both lie k-major in shared memory, so that a thread reads its P values as float4.
//
//                  b  [16][T]          thread (y, x) holds rows y*4.. and T/2 + y*4.. (P = 8), and columns alike:
//              a [16][T]  c [T][T]     neighbours read neighbouring 16 bytes, which meet no bank twice
//
// Traffic      2 m n k FLOP; global reads 4 (m n k / T) 2 bytes; shared reads 2 P floats per P^2 multiply-adds.
// Registers    188 to 199 (T = 128), 76 to 80 (T = 64), no spills.
// Numerics     one f32 sum per element and split, in the order of k; how many splits there are depends on m, n and k.
// Limits       none: rows of any length and alignment (loads are one element wide).
// Idea         register blocking after V. Volkov & J. Demmel, "Benchmarking GPUs to tune dense linear algebra" (2008).
#include "ops/cuda/chip.h"
#include "ops/cuda/simt_tile.h"

namespace eng::cuda {
namespace {

template <class E, int T, int P>
__global__ __launch_bounds__(kThreads) void gemm_simt_kernel(Product p, int tiles_m, int tiles_n) {
    in_turn();
    GPU_SHARED(s, SimtTile<T>);
    const TileAt tile = tile_at(int(blockIdx.x), tiles_m, tiles_n);
    const int row0 = tile.m * T, col0 = tile.n * T, y = threadIdx.x / 16, x = threadIdx.x % 16;
    const int k_first = blockIdx.y * p.steps_per_split * kDepth, k_end = min(p.k, k_first + p.steps_per_split * kDepth);
    const auto* a = static_cast<const E*>(p.a);
    const auto* b = static_cast<const E*>(p.b);
    const int pitch_a = p.ta ? p.m : p.k, pitch_b = p.tb ? p.k : p.n;
    float ra[T * kDepth / kThreads], rb[T * kDepth / kThreads], acc[P][P] = {};

    fetch<T>(ra, a, !p.ta, row0, k_first, p.m, k_end, pitch_a);
    fetch<T>(rb, b, p.tb, col0, k_first, p.n, k_end, pitch_b);
    for (int k0 = k_first; k0 < k_end; k0 += kDepth) {
        put<T>(s.a, ra, !p.ta);
        put<T>(s.b, rb, p.tb);
        __syncthreads();  // the tile is whole
        fetch<T>(ra, a, !p.ta, row0, k0 + kDepth, p.m, k_end, pitch_a);
        fetch<T>(rb, b, p.tb, col0, k0 + kDepth, p.n, k_end, pitch_b);
        multiply_step(acc, s, y, x);
        __syncthreads();  // the tile is used up: the next step overwrites it
    }

    store_tile<T>(acc, of_split(p.out, blockIdx.y), row0, col0, y, x);
}

template <class E, int T, int P>
void run(Product p, int splits) {
    const int tiles_m = (p.m + T - 1) / T, tiles_n = (p.n + T - 1) / T;
    const std::int64_t tiles = std::int64_t(tiles_m) * tiles_n;
    const SplitK split(p, splits, tiles, kDepth, 128);  // eight steps: the losses' products have 128 x 128 results, which is four blocks
    launch<gemm_simt_kernel<E, T, P>>({dim3(unsigned(tiles), unsigned(p.splits)), dim3(kThreads)}, p, tiles_m, tiles_n);
    split.sum();
}

}  // namespace

void gemm_simt(Product p, DType type, int splits) {
    const std::int64_t large = std::int64_t(ceil_div(p.m, 128)) * ceil_div(p.n, 128);
    dispatch(type, "gemm", [&](auto tag) {
        using E = decltype(tag);
        large >= chip().sms ? run<E, 128, 8>(p, splits) : run<E, 64, 4>(p, splits);
    });
}

}  // namespace eng::cuda
