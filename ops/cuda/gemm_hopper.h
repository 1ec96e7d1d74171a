#pragma once
// gemm_hopper.cu's shared memory, its units of work, and the thread that copies: what lies where, without the arithmetic.
#include "ops/cuda/gemm_plan.h"
#include "ops/cuda/ring.h"
#include "ops/cuda/tma.h"
#include "ops/cuda/wgmma.h"

namespace eng::cuda {
namespace {

constexpr int kM = kTileRows, kDepth = kTileDepth;
constexpr int kConsumerWarps = 8, kThreads = 128 + kConsumerWarps * 32;

template <int N> struct Ring {
    static constexpr int stages = N == 256 ? 4 : N == 192 ? 5 : 6;
    static constexpr int bytes = (kM + N) * kDepth * 2;
    static constexpr int strip = 16, pitch = 24, strips = N / strip;  // columns stored at once: 32 lanes have eight neighbours each; floats of a staged row
    static constexpr int sets = N == 256 ? 1 : 2;  // of accumulators: two of 128 registers would be all there are
    struct alignas(1024) Stage { bf16 a[kM * kDepth], b[N * kDepth]; };
    struct Smem {
        Stage stage[stages];
        float out[kConsumerWarps][16 * pitch];
        uint4 beside[kConsumerWarps][2][32];  // what a strip's epilogue reads from memory; a lane reads what it asked for
        std::uint64_t full[stages], empty[stages];
    };
    static_assert(sizeof(Smem) <= 227 * 1024);
};

// A product of a launch. Weight gradients may come in twos, so that the tiles of both fill the card together.
struct Work {
    TensorMap a, b;
    Product p;
    TileOrder order;  // rows are as many tiles below each other as a cluster has blocks
    Divisor tiles;    // of a split
    int units;
};
template <bool TA> struct Works { Work work[TA ? 2 : 1]; };

// The work of one block, in the order that producer and consumers share: a unit is the steps of one split of one tile, or of
// as many tiles below each other as a cluster has blocks, one for each. A cluster takes every gridDim.x / peers-th unit.
struct Unit { int work; TileAt at; int split, first, steps; };
template <int Peers, bool TA> struct Units {
    const Works<TA>& works;
    PTX_INLINE const Work& of(const Unit& u) const { return works.work[TA ? u.work : 0]; }
    PTX_INLINE int total() const { return works.work[0].units + (TA ? works.work[TA].units : 0); }
    PTX_INLINE Unit operator[](int u) const {
        const int second = TA && u >= works.work[0].units;
        const Work& w = works.work[TA ? second : 0];
        if (second) u -= works.work[0].units;
        const int split = w.tiles.of(u), first = split * w.p.steps_per_split;
        TileAt at = w.order.at(u - split * int(w.tiles.d));
        if constexpr (Peers > 1) at.m = at.m * Peers + int(cluster_rank());
        return {second, at, split, first, min((w.p.k + kDepth - 1) / kDepth - first, w.p.steps_per_split)};
    }
    PTX_INLINE int begin() const { return int(blockIdx.x) / Peers; }
    PTX_INLINE int stride() const { return int(gridDim.x) / Peers; }
};

template <int N, int Peers, bool TA, bool TB>
PTX_INLINE void produce(typename Ring<N>::Smem* s, const Units<Peers, TA>& units) {
    constexpr int stages = Ring<N>::stages;
    const auto load_b = [&](bf16* to, const TensorMap& map, std::uint64_t* full, int x, int y) {  // this block's rows of a box, to all who want them
        if constexpr (Peers > 1) {
            const int from = int(cluster_rank()) * (TB ? N : kDepth) / Peers;
            tma_load_2d_multicast(to + from * 64, map, full, x, y + from, (1 << Peers) - 1);
        } else {
            tma_load_2d(to, map, full, x, y);
        }
    };
    RingAt<stages> at;
    for (int u = units.begin(); u < units.total(); u += units.stride()) {
        const Unit unit = units[u];
        const Work& w = units.of(unit);
#pragma unroll 1  // four steps at once want more registers than a producer has
        for (int step = 0; step < unit.steps; ++step, at.next()) {
            const int st = at.stage, k = (unit.first + step) * kDepth, row = unit.at.m * kM, col = unit.at.n * N;
            std::uint64_t* full = &s->full[st];
            mbar_wait(&s->empty[st], at.round ^ 1);  // the peer's too is empty; passes at once in the first round
            mbar_arrive_expect_tx(full, Ring<N>::bytes);
            if constexpr (TA) for (int i = 0; i < kM / 64; ++i) tma_load_2d(s->stage[st].a + i * kBox, w.a, full, row + 64 * i, k);
            else tma_load_2d(s->stage[st].a, w.a, full, k, row);
            if constexpr (TB) load_b(s->stage[st].b, w.b, full, k, col);
            else for (int i = 0; i < N / 64; ++i) load_b(s->stage[st].b + i * kBox, w.b, full, col + 64 * i, k);
        }
    }
}

}  // namespace
}  // namespace eng::cuda
