#pragma once
// vsr_pool.cu's shared memory, its units of work, and the thread that copies: what lies where, without the arithmetic.
#include "ops/cuda/kernel.h"
#include "ops/cuda/ring.h"
#include "ops/cuda/tma.h"
#include "ops/cuda/wgmma.h"

namespace eng::cuda {
namespace {

constexpr int kC = 512, kHalf = 256, kHeads = 8, kSlots = 8, kStages = 3, kPairs = 2, kThreads = 128 * (1 + kPairs);

struct alignas(1024) Stage { bf16 big[kHalf * 64], small[kBox]; };
struct Smem {
    Stage stage[kStages];
    unsigned stash[kPairs][kHalf / 4][128];  // two bf16 a word; a word is read by the thread that wrote it
    float best[kPairs * 4][kC];              // of each warp
    float gain[kC], offset[kC];              // F starts as r gain x + offset
    float gamma6[kC], beta6[kC];
    std::uint64_t full[kStages], empty[kStages];
    float c[2];                              // [hidden]
};
inline std::size_t smem_bytes(std::int64_t hidden) { return sizeof(Smem) + std::size_t(hidden) * sizeof(float); }

struct Maps { TensorMap q, k, v, u, w2; };

struct Place { int pair, begin, len; };  // a pair that is not there has the other's rows, of which none counts
struct Unit { int text, prompts, tiles; };
PTX_INLINE int number(const View& v, int i) { return ptr<std::int32_t>(v)[i]; }
PTX_INLINE Place place(const VsrPoolArgs& a, int n, int group) {
    const int pair = number(a.units, n * kPairs + group), real = pair < 0 ? number(a.units, n * kPairs) : pair;
    return {pair, number(a.q_begin, real), pair < 0 ? 0 : number(a.q_len, real)};
}
PTX_INLINE Unit unit_at(const VsrPoolArgs& a, int n) {
    const int pair = number(a.units, n * kPairs);
    return {number(a.text, pair), number(a.prompts, pair), (max(place(a, n, 0).len, place(a, n, 1).len) + 63) / 64};
}

struct Producer {
    Smem* s;
    const Maps& m;
    RingAt<kStages> at{};
    PTX_INLINE Stage& next(unsigned bytes, std::uint64_t*& full) {
        Stage& st = s->stage[at.stage];
        mbar_wait(&s->empty[at.stage], at.round ^ 1);  // passes at once in the first round
        full = &s->full[at.stage], at.next();
        mbar_arrive_expect_tx(full, bytes);
        return st;
    }
    PTX_INLINE void look(const Unit& u, int row0, int row1, int head) {
        std::uint64_t* full;
        Stage& st = next(2 * (kPairs * kBox * 2 + kSlots * 64 * 2), full);
        for (int i = 0, h = head; i < 2; ++i, ++h) {
            tma_load_2d(st.big + 2 * i * kBox, m.q, full, h * 64, row0);
            tma_load_2d(st.big + (2 * i + 1) * kBox, m.q, full, h * 64, row1);
            tma_load_2d(st.small + i * kSlots * 64, m.k, full, h * 64, (u.text * kHeads + h) * kSlots);
        }
    }
    PTX_INLINE void values(const Unit& u, int half) {
        std::uint64_t* full;
        Stage& st = next(kHalf * 64 * 2, full);
        for (int i = 0; i < kHalf / 64; ++i) tma_load_2d(st.big + i * kBox, m.v, full, half * kHalf + 64 * i, u.text * 64);
    }
    PTX_INLINE void hidden(const Unit& u, int half, int chunks) {
        for (int j = 0; j < chunks; ++j) {
            std::uint64_t* full;
            Stage& st = next(sizeof(Stage), full);
            tma_load_2d(st.small, m.u, full, j * 64, u.text * 64);
            tma_load_2d(st.big, m.w2, full, j * 64, half * kHalf);
        }
    }
};

PTX_INLINE void produce(Smem* s, const Maps& m, const VsrPoolArgs& a, int units) {
    Producer p{s, m};
    const int chunks = int(a.u.cols) / 64;
    for (int n = blockIdx.x; n < units; n += gridDim.x) {
        const Unit u = unit_at(a, n);
        const int first0 = place(a, n, 0).begin, first1 = place(a, n, 1).begin;
        for (int tile = 0; tile < u.tiles; ++tile) {
            for (int h = 0; h < kHeads; h += 2) p.look(u, first0 + tile * 64, first1 + tile * 64, h);
            p.values(u, 1), p.values(u, 0), p.hidden(u, 0, chunks), p.values(u, 1), p.hidden(u, 1, chunks);
        }
    }
}

}  // namespace
}  // namespace eng::cuda
