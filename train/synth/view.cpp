#include "train/synth/view.h"

#include <string>

namespace scvd::synth {

std::uint64_t stream_for(const char* use, int identity, int image) {
    return eng::stream_of(std::string(use) + "/" + std::to_string(identity) + "/" + std::to_string(image));
}

View make_view(std::uint64_t seed, int identity, int image) {
    // One shuffled round of facings and of cameras per identity; each picture takes the next.
    eng::Rng whole(seed, stream_for("views", identity));
    std::array<int, 4> facings{front, back, left, right};
    std::array<int, 15> cameras;
    for (int i = 0; i < 15; ++i) cameras[i] = i + 1;
    whole.shuffle(facings), whole.shuffle(cameras);

    View v;
    v.stream = stream_for("view", identity, image);
    eng::Rng rng(seed, v.stream);
    v.facing = facings[image % 4];
    if (v.sideways() && rng.chance(0.35f)) v.facing = int(rng.below(2));  // people are mostly seen along the street
    v.camera = cameras[image % 15];
    v.phase = int(rng.below(16));
    v.occluder = pick(rng, {76, 11, 6, 7});
    v.fit = 82 + int(rng.below(15));
    v.shift_x = int(rng.below(121)) - 60;
    v.shift_y = int(rng.below(31)) - 15;
    return v;
}

namespace {

std::array<int, part_count> count(const std::vector<std::uint8_t>& parts) {
    std::array<int, part_count> n{};
    for (std::uint8_t p : parts) ++n[p < part_count ? p : 0];
    return n;
}

void map_figure(Canvas& canvas, const Figure& f, const View& v) {
    const bool under_umbrella = f.has(held) && thing(f[held]).kind == umbrella;
    const double top = under_umbrella ? -17 : f.has(hat) ? -3 : 0, extent = 101 - top;
    const double tall = (94 + 3 * f[height]) / 100.0;
    const double scale = std::min(canvas.height() / extent, canvas.width() * 2.0 / extent) * v.fit / 100 * tall;
    const double slack = canvas.height() - extent * scale;
    canvas.map(scale,
               {canvas.width() * (500 + v.shift_x) / 1000.0, slack * (500 + v.shift_y * 10) / 1000 - top * scale},
               v.facing == left);
}

}  // namespace

Picture render(std::uint64_t seed, const Figure& f, const View& v, int width, int height) {
    Canvas canvas(width, height);
    eng::Rng rng(seed, v.stream ^ eng::stream_of("scene"));
    Picture p;
    p.width = width, p.height = height;
    canvas.map(width / 100.0, {0, height - 2.0 * width});
    draw_street(canvas, rng);
    map_figure(canvas, f, v);
    draw_person(canvas, f, v);
    p.drawn = count(canvas.parts());
    if (v.occluder != nothing) {
        canvas.map(width / 100.0, {0, height - 2.0 * width});
        draw_occluder(canvas, v, rng);
    }
    p.parts = canvas.parts();
    p.seen = count(p.parts);
    p.rgb = canvas.rgb();
    apply_camera(p, seed, v);
    return p;
}

}  // namespace scvd::synth
