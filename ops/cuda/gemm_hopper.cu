// Matrix product in bf16 on Hopper: TMA fills a ring of shared memory stages, wgmma multiplies straight from it.
//
// Work split   persistent: one block of 384 threads per multiprocessor walks the tiles of c, or of two products' c, 128 x N each
//              (N = 256, 192 or 128, whichever fills the card best). Warpgroup 0 only issues copies; warpgroups 1 and 2 multiply 64 x N
//              each and apply the epilogue while the copies for the next tile are already under way.
//
//                 producer   wait empty[s]  ->  expect bytes, TMA a, TMA b  ->  next stage ...
//                 consumer   wait full[s]   ->  4 wgmma (k = 64)  ->  when the wgmmas of the stage before are done:
//                                                                     arrive empty[s-1], one arrival a warp and peer
//                                                                 ->  N < 256: a strip of the tile before to c
//
// Clusters     two blocks that make tiles one above the other want the same b. Each loads half of it, into its own stage and
//              its peer's (multicast), so that L2 is asked once for both; a stage is free when the consumers of both say so.
//
//                    block 0   [ a of tile row 2 i     | b, first half  | b, second half ]
//                                                          v to both        ^ to both
//                    block 1   [ a of tile row 2 i + 1 | b, first half  | b, second half ]
//
// Overlap      of N = 192 and 128: two sets of accumulators a warpgroup, which change places with every tile. While wgmmas
//              fill the one, the tile before is stored from the other, in strips of 16 columns, evenly over the steps of k. Of
//              N = 192 a step has 384 issue slots for each of a quarter's two warps, and a step with a strip takes 300 (bias and
//              QuickGELU, or a residual) to 360 (gate, activation), 20 more where it asks ahead and 50 where it finds the
//              next unit: from 12 steps on nearly all is hidden but a block's last tile.
//              N = 128 has 256 slots. N = 256 has registers for one set, and stores while the tensor cores wait. What an
//              epilogue reads beside the sums (a residual, a gate) is asked for a tile ahead, to L2, and comes to shared
//              memory a strip ahead: waited for at its use it would take twice a step's time.
// Tiling       k in steps of 64: 16 KB of a and N / 64 x 8 KB of b a stage; 4, 5 or 6 stages. Operands keep
//              the order they have in global memory: k-major or mn-major, wgmma reads both (wgmma.h).
// Traffic      2 m n k FLOP; reads 2 m n k (1/N + 1/(128 peers)) bytes, from memory less what L2 keeps of a band of tiles.
// Registers    168 at launch; setmaxnreg gives the producer 24 and the consumers 240, which is all there are; no spills.
//              HGMMA.64xNx16, UTMALDG.
// Numerics     products exact, f32 sums inside the tensor core, one rounding at the store.
// Limits       operands with rows of whole 16 bytes (a TMA rule); anything else is for gemm_mma. sm_90a only.
// Idea         warp specialisation and multicast after CUTLASS 3's persistent cooperative kernel; read, not copied.
#include <algorithm>
#include <array>
#include <optional>

#include "ops/cuda/column_sums.h"
#include "ops/cuda/gemm_hopper.h"

