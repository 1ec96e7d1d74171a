// Products of blocks of rows in bf16 on mma.sync: every block of a with the block of b that it belongs to, or all members of a block of c
// added up (GroupedGemmArgs in ops/kernels.h). VSR's pairs are such blocks: a pair's regions times its text's rows.
//
// Work split   a block of threads makes T x T of one block of c, as in gemm_mma.cu: 128 x 128 where c's blocks have as much and neither
//              operand is transposed, else 64 x 64.
// Tiling       k in steps of 32 through four stages. A member's k is filled up to whole steps, then the next member's follows: the
//              ring never runs dry between them. Members come from a scan of c_at, some hundreds of its entries at a time.
// Traffic      2 m n k FLOP a member. VSR's are all bound by memory: with k = 64 a pair's 192 x 2048 hidden values cost 50 MFLOP and 1.6 MB
//              written (values and what they were before the activation), on the way back 0.8 MB read for each of two products.
// Sums         of b over k, where asked for (the bias' gradient): one more product, with ones, by the warps of a tile's first rows.
// Registers    72 to 94 (64 x 64; with sums 112) and 125 to 127 (128 x 128), no spills.
// Determinism  one owner per element, members in the order of the list. No atomics.
// Limits       a is transposed only where members are added up, b only where not; rows that are not whole 16 bytes are loaded 2 bytes at a time.
#include "ops/cuda/gemm_grouped.h"

#include "ops/cuda/mma_tile.h"

namespace eng::cuda {
namespace {

template <int T, bool TA, bool TB, bool LISTED, bool SUMS>
__global__ __launch_bounds__(Shape<T>::threads) void gemm_grouped_kernel(Grouped g, int tiles_m, int tiles_n, bool whole_a, bool whole_b) {
    in_turn();
    using S = Shape<T>;
    GPU_DYN_SHARED(typename S::Smem, s);
    const int block = int(blockIdx.x) / (tiles_m * tiles_n), warp = threadIdx.x / 32, lane = threadIdx.x % 32, across = T / S::wn;
    const TileAt at = tile_at(int(blockIdx.x) % (tiles_m * tiles_n), tiles_m, tiles_n);
    const int row = warp / across * S::wm, col = warp % across * S::wn;  // this warp's corner of the tile
    const int per_member = (g.p.k + kDepth - 1) / kDepth;
    float acc[S::wm / 16][S::wn / 8][4] = {}, sums[S::wn / 8][4] = {};
    const bool sums_here = SUMS && at.m == 0 && row == 0;

    for_members<S::threads, LISTED>(g, block, [&](const int* list, int n) {
        const int steps = n * per_member;
        Product of = g.p;  // the member that is being loaded, from k0 on
        int next = 0, k0 = 0;
        const auto load = [&](int step) {
            if (step < steps) {
                if (k0 == 0) of = g.member(LISTED ? list[next++] : block);
                load_step<T, TA, TB>(s->stage[step % kStages], of, at, k0, g.p.k, whole_a, whole_b);
                k0 = k0 + kDepth < g.p.k ? k0 + kDepth : 0;
            }
            cp_async_commit();  // an empty group at the end keeps the count right
        };
        for (int step = 0; step < kStages - 1; ++step) load(step);
        for (int step = 0; step < steps; ++step) {
            cp_async_wait<kStages - 2>();
            __syncthreads();  // step has arrived for everyone; the stage of step - 1 is used up
            load(step + kStages - 1);
            multiply_step<T, TA, TB, SUMS>(acc, s->stage[step % kStages], row, col, lane, sums, sums_here);
        }
        __syncthreads();  // the stages are used up: other members, or the accumulators, take their memory
    });

    const Epilogue e = g.out(block);
#pragma unroll
    for (int i = 0; i < S::wm / 16; ++i)
        store_strip(acc[i], s->out[warp], e, at.m * T + row + 16 * i, at.n * T + col, lane);
    if constexpr (SUMS) {
        if (!sums_here || lane >= 4) return;  // all rows of the product with ones are the same; these lanes have the first
#pragma unroll
        for (int j = 0; j < S::wn / 8; ++j)
            for (int h = 0; h < 2; ++h) {
                const int c = at.n * T + col + 8 * j + 2 * lane + h;
                if (c < e.n) emit(g.sums, e.at(block, c), sums[j][h]);
            }
    }
}

template <int T, bool TA, bool TB, bool LISTED, bool SUMS = false>
void run(const Grouped& g, std::int64_t blocks) {
    const Product& p = g.p;
    const int tiles_m = int(ceil_div(p.m, T)), tiles_n = int(ceil_div(p.n, T));
    launch<gemm_grouped_kernel<T, TA, TB, LISTED, SUMS>>({dim3(unsigned(blocks * tiles_m * tiles_n)), dim3(Shape<T>::threads), sizeof(typename Shape<T>::Smem)}, g, tiles_m, tiles_n,
                                                 whole_chunks(p.a, TA ? p.m : p.k), whole_chunks(p.b, TB ? p.k : p.n));
}
template <bool LISTED>
void run_plain(const Grouped& g, std::int64_t blocks) {
    g.p.m > 64 && g.p.n >= 128 ? run<128, false, false, LISTED>(g, blocks) : run<64, false, false, LISTED>(g, blocks);
}
void grouped_mma(const Grouped& g, std::int64_t blocks) {
    if (g.p.ta) return g.sums.p ? run<64, true, false, true, true>(g, blocks) : run<64, true, false, true>(g, blocks);
    if (g.p.tb) return run<64, false, true, false>(g, blocks);
    g.c_at ? run_plain<true>(g, blocks) : run_plain<false>(g, blocks);
}

// What the product of one member is; its operands' blocks are whole 16 bytes apart if block 0's rows are.
Product product_of_member(const GroupedGemmArgs& g, std::int64_t m) {
    const auto first = [](View v, std::int64_t rows) {
        v.rows = rows;
        return v;
    };
    GemmArgs one{first(g.a, g.a_rows), first(g.b, g.b_rows), g.bias, {}, {first(g.c, m), g.c.mode}};
    one.pre = g.pre, one.ta = g.ta, one.tb = g.tb, one.gelu = g.gelu;
    return product_of(one);
}

}  // namespace

void grouped_gemm(const GroupedGemmArgs& g) {
    if (g.c.mode == Mode::skip || g.c.numel() == 0) return;
    const std::int64_t m = g.ta ? g.a.cols : g.a_rows, blocks = g.c.rows / m;
    ENG_CHECK(g.c.rows % m == 0 && (g.c_at.p || blocks == g.members), "grouped_gemm", g.members, " products into c ", g.c.rows, "x", g.c.cols);
    ENG_CHECK(g.c_at.p ? !g.tb && !g.bias.p && !g.gelu : !g.ta, "grouped_gemm", "sums over members take no b transposed, no bias and no activation, single products no a transposed");
    ENG_CHECK(g.sums.mode == Mode::skip || (g.ta && g.c_at.p && g.sums.rows == blocks && g.sums.cols == g.c.cols), "grouped_gemm", "sums ", g.sums.rows, "x", g.sums.cols);
    const auto at = [](const View& v) { return static_cast<const int*>(v.p); };
    Grouped x{product_of_member(g, m), at(g.a_at), at(g.b_at), at(g.c_at), int(g.members), int(size_of(g.a.dtype)), g.a_rows * g.a.cols, g.b_rows * g.b.cols, g.sums};
    if (x.sums.mode == Mode::skip) x.sums.p = nullptr;
    g.a.dtype == DType::bf16 ? grouped_mma(x, blocks) : grouped_simt(x, blocks);
}

}  // namespace eng::cuda
