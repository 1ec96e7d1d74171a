#pragma once
// What the attention kernels' forward passes share: a strip of 16 queries that a warp holds looks at keys in shared memory, a few at a time.
// q as A operands in registers; running maximum and sum per row (Milakov & Gimelshein, 2018); y = y shrink + p v.
#include "ops/cuda/attention_mma.h"

namespace eng::cuda {

struct Softmax {  // of rows lane/4 and lane/4 + 8
    float top[2] = {-INFINITY, -INFINITY}, sum[2] = {};
    Sums out = {};
};

// Scores of 16 G keys become powers of two; what was summed before shrinks if one of them is the largest so far.
// Scores are compared as they are and scaled where they are taken to a power: scale > 0.
template <int G>
PTX_INLINE void soften(Softmax& t, Block (&s)[G], float scale) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        float top = t.top[h], part = 0;
#pragma unroll
        for (int g = 0; g < G; ++g)
            for (int j = 0; j < 2; ++j) top = fmaxf(top, fmaxf(s[g][j][2 * h], s[g][j][2 * h + 1]));
        top = quad_max(top);  // finite: every query sees the first key
        const float shrink = exp2_approx((t.top[h] - top) * scale), scaled = top * scale;
#pragma unroll
        for (int g = 0; g < G; ++g)
            for (int j = 0; j < 2; ++j)
                for (int e = 0; e < 2; ++e) part += s[g][j][2 * h + e] = exp2_approx(fmaf(s[g][j][2 * h + e], scale, -scaled));
        t.top[h] = top, t.sum[h] = t.sum[h] * shrink + part;
#pragma unroll
        for (int d = 0; d < kD / 8; ++d) t.out[d][2 * h] *= shrink, t.out[d][2 * h + 1] *= shrink;
    }
}

// 16 G keys from k0 on, tile rows 0.. . MASKED: some row of the strip may not see some of them; no row sees a key from `end` on.
template <int G, bool MASKED>
PTX_INLINE void attend(Softmax& t, const Rows& q, const bf16* k, const bf16* v, int k0, int end, int query, bool causal, float scale, int lane) {
    Block s[G];
#pragma unroll
    for (int g = 0; g < G; ++g) {
        score_block(s[g], q, k, 16 * g, lane);
        if constexpr (MASKED)
#pragma unroll
            for (int j = 0; j < 2; ++j)
                for (int i = 0; i < 4; ++i) {
                    const int key = k0 + 16 * g + 8 * j + lane % 4 * 2 + i % 2;
                    if (key >= end || (causal && key > query + i / 2 * 8)) s[g][j][i] = -INFINITY;
                }
    }
    soften(t, s, scale);
#pragma unroll
    for (int g = 0; g < G; ++g) add_block(t.out, s[g], v, 16 * g, lane);
}

// Keys from .. end-1 of k and v, whose row 0 is key `from`: 64 at a time as long as all rows of the strip (from `query` on) see all.
PTX_INLINE void attend_all(Softmax& t, const Rows& q, const bf16* k, const bf16* v, int from, int end, int query, bool causal, float scale, int lane) {
    const int clear = causal ? min(end, query + 1) : end;
    int k0 = from;
#pragma unroll 1
    for (; k0 + kTile <= clear; k0 += kTile) attend<4, false>(t, q, k + (k0 - from) * kD, v + (k0 - from) * kD, k0, end, query, causal, scale, lane);
#pragma unroll 1
    for (; k0 < end; k0 += 16) attend<1, true>(t, q, k + (k0 - from) * kD, v + (k0 - from) * kD, k0, end, query + lane / 4, causal, scale, lane);
}

PTX_INLINE void fetch_queries(bf16* strip, const AttentionFwd& a, const Seq& s, int query, int head, int lane) {
    load_head(strip, a.q, s.q + query, s.nq - query, 16, head, lane, 32);
}

// y and lse of a strip, through its corner of shared memory: a lane stores 16 bytes.
PTX_INLINE void store_strip(const AttentionFwd& a, const Seq& s, int query, int head, const Softmax& t, bf16* strip, int lane) {
    __syncwarp();  // every lane has taken its part of the queries
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int r = lane / 4 + 8 * h;
        const float sum = quad_sum(t.sum[h]), inverse = 1.0f / sum;
#pragma unroll
        for (int d = 0; d < kD / 8; ++d)
            *reinterpret_cast<unsigned*>(strip + chunk_at<kD>(r, d) + lane % 4 * 2) = pack_bf16(t.out[d][2 * h] * inverse, t.out[d][2 * h + 1] * inverse);
        if (lane % 4 == 0 && query + r < s.nq)
            ptr<float>(a.lse)[std::int64_t(s.o + query + r) * a.heads + head] = t.top[h] * float(a.scale) + logf(sum);
    }
    __syncwarp();  // the strip is whole
    for (int i = lane; i < kStrip / 8; i += 32) {
        const int r = i / 8, c = i % 8;
        if (query + r < s.nq)
            *reinterpret_cast<uint4*>(ptr<bf16>(a.y) + std::int64_t(s.o + query + r) * a.y.pitch + head * kD + c * 8) =
                *reinterpret_cast<const uint4*>(strip + chunk_at<kD>(r, c));
    }
    __syncwarp();  // the strip is read: the next queries may overwrite it
}

}  // namespace eng::cuda
