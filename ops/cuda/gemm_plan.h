#pragma once
// How Hopper's product is cut (gemm_hopper.cu): a model of the card, not a search on it, so that a shape, and who
// shares its launch, has the same bits on every run. The rows `tiles.*` of bench/run.py measure what it chooses beside what it does not.
#include <algorithm>
#include <cmath>
#include <span>

#include "ops/cuda/chip.h"
#include "ops/cuda/gemm.h"

namespace eng::cuda {

constexpr int kTileRows = 128, kTileDepth = 64;  // of a tile of c; of a step along k

// The peers, the width of tiles and the number of splits that a model of the card finds fastest. Its unit is a step of a tile
// one column wide, 2.7 ns at 788 TFLOP/s on 132 multiprocessors. A step costs its products or its copies, whichever is more:
// - from L2: alone, tiles of 128 x 256 at that rate read 9.2 TB/s, taken for all that it has, and narrower ones more for
//   each product; with a peer all widths stay below;
// - to and from shared memory, 128 bytes a clock: a column of a step is 4 clocks of products and 3 of copies (one in, two
//   out, to the two warpgroups), a's 128 rows are 256 clocks: all that there is at 256 columns, too much at fewer.
// Blocks take turns; a unit of work costs its steps, about one more until they are under way, and about four and a half for its
// epilogue (a strip of 16 columns is some 140 instructions, of two warps a quarter of a multiprocessor), but where epilogues
// hide behind the next unit's steps only the strips that these have no room for (two a step; with a gate or an activation that
// is too kind below N / 16 steps), and the whole of a block's last. Every split writes and reads m n floats at 4.3 TB/s.
struct Plan { Tiles tiles; double cost; };
inline double cost_of(std::span<const Product> products, Tiles t) {  // of one launch; all have the same k
    double units = 0, partial = 0;
    for (const Product& p : products) {
        units += double(ceil_div(p.m, kTileRows * t.peers)) * ceil_div(p.n, t.width) * t.splits;
        if (t.splits > 1) partial += 7e-4 * p.m * p.n * t.splits;
    }
    const double rounds = std::ceil(units / (chip().sms / t.peers)), each = ceil_div(ceil_div(products[0].k, kTileDepth), t.splits);
    const double hidden = t.width == 256 ? 0 : std::min(1.0, each / (t.width / 32));
    constexpr double epilogue = 4.5;
    const double step = std::max((kTileRows + t.width / t.peers) * 2 / 3.0, 64 + 0.75 * t.width);
    return (rounds * (each + 1 + epilogue) - (rounds - 1) * epilogue * hidden) * step + partial;
}
// What `wanted` leaves open, 0, is chosen; where blocks may not be launched in pairs they are alone whatever is wanted.
inline Plan plan(std::span<const Product> products, Tiles wanted) {
    if (!chip().clusters) wanted.peers = 1;
    Plan best{{}, INFINITY};
    const auto free = [](int wanted, int one) { return !wanted || wanted == one; };
    for (const int peers : {2, 1})
        for (const int width : {256, 192, 128})
            for (int splits = 1; splits == 1 || (splits <= 32 && ceil_div(products[0].k, kTileDepth) / splits >= 8); ++splits)
                if (free(wanted.peers, peers) && free(wanted.width, width))
                    if (const Plan one{{width, peers, splits}, cost_of(products, {width, peers, splits})}; one.cost < best.cost) best = one;
    if (wanted.splits) best.tiles.splits = wanted.splits;
    return best;
}

}  // namespace eng::cuda
