#pragma once
// What happens to a finished element of a matrix product: bias, residual, activation or its derivative, sum with what is
// there, store.
// All GEMM kernels end here, so that a product has the same meaning whichever of them computed it.
#include "ops/cuda/kernel.h"
#include "ops/cuda/ptx.h"

namespace eng::cuda {

struct Epilogue {
    void *c = nullptr, *pre = nullptr;                    // [m,n]; pre: the value before the activation, or null
    const void *bias = nullptr, *residual = nullptr;      // [n], [m,n], or null
    const void* gate = nullptr;                           // [m,n]: times QuickGELU's derivative there, or null
    void* act = nullptr;                                  // [m,n]: becomes QuickGELU(gate), or null; may be gate, as each element has one thread
    const bf16* beside = nullptr;                         // the gate or the residual, if a kernel may ask for it early: bf16, and rows of whole 16 bytes
    int m = 0, n = 0;
    bool c_bf16 = false, bias_bf16 = false, residual_bf16 = false, gate_bf16 = false;  // else f32; pre is as c, act as gate
    bool accumulate = false, gelu = false;
    bool wide = false;  // every group of eight columns starts at 16 bytes in every matrix

    PTX_INLINE std::int64_t at(int row, int col) const { return std::int64_t(row) * n + col; }
};

template <int W>
PTX_INLINE void unpack(const unsigned (&pairs)[W / 2], float (&v)[W]) {
    for (int j = 0; j < W / 2; ++j) {
        const float2 pair = unpack_bf16(pairs[j]);
        v[2 * j] = pair.x, v[2 * j + 1] = pair.y;
    }
}
// v = x[i .. i+W), in accesses of 16 bytes (8 for four bf16)
template <int W>
PTX_INLINE void read(const void* x, bool narrow, std::int64_t i, float (&v)[W]) {
    if (narrow) {
        const auto* p = reinterpret_cast<const unsigned*>(static_cast<const bf16*>(x) + i);
        unsigned w[W / 2];
        if constexpr (W == 8) {
            const uint4 u = *reinterpret_cast<const uint4*>(p);
            w[0] = u.x, w[1] = u.y, w[2] = u.z, w[3] = u.w;
        } else {
            const uint2 u = *reinterpret_cast<const uint2*>(p);
            w[0] = u.x, w[1] = u.y;
        }
        unpack<W>(w, v);
    } else {
        for (int j = 0; j < W; j += 4) {
            const float4 f = *reinterpret_cast<const float4*>(static_cast<const float*>(x) + i + j);
            v[j] = f.x, v[j + 1] = f.y, v[j + 2] = f.z, v[j + 3] = f.w;
        }
    }
}
template <int W>
PTX_INLINE void write(void* x, bool narrow, std::int64_t i, const float (&v)[W]) {
    if (narrow) {
        auto* p = static_cast<bf16*>(x) + i;
        if constexpr (W == 8) {
            const uint4 u = make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]), pack_bf16(v[6], v[7]));
            *reinterpret_cast<uint4*>(p) = u;
        } else {
            const uint2 u = make_uint2(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]));
            *reinterpret_cast<uint2*>(p) = u;
        }
    } else {
        for (int j = 0; j < W; j += 4) {
            const float4 f = make_float4(v[j], v[j + 1], v[j + 2], v[j + 3]);
            *reinterpret_cast<float4*>(static_cast<float*>(x) + i + j) = f;
        }
    }
}
PTX_INLINE float read1(const void* x, bool narrow, std::int64_t i) {
    return narrow ? float(static_cast<const bf16*>(x)[i]) : static_cast<const float*>(x)[i];
}
PTX_INLINE void write1(void* x, bool narrow, std::int64_t i, float v) {
    if (narrow) static_cast<bf16*>(x)[i] = bf16(v);
    else static_cast<float*>(x)[i] = v;
}

// The activation sees the value that `pre` keeps, rounded to its type: the backward pass starts from the same number.
PTX_INLINE float rounded(float v, bool narrow) { return narrow ? float(bf16(v)) : v; }
// 1 / (1 + e^(-1.702 v)) in four instructions: exp and a division are fourteen, and an epilogue shares its warps with the next tile's wgmmas.
// Relative error 1.3e-6 for |v| < 8, where bf16's is 2e-3.
PTX_INLINE float gelu_sigmoid(float v) { return rcp_approx(1.0f + exp2_approx(-1.702f * kLog2e * v)); }
PTX_INLINE float quick_gelu_of(float v) { return v * gelu_sigmoid(v); }
PTX_INLINE float quick_gelu_slope(float v) {
    const float s = gelu_sigmoid(v);
    return s + 1.702f * v * s * (1.0f - s);
}

