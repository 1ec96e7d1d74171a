// Surveillance cameras differ in light, colour and sharpness; each of the 15 has its own habits, each picture adds a
// little. Integers only, so that the bytes do not depend on how a compiler rounds.
#include <algorithm>

#include "train/synth/view.h"

namespace scvd::synth {
namespace {

using Bytes = std::vector<std::uint8_t>;

// [1 2 1] along both axes.
void blur(Bytes& rgb, int w, int h) {
    Bytes row(rgb.size());
    for (int y = 0; y < h; ++y)
        for (int x = 0; x < w; ++x)
            for (int c = 0; c < 3; ++c) {
                const auto at = [&](int i) { return int(rgb[(std::size_t(y) * w + std::clamp(i, 0, w - 1)) * 3 + c]); };
                row[(std::size_t(y) * w + x) * 3 + c] = std::uint8_t((at(x - 1) + 2 * at(x) + at(x + 1) + 2) / 4);
            }
    const std::size_t line = std::size_t(w) * 3;
    for (int y = 0; y < h; ++y) {
        const std::uint8_t *a = &row[line * std::max(0, y - 1)], *b = &row[line * y],
                           *c = &row[line * std::min(h - 1, y + 1)];
        for (std::size_t i = 0; i < line; ++i) rgb[line * y + i] = std::uint8_t((a[i] + 2 * b[i] + c[i] + 2) / 4);
    }
}

// A distant or cheap camera: blocks of 2 x 2 become one value, softened again.
void halve_resolution(Bytes& rgb, int w, int h) {
    for (int y = 0; y + 1 < h; y += 2)
        for (int x = 0; x + 1 < w; x += 2)
            for (int c = 0; c < 3; ++c) {
                std::uint8_t* p = &rgb[(std::size_t(y) * w + x) * 3 + c];
                const std::size_t down = std::size_t(w) * 3;
                p[0] = p[3] = p[down] = p[down + 3] = std::uint8_t((p[0] + p[3] + p[down] + p[down + 3] + 2) / 4);
            }
    blur(rgb, w, h);
}

// Per channel: gain in percent, then a parabola that lifts or lowers the middle tones (a gamma without powers).
std::array<Bytes, 3> tone_curves(eng::Rng& camera, eng::Rng& picture) {
    const int light = 86 + int(camera.below(25)) + int(picture.below(11)) - 5;
    const int bend = int(camera.below(41)) - 20 + int(picture.below(11)) - 5;
    std::array<Bytes, 3> curves;
    for (auto& curve : curves) {
        const int gain = light + int(camera.below(13)) - 6, floor = int(camera.below(10));
        curve.resize(256);
        for (int i = 0; i < 256; ++i) {
            const int v = i * gain / 100;
            curve[i] =
                std::uint8_t(std::clamp(floor + v * (255 - floor) / 255 + bend * v * (255 - v) / 65025 * 2, 0, 255));
        }
    }
    return curves;
}

void add_noise(Bytes& rgb, std::uint64_t seed, std::uint64_t stream, int strength) {
    if (!strength) return;
    // A sum of four bytes is close enough to a normal number (deviation 148); luminance only, as sensors show it.
    for (std::size_t i = 0, block = 0; i < rgb.size(); ++block) {
        const eng::Philox4 r = eng::philox(seed, stream, block);
        for (int k = 0; k < 4 && i < rgb.size(); ++k, i += 3) {
            const int sum = int(r[k] & 255) + int(r[k] >> 8 & 255) + int(r[k] >> 16 & 255) + int(r[k] >> 24) - 510;
            const int n = sum * strength / 148;
            for (int c = 0; c < 3; ++c) rgb[i + c] = std::uint8_t(std::clamp(rgb[i + c] + n, 0, 255));
        }
    }
}

}  // namespace

void apply_camera(Picture& p, std::uint64_t seed, const View& v) {
    eng::Rng camera(seed, stream_for("camera", v.camera)), picture(seed, v.stream ^ eng::stream_of("exposure"));
    const auto curves = tone_curves(camera, picture);
    const int softness = pick(camera, {5, 6, 2}), noise = int(camera.below(7)), quality = 58 + int(camera.below(33));
    const bool coarse = camera.chance(0.2f);
    if (coarse) halve_resolution(p.rgb, p.width, p.height);
    for (int i = 0; i < softness; ++i) blur(p.rgb, p.width, p.height);
    for (std::size_t i = 0; i < p.rgb.size(); i += 3)
        for (int c = 0; c < 3; ++c) p.rgb[i + c] = curves[c][p.rgb[i + c]];
    add_noise(p.rgb, seed, v.stream ^ eng::stream_of("noise"), std::max(0, noise + int(picture.below(3)) - 1));
    p.quality = std::clamp(quality + int(picture.below(11)) - 5, 50, 95);
}

}  // namespace scvd::synth
