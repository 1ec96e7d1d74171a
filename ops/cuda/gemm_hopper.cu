// Matrix product in bf16 on Hopper: TMA fills a ring of shared memory stages, wgmma multiplies straight from it.
//
// Work split   persistent: one block of 384 threads per multiprocessor walks the tiles of c, 128 x N each (N = 256,
//              192 or 128, whichever fills the card best). Warpgroup 0 only issues copies; warpgroups 1 and 2 multiply 64 x N
//              each and apply the epilogue while the copies for the next tile are already under way.
//
//                 producer   wait empty[s]  ->  expect bytes, TMA a, TMA b  ->  next stage ...
//                 consumer   wait full[s]   ->  4 wgmma (k = 64)  ->  when the wgmmas of the stage before are done:
//                                                                     arrive empty[s-1], one arrival a warp
//
// Tiling       k in steps of 64: 16 KB of a and N / 64 x 8 KB of b a stage; 4, 5 or 6 stages. Operands keep
//              the order they have in global memory: k-major or mn-major, wgmma reads both (wgmma.h).
// Traffic      2 m n k FLOP; global reads 2 m n k (1/128 + 1/N) bytes, less what L2 keeps of a band of tiles.
// Registers    168 at launch; setmaxnreg gives the producer 40 and the consumers 232; no spills. HGMMA.64xNx16, UTMALDG.
// Numerics     products exact, f32 sums inside the tensor core, one rounding at the store.
// Limits       operands with rows of whole 16 bytes (a TMA rule); anything else is for gemm_mma. sm_90a only.
// Idea         warp specialisation after CUTLASS 3's persistent cooperative kernel; read, not copied.
#include <algorithm>
#include <cmath>

#include "ops/cuda/chip.h"
#include "ops/cuda/gemm.h"
#include "ops/cuda/tma.h"
#include "ops/cuda/wgmma.h"