namespace eng::cuda {
namespace {

// The four wgmmas of one stage, for 64 rows of the tile.
template <int N, bool TA, bool TB>
PTX_INLINE void multiply_stage(float (&acc)[N / 2], const typename Ring<N>::Stage& st, int group, bool first) {
    constexpr int step_a = TA ? 2048 : 32, step_b = TB ? 32 : 2048;  // bytes to the next 16 k
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kDepth / 16; ++k)
        wgmma_bf16<N, TA ? Major::mn : Major::k, TB ? Major::k : Major::mn>(
            acc, wgmma_desc(st.a + group * kBox, kBox * 2, k * step_a), wgmma_desc(st.b, kBox * 2, k * step_b), !first || k > 0);
    wgmma_commit();
}

// What the epilogue of strip i reads beside its sums, on its way to shared memory while the strip before is stored.
template <int N>
PTX_INLINE void fetch_strip(uint4 (&to)[2][32], int i, const Epilogue& e, const Unit& unit, int warp) {
    if (!e.beside) return;
    const unsigned lane = lane_here();
    const int row = unit.at.m * kM + warp * 16 + lane / 2, col = unit.at.n * N + i * Ring<N>::strip + lane % 2 * 8;
    if (i < Ring<N>::strips && row < e.m && col < e.n) cp_async16(&to[i % 2][lane], e.beside + e.at(row, col));
    cp_async_commit();  // an empty group behind the last strip keeps the count right
}
// What the epilogue of a whole tile reads, to L2, while the tile is multiplied: a sector of 32 bytes a lane (how much more a request brings is
// not promised) in each of the first N / 32 steps.
template <int N>
PTX_INLINE void ask_ahead(const Epilogue& e, const Unit& unit, int step, int warp) {
    if (!e.beside || step >= N / 32) return;
    const int q = step * 32 + int(lane_here()), row = unit.at.m * kM + warp * 16 + q / (N / 16), col = unit.at.n * N + q % (N / 16) * 16;
    if (row < e.m && col < e.n) prefetch_l2(e.beside + e.at(row, col));
}

// A lane's eight sums of strip i, one of Lo .. Hi-1, to shared memory. Indices of registers are constants: i is found by halves, because a
// question per strip becomes four stores each that are issued and not done.
template <int Lo, int Hi, int Sums>
PTX_INLINE void stage_strip(const float (&acc)[Sums], int i, float* to, int pitch) {
    if constexpr (Hi - Lo == 1) {
#pragma unroll
        for (int j = 0; j < 4; ++j)
            *reinterpret_cast<float2*>(to + j % 2 * 8 * pitch + j / 2 * 8) = make_float2(acc[Lo * 8 + 2 * j], acc[Lo * 8 + 2 * j + 1]);
    } else {
        constexpr int mid = (Lo + Hi) / 2;
        i < mid ? stage_strip<Lo, mid>(acc, i, to, pitch) : stage_strip<mid, Hi>(acc, i, to, pitch);
    }
}

// Columns 16 i .. 16 i + 15 of a warp's 16 rows of a unit, to c through the warp's own corner of shared memory. Odd rows have fours of columns
// in twos the other way round there: neither the pairs that a lane has nor the eight columns that it stores meet in a bank.
template <int N, bool TA>
PTX_INLINE void store_strip(const float (&acc)[N / 2], int i, float* out, uint4 (&early)[2][32], const Product& p, const Unit& unit, int warp) {
    constexpr int strip = Ring<N>::strip, pitch = Ring<N>::pitch;
    Epilogue e = of_split(p.out, unit.split);
    if constexpr (TA) e.gate = nullptr, e.act = nullptr;  // weight gradients have none, and need the registers for their sums
    const int col = unit.at.n * N + i * strip;
    if (col >= e.n) return;
    if constexpr (!TA) fetch_strip<N>(early, i + 1, p.out, unit, warp);
    const unsigned lane = lane_here(), r = lane / 2, c = lane % 2 * 8;
    stage_strip<0, Ring<N>::strips>(acc, i, out + lane / 4 * pitch + (lane % 4 * 2 ^ lane / 4 % 2 * 4), pitch);
    if constexpr (!TA) cp_async_wait<1>();
    __syncwarp();  // the strip is whole
    emit<8>(e, unit.at.m * kM + warp * 16 + r, col + c, out + r * pitch + c, r % 2 * 4, TA ? nullptr : &early[i % 2][lane]);
    __syncwarp();  // the strip is read: the next one may overwrite it
}

// Sums over k of an a that is stored [k][m]: the gradient of a bias. The stage lies there, and who waits for a wgmma has time.
// The tiles beside each other share the steps of their row. A lane has eight columns and every 16th k of a stage; the four
// lanes of a warp with the same columns are added at the end, warps and tiles by whoever reads the parts [splits, tiles_n, 4, m].
struct ColumnSums {
    float v[8] = {};
    PTX_INLINE void add(const bf16* a, int warp, int lane) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int k = warp % 4 * 4 + lane / 8 + 16 * i;
            add_to(v, a + k * 64 + (lane % 8 ^ k % 8) * 8, true, 0);
        }
        fence_proxy_async();  // what comes into the stage next comes through another proxy
        __syncwarp();         // the warp has read the stage: its first lanes may give it back
    }
    PTX_INLINE void store(const Work& w, const Unit& unit, int warp, int lane) {
#pragma unroll
        for (int j = 0; j < 8; ++j) v[j] += __shfl_xor_sync(kAllLanes, v[j], 8), v[j] += __shfl_xor_sync(kAllLanes, v[j], 16);
        const int m = unit.at.m * kM + warp / 4 * 64 + lane % 8 * 8, part = (unit.split * w.order.tiles_n + unit.at.n) * 4 + warp % 4;
        if (lane < 8 && m < w.p.m) write(w.p.parts + std::int64_t(part) * w.p.m + m, false, 0, v);
#pragma unroll
        for (int j = 0; j < 8; ++j) v[j] = 0;
    }
};

