#include "train/heatmap.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"

namespace scvd {
namespace {

// Thirteen stops on an arc through CIELAB from L* 8 to 94 with equal steps of lightness (7.2) and nearly equal
// differences of colour (dE 17.8 to 18.6). Straight lines between the stops stay close to the arc.
constexpr float kStops[13][3] = {{31, 10, 65},   {68, 1, 87},    {105, 0, 82},   {139, 0, 76},    {173, 0, 70},
                                 {201, 32, 61},  {222, 63, 48},  {238, 93, 31},  {247, 125, 10},  {247, 158, 39},
                                 {246, 188, 81}, {245, 215, 124}, {245, 241, 172}};

// One output coordinate's two source cells and the second one's share.
struct Tap {
    int a, b;
    float share;
};
std::vector<Tap> taps(int size, int cells) {
    std::vector<Tap> t(static_cast<std::size_t>(size));
    for (int i = 0; i < size; ++i) {
        const float at = (float(i) + 0.5f) * float(cells) / float(size) - 0.5f;
        const float clamped = std::clamp(at, 0.f, float(cells - 1));
        const int a = int(clamped);
        t[static_cast<std::size_t>(i)] = {a, std::min(a + 1, cells - 1), clamped - float(a)};
    }
    return t;
}

}  // namespace

std::array<float, 3> heat_colour(float value) {
    const float p = std::clamp(value, 0.f, 1.f) * 12;
    const int i = std::min(11, int(p));
    std::array<float, 3> c{};
    for (std::size_t k = 0; k < 3; ++k) c[k] = kStops[i][k] + (kStops[i + 1][k] - kStops[i][k]) * (p - float(i));
    return c;
}

std::vector<std::uint8_t> blend_heatmap(const std::uint8_t* rgb, int w, int h, const float* map, int gh, int gw,
                                        float alpha) {
    ENG_CHECK(w > 0 && h > 0 && gh > 0 && gw > 0, "heatmap", "a picture of ", w, "x", h, " and a map of ", gw, "x", gh,
              ", want at least 1x1");
    ENG_CHECK(alpha >= 0 && alpha <= 1, "heatmap", "alpha is ", alpha, ", want 0..1");
    const float* end = map + std::ptrdiff_t(gh) * gw;
    for (const float* v = map; v != end; ++v)
        ENG_CHECK(std::isfinite(*v), "heatmap", "the map holds ", *v, " at cell ", v - map);
    const auto [lo, hi] = std::minmax_element(map, end);
    const float low = *lo, scale = *hi > low ? 1 / (*hi - low) : 0;
    const std::vector<Tap> ys = taps(h, gh), xs = taps(w, gw);
    std::vector<std::uint8_t> out(std::size_t(w) * std::size_t(h) * 3);
    std::size_t at = 0;
    for (const Tap& y : ys) {
        const float *top = map + std::ptrdiff_t(y.a) * gw, *bottom = map + std::ptrdiff_t(y.b) * gw;
        for (const Tap& x : xs) {
            const float upper = top[x.a] + (top[x.b] - top[x.a]) * x.share;
            const float lower = bottom[x.a] + (bottom[x.b] - bottom[x.a]) * x.share;
            const float v = std::clamp((upper + (lower - upper) * y.share - low) * scale, 0.f, 1.f);
            const auto c = heat_colour(v);
            const float cover = alpha * (1 + 2 * v) / 3;
            for (std::size_t k = 0; k < 3; ++k, ++at)
                out[at] = std::uint8_t(std::lround(float(rgb[at]) + cover * (c[k] - float(rgb[at]))));
        }
    }
    return out;
}

}  // namespace scvd
