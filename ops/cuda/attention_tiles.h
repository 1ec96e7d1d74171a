#pragma once
// Attention on Hopper in tiles of 64 rows: a warpgroup's four strips of 16, each in the registers of its warp, meet 64 rows in shared memory by
// wgmma. The layout of its accumulators is mma.sync's, warp by warp, and chunk_at's permutation is the 128-byte swizzle: what
// attention_mma.h makes of a strip goes on from what is here, and the other way round.
//
// 193 rows are three tiles and one row, which would leave 63 of a tile's 64 rows empty: its strip is one warp's, by mma.sync. Columns that fill no
// tile (again 1 of 193) are a block of 16 by mma.sync, too.
#include "ops/cuda/attention_mma.h"
#include "ops/cuda/wgmma.h"

namespace eng::cuda {

constexpr int kGroup = 128;  // threads of a warpgroup, which is a block

// Tiles of n rows, of which the last may have only 17. What else lies in a batch does not matter: short sequences have none.
constexpr int tiles_of(int n, int other) { return std::min(n, other) <= kFewRows ? 0 : (n + kTile - 17) / kTile; }
constexpr int strips_beside(int tiles, int n) { return std::max(n - tiles * kTile + 15, 0) / 16; }  // strips of 16 that no tile has
// Rows that shared memory holds for n: whole strips, and whole tiles where there are any.
constexpr int rows_held(int n, int other) { return std::max((n + 15) / 16 * 16, tiles_of(n, other) * kTile); }

using Tile = Block[kTile / 16];               // 16 x 64 scores of a warp
using TileRows = unsigned[kTile / 16][4];     // the same as A operands of four products

template <class T> PTX_INLINE float (&flat(T& acc))[32] {
    static_assert(sizeof(T) == sizeof(float[32]));
    return reinterpret_cast<float(&)[32]>(acc);
}
// s = rows . tile^T
PTX_INLINE void score_tile(Tile& s, const Rows& rows, const bf16* tile) {
#pragma unroll
    for (int d = 0; d < kD / 16; ++d) wgmma_bf16<kTile, Major::k>(flat(s), rows[d], wgmma_desc(tile, 16, 32 * d), d > 0);
}
// acc += s . tile
PTX_INLINE void add_tile(Sums& acc, const TileRows& s, const bf16* tile) {
#pragma unroll
    for (int g = 0; g < kTile / 16; ++g) wgmma_bf16<kD, Major::mn>(flat(acc), s[g], wgmma_desc(tile, 16, 2048 * g), true);
}
PTX_INLINE void pack_tile(TileRows& a, const Tile& s) {
#pragma unroll
    for (int g = 0; g < kTile / 16; ++g) pack_block(a[g], s[g]);
}

}  // namespace eng::cuda
