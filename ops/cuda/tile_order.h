#pragma once
// The order in which blocks take the tiles of a product, and how to find a tile in it without dividing. For host and device.
#include <algorithm>
#include <cstdint>

namespace eng::cuda {

struct TileAt { int m, n; };

// Bands of eight tile rows, so that concurrent blocks share rows of a and columns of b in L2; within a band column by column.
constexpr int kBand = 8;
constexpr TileAt tile_at(int i, int tiles_m, int tiles_n) {
    const int first = i / (kBand * tiles_n) * kBand, rows = std::min(kBand, tiles_m - first), j = i - first * tiles_n;
    return {first + j % rows, j / rows};
}

// n / d, 0 <= n < 2^31, for a d that the host knows: a division is some 180 clocks, and where a unit of work lies took three. The factor
// is 2^p / d rounded up, p = 31 + log2 d rounded up: n times its error is less than 2^p / d, too little to change the quotient (Granlund
// & Montgomery, 1994).
struct Divisor {
    unsigned d = 1, inverse = 0, shift = 0;
    constexpr Divisor() = default;
    constexpr explicit Divisor(int by) : d(unsigned(by)) {
        while (1u << shift < d) ++shift;
        if (d > 1) inverse = unsigned(((std::uint64_t(1) << (31 + shift)) + d - 1) / d), --shift;
    }
    constexpr int of(int n) const { return d == 1 ? n : int(unsigned(std::uint64_t(unsigned(n)) * inverse >> 32) >> shift); }
};

// tile_at by multiplications.
struct TileOrder {
    int tiles_m = 0, tiles_n = 0;
    Divisor band, last;  // tiles of a band, rows of the last one
    constexpr TileOrder() = default;
    constexpr TileOrder(int tiles_m, int tiles_n)
        : tiles_m(tiles_m), tiles_n(tiles_n), band(kBand * tiles_n), last(tiles_m % kBand ? tiles_m % kBand : kBand) {}
    constexpr TileAt at(int i) const {
        const int b = band.of(i), j = i - b * int(band.d);
        const bool whole = (b + 1) * kBand <= tiles_m;
        const int n = whole ? j / kBand : last.of(j);
        return {b * kBand + j - n * (whole ? kBand : int(last.d)), n};
    }
};

}  // namespace eng::cuda