PTX_INLINE void emit1(const Epilogue& e, std::int64_t at, int col, float v) {
    if (e.bias) v += read1(e.bias, e.bias_bf16, col);
    if (e.residual) v += read1(e.residual, e.residual_bf16, at);
    if (e.gate) {
        const float x = read1(e.gate, e.gate_bf16, at);
        if (e.act) write1(e.act, e.gate_bf16, at, quick_gelu_of(x));
        v *= quick_gelu_slope(x);
    }
    if (e.accumulate) v += read1(e.c, e.c_bf16, at);
    if (e.gelu) {
        v = rounded(v, e.c_bf16);
        if (e.pre) write1(e.pre, e.c_bf16, at, v);
        v = quick_gelu_of(v);
    }
    write1(e.c, e.c_bf16, at, v);
}

template <int W>
PTX_INLINE void add_to(float (&v)[W], const void* x, bool narrow, std::int64_t i) {
    float y[W];
    read(x, narrow, i, y);
    for (int j = 0; j < W; ++j) v[j] += y[j];
}

// W columns of x at `at`. `early`: where they lie already if they are bf16, or null.
template <int W>
PTX_INLINE void read_beside(const void* x, bool narrow, std::int64_t at, float (&v)[W], const uint4* early) {
    if constexpr (W == 8)
        if (early && narrow) {
            const unsigned w[] = {early->x, early->y, early->z, early->w};
            return unpack<W>(w, v);
        }
    read(x, narrow, at, v);
}

// W columns of a row that are all inside and start at 16 bytes.
template <int W>
PTX_INLINE void emit_wide(const Epilogue& e, std::int64_t at, int col, float (&v)[W], const uint4* early = nullptr) {
    if (e.bias) add_to(v, e.bias, e.bias_bf16, col);
    if (e.residual) {
        float x[W];
        read_beside(e.residual, e.residual_bf16, at, x, early);
        for (int j = 0; j < W; ++j) v[j] += x[j];
    }
    if (e.gate) {
        float x[W];
        read_beside(e.gate, e.gate_bf16, at, x, early);
        for (int j = 0; j < W; ++j) v[j] *= quick_gelu_slope(x[j]);
        if (e.act) {
            for (int j = 0; j < W; ++j) x[j] = quick_gelu_of(x[j]);
            write(e.act, e.gate_bf16, at, x);
        }
    }
    if (e.accumulate) add_to(v, e.c, e.c_bf16, at);
    if (e.gelu) {
        if (e.c_bf16)  // two at a time: one conversion
            for (int j = 0; j < W / 2; ++j) {
                const float2 pair = unpack_bf16(pack_bf16(v[2 * j], v[2 * j + 1]));
                v[2 * j] = pair.x, v[2 * j + 1] = pair.y;
            }
        if (e.pre) write(e.pre, e.c_bf16, at, v);
        for (int j = 0; j < W; ++j) v[j] = quick_gelu_of(v[j]);
    }
    write(e.c, e.c_bf16, at, v);
}

// Columns col .. col+W of one row, col a multiple of W: all of them, or where rows are not whole 16 bytes one by one.
// What lies outside of the matrix is dropped. `x` lies in shared memory, 16-byte aligned; column j is x[j ^ flip], flip a multiple of four.
template <int W>
PTX_INLINE void emit(const Epilogue& e, int row, int col, const float* x, int flip = 0, const uint4* early = nullptr) {
    if (row >= e.m || col >= e.n) return;
    const std::int64_t at = e.at(row, col);
    if (e.wide) {
        float v[W];
#pragma unroll
        for (int j = 0; j < W; j += 4) {
            const float4 four = *reinterpret_cast<const float4*>(x + (j ^ flip));
            v[j] = four.x, v[j + 1] = four.y, v[j + 2] = four.z, v[j + 3] = four.w;
        }
        return emit_wide(e, at, col, v, early);
    }
#pragma unroll 1  // the rare case: keep its code small
    for (int j = 0; j < W; ++j)
        if (col + j < e.n) emit1(e, at + j, col + j, x[j ^ flip]);
}

}  // namespace eng::cuda
