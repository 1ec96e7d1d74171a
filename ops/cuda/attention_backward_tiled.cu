// Attention backward for any length and for rows that several sequences share, bf16, head width 64.
//
// Work split   two kernels, blocks of 4 warps, 16 rows a warp: a block of the first owns 64 queries of a head and makes their
//              dq, of the second 64 keys and makes their dk and dv. Each walks the sequences that its rows belong to
//              (attention.h), and of each the other side's rows, 64 at a time.
// Tiling       the other side's two matrices pass through two buffers, one arriving while the other is used: 32 KB,
//              and 16 KB for the block's own rows. Formulas as in attention_backward_whole.cu.
// Traffic      14 nq nk 64 FLOP a head; each side reads the other nq / 64 (nk / 64) times, from L2 for the most part.
// Registers    178 (dq) and 217 (dk, dv), no spills: two blocks a multiprocessor.
// Numerics     as the whole-head kernel; delta comes from a kernel of its own.
// Determinism  a gradient row has one owner, which adds up sequences in the order of the list and rows in their order.
#include "ops/cuda/attention_mma.h"

namespace eng::cuda {
namespace {

constexpr int kWarpsHere = 4, kThreads = kWarpsHere * 32;

struct TiledSmem {
    bf16 mine[2][kWarpsHere][kStrip];  // q and dy, or k and v, of the block's rows
    bf16 first[2][kTile * kD], second[2][kTile * kD];
    float lse[2][kTile], delta[2][kTile];
};

// Calls use(buffer, first row) for the tiles of `n` rows that load(buffer, first row) brings, one ahead.
template <class Load, class Use>
PTX_INLINE void stream_tiles(int from, int n, Load&& load, Use&& use) {
    load(0, from);
    cp_async_commit();
    for (int r = from, buffer = 0; r < n; r += kTile, buffer ^= 1) {
        if (r + kTile < n) load(buffer ^ 1, r + kTile);
        cp_async_commit();
        cp_async_wait<1>();
        __syncthreads();  // this tile is there for everyone
        use(buffer, r);
        __syncthreads();  // its buffers are used up: the tile after next goes there
    }
}

// 16 rows of a head at positions i .. i+15 of a sequence of n; zeroes where they are outside of it.
PTX_INLINE void load_strip(bf16* strip, const View& v, std::int64_t begin, int i, int n, int head, int lane) {
    for (int e = lane; e < 16 * (kD / 8); e += 32) {
        const int r = e / (kD / 8), c = e % (kD / 8);
        const bool inside = i + r >= 0 && i + r < n;
        const bf16* x = ptr<bf16>(v) + head * kD + c * 8;
        cp_async16(strip + chunk_at<kD>(r, c), inside ? x + (begin + i + r) * v.pitch : x, inside ? 16 : 0);
    }
}
PTX_INLINE void strip_arrives() {
    cp_async_commit();
    cp_async_wait<0>();
    __syncwarp();  // the strip is there for every lane
}
PTX_INLINE bool touches(int i, int n) { return i + 15 >= 0 && i < n; }

__global__ __launch_bounds__(kThreads, 2) void dq_tiled_kernel(AttentionBwd a, float scale, const float* delta_of) {
    in_turn();
    GPU_DYN_SHARED(TiledSmem, m);
    const Place at = place_of<kTile>(blockIdx.x, a.heads, a.seqs.shared ? int(a.q.rows) : a.seqs.max_q);
    const Owner own = owner_of<kTile>(a.seqs, false, a.q.rows, at.tile, at.b);
    if (own.rows <= 0) return;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, first = own.first + warp * 16, rows = own.rows - warp * 16;
    bf16 *q_strip = m->mine[0][warp], *dy_strip = m->mine[1][warp];
    Rows q, dy;
    Sums dq = {};
    load_strip(q_strip, a.q, 0, first, own.first + own.rows, at.head, lane);
    strip_arrives();
    load_rows(q, q_strip, 0, lane);
    for_owned<kTile, kThreads>(a.seqs, false, own, [&](const Seq& s) {
        const int query = first - s.q;  // of the warp's first row; other rows of the strip may belong to other sequences
        // The strip is free: every lane took its part of the last sequence's dy before that one's last barrier.
        load_strip(dy_strip, a.dy, s.o, query, s.nq, at.head, lane);
        strip_arrives();
        load_rows(dy, dy_strip, 0, lane);
        float lse[2], delta[2];
        for (int h = 0; h < 2; ++h) {
            const int i = query + lane / 4 + 8 * h;
            const bool inside = i >= 0 && i < s.nq;
            const std::int64_t o = std::int64_t(s.o + i) * a.heads + at.head;
            lse[h] = inside ? ptr<float>(a.lse)[o] * kLog2e : INFINITY, delta[h] = inside ? delta_of[o] : 0.0f;
        }
        const int last = own.first + kTile - s.q;  // causal: the block sees no key from there on
        stream_tiles(0, a.causal ? min(s.nk, last) : s.nk,
            [&](int b, int k0) {
                load_head(m->first[b], a.k, s.k + k0, s.nk - k0, kTile, at.head, threadIdx.x, kThreads);
                load_head(m->second[b], a.v, s.k + k0, s.nk - k0, kTile, at.head, threadIdx.x, kThreads);
            },
            [&](int b, int k0) {
                if (!touches(query, s.nq)) return;
                const int end = a.causal ? min(s.nk, query + 16) : s.nk;
                for (int key = k0; key < min(end, k0 + kTile); key += 16) {
                    Block p, ds;
                    score_block(p, q, m->first[b], key - k0, lane);
                    score_block(ds, dy, m->second[b], key - k0, lane);
                    backward_block(p, ds, scale, lane, [&](int h, int c) {
                        return Term{lse[h], delta[h], key + c < end && !(a.causal && key + c > query + lane / 4 + 8 * h)};
                    });
                    add_block(dq, ds, m->first[b], key - k0, lane);
                }
            });
    });
    put_rows(a.dq, first, rows, at.head, dq, scale * kLn2, lane);
}

__global__ __launch_bounds__(kThreads, 2) void dkdv_tiled_kernel(AttentionBwd a, float scale, const float* delta_of) {
    in_turn();
    GPU_DYN_SHARED(TiledSmem, m);
    const Place at = place_of<kTile>(blockIdx.x, a.heads, a.seqs.shared ? int(a.k.rows) : a.seqs.max_k);
    const Owner own = owner_of<kTile>(a.seqs, true, a.k.rows, at.tile, at.b);
    if (own.rows <= 0) return;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, first = own.first + warp * 16, rows = own.rows - warp * 16;
    Rows k, v;
    Sums dk = {}, dv = {};
    load_strip(m->mine[0][warp], a.k, 0, first, own.first + own.rows, at.head, lane);
    load_strip(m->mine[1][warp], a.v, 0, first, own.first + own.rows, at.head, lane);
    strip_arrives();
    load_rows(k, m->mine[0][warp], 0, lane);
    load_rows(v, m->mine[1][warp], 0, lane);
    for_owned<kTile, kThreads>(a.seqs, true, own, [&](const Seq& s) {
        const int key = first - s.k;  // of the warp's first row
        const auto inside = [&](int h) { const int j = key + lane / 4 + 8 * h; return j >= 0 && j < s.nk; };
        const int from = a.causal ? max(0, own.first - s.k) / kTile * kTile : 0;  // queries before see none of these keys
        if (from >= s.nq) return;
        stream_tiles(from, s.nq,
            [&](int b, int q0) {
                load_head(m->first[b], a.q, s.q + q0, s.nq - q0, kTile, at.head, threadIdx.x, kThreads);
                load_head(m->second[b], a.dy, s.o + q0, s.nq - q0, kTile, at.head, threadIdx.x, kThreads);
                for (int i = threadIdx.x; i < kTile; i += kThreads) {
                    const std::int64_t o = std::int64_t(s.o + q0 + i) * a.heads + at.head;
                    m->lse[b][i] = q0 + i < s.nq ? ptr<float>(a.lse)[o] * kLog2e : INFINITY;
                    m->delta[b][i] = q0 + i < s.nq ? delta_of[o] : 0.0f;
                }
            },
            [&](int b, int q0) {
                if (!touches(key, s.nk)) return;
                for (int i = 0; i < min(kTile, s.nq - q0); i += 16) {
                    Block p, ds;
                    score_block(p, k, m->first[b], i, lane);
                    score_block(ds, v, m->second[b], i, lane);
                    backward_block(p, ds, scale, lane, [&](int h, int c) {
                        return Term{m->lse[b][i + c], m->delta[b][i + c], inside(h) && !(a.causal && key + lane / 4 + 8 * h > q0 + i + c)};
                    });
                    add_block(dv, p, m->second[b], i, lane);
                    add_block(dk, ds, m->first[b], i, lane);
                }
            });
    });
    put_rows(a.dk, first, rows, at.head, dk, scale * kLn2, lane);
    put_rows(a.dv, first, rows, at.head, dv, 1, lane);
}

}  // namespace

void attention_tiled(const AttentionBwd& a) {
    const Scratch delta(std::size_t(a.y.rows) * a.heads * sizeof(float));
    attention_delta(a, delta.as<float>());
    const float scale = float(a.scale) * kLog2e;  // exp2 in place of exp
    const unsigned q = unsigned(owners<kTile>(a.seqs, a.q.rows, a.seqs.max_q) * a.heads);
    const unsigned k = unsigned(owners<kTile>(a.seqs, a.k.rows, a.seqs.max_k) * a.heads);
    if (a.dq.mode != Mode::skip) launch<dq_tiled_kernel>({dim3(q), dim3(kThreads), sizeof(TiledSmem)}, a, scale, delta.as<float>());
    if (a.dk.mode != Mode::skip || a.dv.mode != Mode::skip)
        launch<dkdv_tiled_kernel>({dim3(k), dim3(kThreads), sizeof(TiledSmem)}, a, scale, delta.as<float>());
}

}  // namespace eng::cuda