// ptxas is content with this order and no other that was tried: it must see that no wgmma in flight writes what a strip
// reads, and if it does not, it says so (C7514, C7517) and runs the wgmmas one after the other. So a strip follows
// a wait, and every path out of a unit ends in one.
template <int N, int Peers, bool TA, bool TB>
PTX_INLINE void consume(typename Ring<N>::Smem* s, const Units<Peers, TA>& units) {
    constexpr int stages = Ring<N>::stages, strips = Ring<N>::strips;
    constexpr bool overlap = Ring<N>::sets == 2;
    const int warp = __shfl_sync(kAllLanes, int(threadIdx.x) / 32, 0) - 4;  // one value a warp: descriptors stay in uniform registers
    const Unit none{0, {0, units.works.work[0].order.tiles_n}, 0, 0, 0};  // of no steps, right of the last column: nothing is stored
    float acc[Ring<N>::sets][N / 2];
    const auto unit_at = [&](int u) { return u < units.total() ? units[u] : none; };
    Unit before = none, next = unit_at(units.begin());
    ColumnSums sums;
    RingAt<stages> at;
    int last = 0;  // stage of the step before
    const auto release = [&] {
        std::uint64_t* empty = &s->empty[last];
        if constexpr (Peers == 1) { if (threadIdx.x % 32 == 0) mbar_arrive(empty); }
        else if (threadIdx.x % 32 < Peers) mbar_arrive_at(empty, threadIdx.x % 32);
    };
    const auto store = [&](const float (&sums)[N / 2], int strip, const Unit& unit) {
        store_strip<N, TA>(sums, strip, s->out[warp], s->beside[warp], units.of(unit).p, unit, warp);
    };
    // Multiplies unit u into `acc`; meanwhile the unit before, which lies finished in `done`, is stored.
    const auto work = [&](float (&acc)[N / 2], const float (&done)[N / 2], int u) {
        const Unit unit = next;
        const Work& w = units.of(unit);
        int strip = 0, due = unit.steps - 1;  // strips go out evenly over the steps
        for (int step = 0; step < unit.steps; ++step, at.next()) {
            const auto& stage = s->stage[at.stage];
            mbar_wait(&s->full[at.stage], at.round);
            multiply_stage<N, TA, TB>(acc, stage, warp / 4, step == 0);
            if (step == 0) next = unit_at(u + units.stride());  // under these products, not between two units
            if constexpr (!TA) ask_ahead<N>(w.p.out, unit, step, warp);
            wgmma_wait<1>();  // the step before is done with its stage
            if (step > 0) release();
            last = at.stage;
            if (TA && w.p.parts && step % w.order.tiles_n == unit.at.n) sums.add(stage.a + warp / 4 * kBox, warp, threadIdx.x % 32);
            if (overlap)
                for (due += strips; due >= unit.steps && strip < strips; due -= unit.steps) store(done, strip++, before);
        }
        if (overlap)  // where there are no steps
            for (; strip < strips; ++strip) store(done, strip, before);
        if (!TA && unit.steps > 0) fetch_strip<N>(s->beside[warp], 0, w.p.out, unit, warp);
        wgmma_wait<0>();
        if (unit.steps > 0) release();
        if (TA && w.p.parts && unit.steps > 0) sums.store(w, unit, warp, threadIdx.x % 32);
        if (!overlap)
#pragma unroll 1
            for (int i = 0; i < strips; ++i) store(acc, i, unit);
        before = unit;
    };
    if constexpr (overlap) {  // one unit more than there are: it stores the last
        for (int u = units.begin(); u < units.total() + units.stride(); u += 2 * units.stride()) {
            work(acc[0], acc[1], u);
            work(acc[1], acc[0], u + units.stride());
        }
    } else {
        for (int u = units.begin(); u < units.total(); u += units.stride()) work(acc[0], acc[0], u);
    }
}

template <int N, int Peers, bool TA, bool TB>
__global__ __launch_bounds__(kThreads, 1) void gemm_hopper_kernel(const __grid_constant__ Works<TA> works) {
    if constexpr (!FOR_HOPPER) return __trap();
    GPU_DYN_SHARED(typename Ring<N>::Smem, s);
    const Units<Peers, TA> units{works};
    if (threadIdx.x == 0) {
        for (int i = 0; i < Ring<N>::stages; ++i) mbar_init(&s->full[i], 1), mbar_init(&s->empty[i], kConsumerWarps * Peers);
        fence_mbar_init();
        for (const Work& w : works.work)
            if (w.units) prefetch_map(w.a), prefetch_map(w.b);
    }
    if constexpr (Peers > 1) cluster_sync();  // the barriers exist for everyone
    else __syncthreads();
    in_turn();  // not before: so far no memory of the device
    if (threadIdx.x < 128) {
        setmaxnreg_dec<24>();
        if (threadIdx.x == 0) produce<N, Peers, TA, TB>(s, units);
    } else {
        setmaxnreg_inc<240>();
        consume<N, Peers, TA, TB>(s, units);
    }
    if constexpr (Peers > 1) cluster_sync();  // nobody leaves whom a peer still tells that a stage is free
}