namespace eng::cuda {
namespace {

constexpr int kM = 128, kDepth = 64, kBox = 64 * 64;  // elements of 64 rows x 128 bytes, the unit of the layouts
constexpr int kConsumerWarps = 8, kThreads = 128 + kConsumerWarps * 32;

template <int N> struct Ring {
    static constexpr int stages = N == 256 ? 4 : N == 192 ? 5 : 6;
    static constexpr int bytes = (kM + N) * kDepth * 2;
    static constexpr int strip = 32, pitch = strip + 8;  // columns staged at once; floats of a staged row
    struct alignas(1024) Stage { bf16 a[kM * kDepth], b[N * kDepth]; };
    struct Smem {
        Stage stage[stages];
        float out[kConsumerWarps][16 * pitch];
        std::uint64_t full[stages], empty[stages];
    };
    static_assert(sizeof(Smem) <= 227 * 1024);
};

// The work of one block, in the order that producer and consumers share: every gridDim.x-th unit, a unit being the steps
// of one split of one tile.
struct Units {
    const Product& p;
    int tiles_m, tiles_n, total;
    struct Unit { TileAt at; int split, first, steps; };
    PTX_INLINE Unit operator[](int u) const {
        const int tiles = tiles_m * tiles_n, split = u / tiles, first = split * p.steps_per_split;
        return {tile_at(u % tiles, tiles_m, tiles_n), split, first, min((p.k + kDepth - 1) / kDepth - first, p.steps_per_split)};
    }
};

template <int N, bool TA, bool TB>
PTX_INLINE void produce(typename Ring<N>::Smem* s, const TensorMap& map_a, const TensorMap& map_b, const Units& units) {
    constexpr int stages = Ring<N>::stages;
    int it = 0;  // steps so far: stage it % stages, used for the (it / stages)-th time
    for (int u = blockIdx.x; u < units.total; u += gridDim.x) {
        const auto unit = units[u];
        for (int step = 0; step < unit.steps; ++step, ++it) {
            const int st = it % stages, k = (unit.first + step) * kDepth, row = unit.at.m * kM, col = unit.at.n * N;
            std::uint64_t* full = &s->full[st];
            mbar_wait(&s->empty[st], (it / stages + 1) % 2);  // passes at once in the first round
            mbar_arrive_expect_tx(full, Ring<N>::bytes);
            if constexpr (TA) for (int i = 0; i < kM / 64; ++i) tma_load_2d(s->stage[st].a + i * kBox, map_a, full, row + 64 * i, k);
            else tma_load_2d(s->stage[st].a, map_a, full, k, row);
            if constexpr (TB) tma_load_2d(s->stage[st].b, map_b, full, k, col);
            else for (int i = 0; i < N / 64; ++i) tma_load_2d(s->stage[st].b + i * kBox, map_b, full, col + 64 * i, k);
        }
    }
}

// The four wgmmas of one stage, for 64 rows of the tile.
template <int N, bool TA, bool TB>
PTX_INLINE void multiply_stage(float (&acc)[N / 2], const typename Ring<N>::Stage& st, int group, bool first) {
    constexpr int step_a = TA ? 1024 : 16, step_b = TB ? 16 : 1024;  // elements to the next 16 k
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kDepth / 16; ++k)
        wgmma_bf16<N, TA ? Major::mn : Major::k, TB ? Major::k : Major::mn>(
            acc, wgmma_desc(st.a + group * kBox + k * step_a, kBox * 2), wgmma_desc(st.b + k * step_b, kBox * 2), !first || k > 0);
    wgmma_commit();
}

// A warp's 16 rows x N columns to c, 32 columns at a time through its own corner of shared memory.
template <int N>
PTX_INLINE void store(const float (&acc)[N / 2], float* out, const Epilogue& e, std::int64_t row, std::int64_t col, int lane) {
    constexpr int strip = Ring<N>::strip, pitch = Ring<N>::pitch;
#pragma unroll
    for (int c = 0; c < N; c += strip) {
        if (col + c >= e.n) break;
#pragma unroll
        for (int j = 0; j < strip / 8; ++j)
            for (int h = 0; h < 2; ++h) {
                const float2 pair = make_float2(acc[c / 2 + 4 * j + 2 * h], acc[c / 2 + 4 * j + 2 * h + 1]);
                *reinterpret_cast<float2*>(&out[(lane / 4 + 8 * h) * pitch + 8 * j + lane % 4 * 2]) = pair;
            }
        __syncwarp();  // the strip is whole
        for (int i = lane; i < 16 * strip / 8; i += 32) {
            const int r = i / (strip / 8), q = i % (strip / 8) * 8;
            emit<8>(e, row + r, col + c + q, out + r * pitch + q);
        }
        __syncwarp();  // the strip is read: the next one may overwrite it
    }
}

template <int N, bool TA, bool TB>
PTX_INLINE void consume(typename Ring<N>::Smem* s, const Units& units) {
    constexpr int stages = Ring<N>::stages;
    const int warp = threadIdx.x / 32 - 4, lane = threadIdx.x % 32, group = warp / 4;
    float acc[N / 2];
    int it = 0;
    for (int u = blockIdx.x; u < units.total; u += gridDim.x) {
        const auto unit = units[u];
        for (int step = 0; step < unit.steps; ++step, ++it) {
            mbar_wait(&s->full[it % stages], it / stages % 2);
            multiply_stage<N, TA, TB>(acc, s->stage[it % stages], group, step == 0);
            if (step > 0) {
                wgmma_wait<1>();  // the step before is done with its stage
                if (lane == 0) mbar_arrive(&s->empty[(it - 1) % stages]);
            }
        }
        wgmma_wait<0>();
        if (lane == 0) mbar_arrive(&s->empty[(it - 1) % stages]);
        store<N>(acc, s->out[warp], of_split(units.p.out, unit.split), std::int64_t(unit.at.m) * kM + warp * 16,
                 std::int64_t(unit.at.n) * N, lane);
    }
}

template <int N, bool TA, bool TB>
__global__ __launch_bounds__(kThreads, 1) void gemm_hopper_kernel(const __grid_constant__ TensorMap map_a,
                                                                  const __grid_constant__ TensorMap map_b,
                                                                  const __grid_constant__ Product p, int tiles_m, int tiles_n) {
    GPU_DYN_SHARED(typename Ring<N>::Smem, s);
    const Units units{p, tiles_m, tiles_n, tiles_m * tiles_n * p.splits};
    if (threadIdx.x == 0) {
        for (int i = 0; i < Ring<N>::stages; ++i) mbar_init(&s->full[i], 1), mbar_init(&s->empty[i], kConsumerWarps);
        fence_mbar_init();
    }
    __syncthreads();  // the barriers exist for everyone
    if (threadIdx.x < 128) {
        setmaxnreg_dec<40>();
        if (threadIdx.x == 0) produce<N, TA, TB>(s, map_a, map_b, units);
    } else {
        setmaxnreg_inc<232>();
        consume<N, TA, TB>(s, units);
    }
}

template <int N, bool TA, bool TB>
void run(Product p, int splits) {
    const int tiles_m = (p.m + kM - 1) / kM, tiles_n = (p.n + N - 1) / N;
    const std::int64_t tiles = std::int64_t(tiles_m) * tiles_n;
    const SplitK split(p, splits, tiles, kDepth);
    ENG_CHECK(tiles * p.splits < (std::int64_t(1) << 30), "gemm", p.m, "x", p.n, " has too many tiles");
    const auto *a = static_cast<const bf16*>(p.a), *b = static_cast<const bf16*>(p.b);
    const TensorMap map_a = TA ? make_tensor_map_bf16(a, p.k, p.m, kDepth, 64) : make_tensor_map_bf16(a, p.m, p.k, kM, 64);
    const TensorMap map_b = TB ? make_tensor_map_bf16(b, p.n, p.k, N, 64) : make_tensor_map_bf16(b, p.k, p.n, kDepth, 64);
    const unsigned blocks = unsigned(std::min<std::int64_t>(tiles * p.splits, chip().sms));
    launch<gemm_hopper_kernel<N, TA, TB>>({dim3(blocks), dim3(kThreads), sizeof(typename Ring<N>::Smem)}, map_a, map_b, p, tiles_m, tiles_n);
    split.sum();
}
template <int N>
void run(const Product& p, int splits) {
    p.ta ? p.tb ? run<N, true, true>(p, splits) : run<N, true, false>(p, splits)
         : p.tb ? run<N, false, true>(p, splits) : run<N, false, false>(p, splits);
}

// The width of tiles and the number of splits that a model of the card finds fastest. Its unit is one step of a tile one
// column wide, 2.7 ns at 788 TFLOP/s on 132 multiprocessors: blocks take turns, a unit of work costs its steps and about
// four more for its first copies and its epilogue, and every split writes and reads m n floats at 4.3 TB/s.
struct Plan { int n, splits; };
Plan plan(const Product& p) {
    Plan best{};
    double least = INFINITY;
    const int steps = int(ceil_div(p.k, kDepth));
    for (const int n : {256, 192, 128})
        for (int splits = 1; splits == 1 || (splits <= 32 && steps / splits >= 8); ++splits) {
            const std::int64_t units = std::int64_t(ceil_div(p.m, kM)) * ceil_div(p.n, n) * splits;
            const double partial = splits > 1 ? 7e-4 * p.m * p.n * splits : 0;
            const double cost = double(ceil_div(units, chip().sms)) * (ceil_div(steps, splits) + 4) * n + partial;
            if (cost < least) least = cost, best = {n, splits};
        }
    return best;
}

}  // namespace

bool hopper_was_built() {
#if GPU_EMULATED
    return true;
#else
    static const bool built = [] {  // else the driver has compiled the sm_80 part, in which these kernels trap
        cudaFuncAttributes a{};
        CUDA_CHECK(cudaFuncGetAttributes(&a, gemm_hopper_kernel<128, false, false>));
        return a.ptxVersion >= 90;
    }();
    return built;
#endif
}

void gemm_hopper(Product p, int splits) {
    const Plan best = plan(p);
    if (!splits) splits = best.splits;
    best.n == 256 ? run<256>(p, splits) : best.n == 192 ? run<192>(p, splits) : run<128>(p, splits);
}

}  // namespace eng::cuda
