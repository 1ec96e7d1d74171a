// How well attention maps point at regions: against sampling the definitions, and the chance level of a uniform map.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "engine/error.h"
#include "tests/errors.h"
#include "train/metrics.h"

using namespace scvd;

namespace {

using eng::test::error_of;

constexpr float infinity = std::numeric_limits<float>::infinity();

using Mask = std::vector<std::uint8_t>;

Mask random_mask(std::mt19937& rng, int height, int width) {
    Mask mask(static_cast<std::size_t>(height) * width);
    for (auto& m : mask) m = rng() % 3 == 0 ? 255 : 0;
    mask[rng() % mask.size()] = 1;
    return mask;
}

TEST(Localise, AUniformMapScoresTheAreaShare) {
    std::mt19937 rng(3);
    const int sizes[][4] = {{24, 8, 384, 128}, {4, 2, 9, 7}, {3, 5, 1, 1}, {5, 4, 3, 3}, {1, 1, 6, 5}};
    for (const auto& [gh, gw, h, w] : sizes) {
        const Mask mask = random_mask(rng, h, w);
        const auto inside = mask.size() - static_cast<std::size_t>(std::count(mask.begin(), mask.end(), 0));
        const double area = static_cast<double>(inside) / static_cast<double>(mask.size());
        const Localisation l = localise(std::vector<float>(gh * gw, 0.1f), gh, gw, mask, h, w);
        EXPECT_EQ(l.hit, area);
        EXPECT_EQ(l.area, area);
        EXPECT_NEAR(l.mass, area, 1e-12);  // a few hundred additions in double
    }
}

// Sizes that divide and whole weights make every step of the interpolation exact, in any formulation.
TEST(Localise, EqualsSamplingTheDefinitions) {
    std::mt19937 rng(4);
    constexpr int gh = 4, gw = 3, h = 16, w = 12, factor = 4;
    for (int trial = 0; trial < 50; ++trial) {
        const Mask mask = random_mask(rng, h, w);
        std::vector<float> map(gh * gw);
        for (float& m : map) m = static_cast<float>(rng() % 4);
        map[rng() % map.size()] = static_cast<float>(2 + rng() % 3);
        double best = -1, tied = 0, hits = 0, inside = 0, total = 0;
        for (int y = 0; y < h; ++y)
            for (int x = 0; x < w; ++x) {
                const bool in = mask[y * w + x] != 0;
                double value = 0;  // tent functions around the centres of the cells of a map padded by repetition
                for (int cy = -1; cy <= gh; ++cy)
                    for (int cx = -1; cx <= gw; ++cx) {
                        const double dy = std::abs((y + 0.5) / factor - (cy + 0.5));
                        const double dx = std::abs((x + 0.5) / factor - (cx + 0.5));
                        value += std::max(0.0, 1 - dy) * std::max(0.0, 1 - dx) *
                                 map[std::clamp(cy, 0, gh - 1) * gw + std::clamp(cx, 0, gw - 1)];
                    }
                if (value > best) best = value, tied = hits = 0;
                if (value == best) tied += 1, hits += in;
                inside += in * map[y / factor * gw + x / factor];
                total += map[y / factor * gw + x / factor];
            }
        const Localisation l = localise(map, gh, gw, mask, h, w);
        EXPECT_DOUBLE_EQ(l.hit, hits / tied);
        EXPECT_NEAR(l.mass, inside / total, 1e-12);
    }
}

// 3 pixels over 2 cells: the middle pixel belongs to both halves.
TEST(Localise, PixelsAndCellsNeedNotDivide) {
    const std::vector<float> map{3, 1};
    EXPECT_NEAR(localise(map, 1, 2, Mask{1, 0, 0}, 1, 3).mass, 3 * (2.0 / 3) / 4, 1e-15);
    EXPECT_NEAR(localise(map, 1, 2, Mask{0, 1, 0}, 1, 3).mass, (3 * (1.0 / 3) + 1.0 / 3) / 4, 1e-15);
    EXPECT_NEAR(localise(map, 2, 1, Mask{0, 1, 1}, 3, 1).mass, (3 * (1.0 / 3) + 1) / 4, 1e-15);
    EXPECT_NEAR(localise(map, 1, 2, Mask{0, 1}, 2, 1).mass, 0.5, 1e-15);  // fewer pixels than cells
}

TEST(Localise, APeakHitsOrMisses) {
    std::vector<float> map(24 * 8, 0.01f);
    map[5 * 8 + 3] = 1;  // its centre lies at row 88, column 56 of 384 x 128
    Mask mask(384 * 128, 0);
    for (int y = 84; y < 92; ++y) std::fill_n(mask.begin() + y * 128 + 52, 8, 1);
    EXPECT_EQ(localise(map, 24, 8, mask, 384, 128).hit, 1);
    for (auto& m : mask) m = !m;
    EXPECT_EQ(localise(map, 24, 8, mask, 384, 128).hit, 0);
}

TEST(Localise, BadInputIsAnError) {
    const Mask mask{0, 1};
    const auto error = [&](std::vector<float> map) { return error_of([&] { localise(map, 1, 2, mask, 1, 2); }); };
    EXPECT_MENTIONS(error({1}), "a map of 1 values");
    EXPECT_MENTIONS(error({1, NAN}), "cannot hold nan");
    EXPECT_MENTIONS(error({1, -1}), "cannot hold -1");
    EXPECT_MENTIONS(error({1, infinity}), "cannot hold inf");
    EXPECT_MENTIONS(error({0, 0}), "zero everywhere");
    EXPECT_MENTIONS(error_of([] { localise(std::vector<float>{1}, 1, 1, Mask{0, 0}, 1, 2); }), "region is empty");
}

TEST(Localise, TheTableHoldsMeansByClass) {
    LocalisationTable table;
    table.add("hat", {1, 0.5, 0.1});
    table.add("hat", {0, 0.3, 0.3});
    table.add("bag", {1, 0.7, 0.2});
    ASSERT_EQ(table.classes().size(), 2u);
    const LocalisationTable::Row& hat = table.classes().at("hat");
    EXPECT_EQ(hat.phrases, 2);
    EXPECT_DOUBLE_EQ(hat.mean.hit, 0.5);
    EXPECT_DOUBLE_EQ(hat.mean.mass, 0.4);
    EXPECT_DOUBLE_EQ(hat.hit_over_chance(), 2.5);
    EXPECT_EQ(table.overall().phrases, 3);
    EXPECT_DOUBLE_EQ(table.overall().mean.hit, 2.0 / 3);
    EXPECT_DOUBLE_EQ(table.overall().mean.area, 0.2);
    EXPECT_EQ(LocalisationTable().overall().hit_over_chance(), 0);
}

}  // namespace