// A product of a launch on the host's side, with memory for its splits and its sums' parts.
template <int N, int Peers, bool TA, bool TB>
struct Prepared {
    Product p;
    const int rows, tiles_n;
    const SplitK split;
    const int chunks;
    const Scratch parts;

    Prepared(const Product& product, int splits)
        : p(product), rows(int(ceil_div(p.m, kM * Peers))), tiles_n(int(ceil_div(p.n, N))), split(p, splits, std::int64_t(rows) * tiles_n, kDepth),
          chunks(p.splits * tiles_n * 4), parts(p.sums.p ? std::size_t(chunks) * p.m * sizeof(float) : 0) {
        ENG_CHECK(std::int64_t(rows) * tiles_n * p.splits < std::int64_t(1) << 29, "gemm", p.m, "x", p.n, " has too many tiles");
        if (p.sums.p) p.parts = parts.as<float>();
    }
    Work work() const {
        const auto *a = static_cast<const bf16*>(p.a), *b = static_cast<const bf16*>(p.b);
        return {TA ? make_tensor_map_bf16(a, p.k, p.m, kDepth, 64) : make_tensor_map_bf16(a, p.m, p.k, kM, 64),
                TB ? make_tensor_map_bf16(b, p.n, p.k, N / Peers, 64) : make_tensor_map_bf16(b, p.k, p.n, kDepth / Peers, 64),
                p, TileOrder(rows, tiles_n), Divisor(rows * tiles_n), rows * tiles_n * p.splits};
    }
    ChunkSums sums() const { return p.sums.p ? ChunkSums{p.parts, p.m, p.m, chunks, p.sums} : ChunkSums{}; }
};

template <int N, int Peers, bool TA, bool TB>
void run(std::span<const Product> products, int splits) {
    const Prepared<N, Peers, TA, TB> first(products[0], splits);
    std::optional<Prepared<N, Peers, TA, TB>> second;
    Works<TA> works{{first.work()}};
    if (products.size() > 1) second.emplace(products[1], splits), works.work[TA] = second->work();
    const int units = works.work[0].units + (second ? works.work[TA].units : 0);
    const unsigned clusters = unsigned(std::min(units, chip().sms / Peers));
    launch<gemm_hopper_kernel<N, Peers, TA, TB>>({dim3(clusters * Peers), dim3(kThreads), sizeof(typename Ring<N>::Smem), Peers}, works);
    first.split.sum(second ? &second->split : nullptr);  // of both in one launch
    add_chunks(first.sums(), second ? second->sums() : ChunkSums{});  // likewise
}
template <int N, int Peers>
void run(std::span<const Product> products, int splits) {
    const Product& p = products[0];
    p.ta ? p.tb ? run<N, Peers, true, true>(products, splits) : run<N, Peers, true, false>(products, splits)
         : p.tb ? run<N, Peers, false, true>(products, splits) : run<N, Peers, false, false>(products, splits);
}
template <int N>
void run(std::span<const Product> products, Tiles t) { t.peers == 2 ? run<N, 2>(products, t.splits) : run<N, 1>(products, t.splits); }
void run(std::span<const Product> products, Tiles t) {
    t.width == 256 ? run<256>(products, t) : t.width == 192 ? run<192>(products, t) : run<128>(products, t);
}

}  // namespace

bool hopper_was_built() {
#if GPU_EMULATED
    return true;
#else
    static const bool built = ptx_version<gemm_hopper_kernel<128, 1, false, false>>() >= 90;  // else these kernels trap
    return built;
#endif
}

void gemm_hopper(const Product& p, Tiles wanted) { run({&p, 1}, plan({&p, 1}, wanted).tiles); }

bool together(const Product& x, const Product& y) { return x.ta && y.ta && x.tb == y.tb && x.k == y.k && x.out.c != y.out.c; }

void gemm_hopper(const Product& first, const Product& second, Tiles wanted) {
    const std::array two{first, second};
    const Plan both = plan(two, wanted), one = plan({&first, 1}, wanted), other = plan({&second, 1}, wanted);
    if (both.cost < one.cost + other.cost || wanted.width) return run(two, both.tiles);
    run({&first, 1}, one.tiles);
    run({&second, 1}, other.tiles);
}

}  // namespace eng::cuda
