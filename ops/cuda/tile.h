#pragma once
// bf16 tiles in shared memory for ldmatrix, and the copies that fill them.
#include "ops/cuda/kernel.h"
#include "ops/cuda/ptx.h"

namespace eng::cuda {

// Element offset of 16-byte chunk c of row r in a tile of COLS columns. Chunks are permuted inside their row by XOR with
// the row, so that the eight rows which one ldmatrix reads at the same chunk lie in eight different groups of banks.
template <int COLS>
PTX_INLINE int chunk_at(int r, int c) {
    constexpr int per_row = COLS / 8;
    return (r * per_row + (per_row >= 8 ? c ^ r % 8 : c ^ r / (8 / per_row) % per_row)) * 8;
}

// Whether rows of a matrix can be copied 16 bytes at a time.
inline bool whole_chunks(const void* p, std::int64_t pitch) {
    return reinterpret_cast<std::uintptr_t>(p) % 16 == 0 && pitch % 8 == 0;
}

// Eight elements of which `count` exist, from an address of any alignment.
PTX_INLINE uint4 gather8(const bf16* p, int count) {
    const auto* h = reinterpret_cast<const unsigned short*>(p);
    unsigned w[4] = {};
#pragma unroll
    for (int j = 0; j < 8; ++j)
        if (j < count) w[j / 2] |= unsigned(h[j]) << (j % 2 * 16);
    return make_uint4(w[0], w[1], w[2], w[3]);
}

// Rows row0.., columns col0.. of a matrix into a tile, zero outside of rows x cols: asynchronous copies (to be committed
// and waited for) where the matrix has whole chunks, else loads and stores that the next barrier makes visible.
template <int ROWS, int COLS, int THREADS>
PTX_INLINE void load_tile(bf16* tile, const bf16* x, int row0, int col0, int rows, int cols,
                          std::int64_t pitch, bool whole) {
    constexpr int each = ROWS * COLS / 8 / THREADS;
    static_assert(each * THREADS * 8 == ROWS * COLS);
    const auto chunk = [&](int j, auto&& f) {
        const int i = int(threadIdx.x) + j * THREADS, r = i / (COLS / 8), c = i % (COLS / 8), left = cols - (col0 + c * 8);
        const bool inside = row0 + r < rows && left > 0;
        f(tile + chunk_at<COLS>(r, c), inside ? x + (row0 + r) * pitch + col0 + c * 8 : x, inside ? min(left, 8) : 0);
    };
    if (whole) {
#pragma unroll
        for (int j = 0; j < each; ++j) chunk(j, [](bf16* to, const bf16* from, int count) { cp_async16(to, from, unsigned(count) * 2); });
    } else {
#pragma unroll 1
        for (int j = 0; j < each; ++j) chunk(j, [](bf16* to, const bf16* from, int count) { *reinterpret_cast<uint4*>(to) = gather8(from, count); });
    }
}

// Fragments of mma.m16n8k16. An A operand of 16 rows x 16 k, from a tile stored [row][k] or, transposed, [k][row].
template <int COLS, bool TRANSPOSED>
PTX_INLINE void load_a(unsigned (&f)[4], const bf16* tile, int row, int k, int lane) {
    if constexpr (!TRANSPOSED) ldmatrix_x4(f, tile + chunk_at<COLS>(row + lane % 16, k / 8 + lane / 16));
    else ldmatrix_x4_trans(f, tile + chunk_at<COLS>(k + lane / 16 * 8 + lane % 8, row / 8 + lane / 8 % 2));
}
// Two B operands of 16 k x 8 columns side by side: columns col..+7 in f[0], f[1] and col+8..+15 in f[2], f[3]; from a
// tile stored [col][k] or, transposed, [k][col].
template <int COLS, bool TRANSPOSED>
PTX_INLINE void load_b(unsigned (&f)[4], const bf16* tile, int col, int k, int lane) {
    if constexpr (!TRANSPOSED) ldmatrix_x4(f, tile + chunk_at<COLS>(col + lane / 16 * 8 + lane % 8, k / 8 + lane / 8 % 2));
    else ldmatrix_x4_trans(f, tile + chunk_at<COLS>(k + lane % 16, col / 8 + lane / 16));
}

}  // namespace eng::cuda
