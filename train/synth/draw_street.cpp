// Where people walk: walls, windows, paving, trees, cars, other people far away; and what gets in the way.
// Frame: 100 x 200 units, y down. Colours are muted, as streets are; a few things are not, so that colour alone does
// not find the person. Random numbers are drawn into variables first: the order of arguments is the compiler's choice.
#include <algorithm>

#include "train/synth/view.h"

namespace scvd::synth {
namespace {

double number(eng::Rng& rng, int lo, int hi) { return lo + double(rng.below(std::uint32_t((hi - lo) * 4 + 1))) / 4; }

Rgb muted(eng::Rng& rng, int lo, int hi) {
    const int base = lo + int(rng.below(std::uint32_t(hi - lo)));
    const auto channel = [&] { return std::uint8_t(std::clamp(base + int(rng.below(31)) - 15, 0, 255)); };
    const std::uint8_t r = channel(), g = channel(), b = channel();
    return {r, g, b};
}
Rgb lively(eng::Rng& rng) {
    const Rgb any = colour(int(rng.below(colour_count))).rgb;
    return vary(any, rng.bits(), 0, 30);
}

void wall(Canvas& c, eng::Rng& rng, double x, double w, double ground) {
    const Rgb paint = muted(rng, 90, 220);
    c.fill(box(x, 0, w, ground), {paint}, part_none);
    const double step_x = number(rng, 12, 26), step_y = number(rng, 18, 34);
    const Rgb glass = muted(rng, 40, 170);
    if (rng.chance(0.25f)) {  // bricks or shutters
        for (double y = 4; y < ground; y += 7)
            c.stroke(open_line({{x, y}, {x + w, y}}), 0.8, shade(paint, 84), part_none);
    } else {
        for (double wx = x + 4; wx + step_x * 0.6 < x + w; wx += step_x)
            for (double wy = 6; wy + step_y < ground - 10; wy += step_y)
                c.fill(box(wx, wy, step_x * 0.6, step_y * 0.6), {glass}, part_none);
    }
    if (rng.chance(0.5f)) c.fill(box(x + w * 0.3, ground - 55, 16, 55), {muted(rng, 40, 130)}, part_none);
    if (rng.chance(0.35f)) c.fill(box(x + 2, ground - 70, w * 0.8, 9), {lively(rng)}, part_none);  // a shop's sign
}

void tree(Canvas& c, eng::Rng& rng, double x, double ground) {
    c.fill(box(x - 2, ground - 60, 4, 62), {{88, 68, 50}}, part_none);
    for (int i = 0; i < 4; ++i) {
        const Point at{x + number(rng, -12, 12), ground - 70 + number(rng, -22, 10)};
        c.fill(ellipse(at, 15, 13), {vary({70, 104, 58}, rng.bits(), 0, 18)}, part_none);
    }
}

void car(Canvas& c, eng::Rng& rng, double x, double y, double size) {
    const Rgb paint = rng.chance(0.5f) ? muted(rng, 40, 220) : lively(rng);
    c.fill(smooth({{x, y},
                   {x, y - 14 * size},
                   {x + 12 * size, y - 16 * size},
                   {x + 22 * size, y - 28 * size},
                   {x + 48 * size, y - 28 * size},
                   {x + 60 * size, y - 15 * size},
                   {x + 74 * size, y - 12 * size},
                   {x + 74 * size, y}}),
           {paint, 0, true}, part_none);
    c.fill(smooth({{x + 18 * size, y - 15 * size},
                   {x + 26 * size, y - 25 * size},
                   {x + 45 * size, y - 25 * size},
                   {x + 54 * size, y - 15 * size}}),
           {{60, 70, 80}}, part_none);
    for (double wx : {16.0, 58.0}) c.fill(ellipse({x + wx * size, y}, 7 * size, 7 * size), {{28, 28, 30}}, part_none);
}

void stranger(Canvas& c, eng::Rng& rng, double x, double feet, double tall) {
    const double u = tall / 100;
    const Rgb above = muted(rng, 40, 200), below = muted(rng, 30, 120);
    for (double side : {-1.0, 1.0})
        c.fill(limb({x + side * 4 * u, feet - 50 * u}, 6 * u, {x + side * 5 * u, feet}, 3 * u), {below}, part_none);
    c.fill(smooth({{x - 13 * u, feet - 85 * u},
                   {x + 13 * u, feet - 85 * u},
                   {x + 12 * u, feet - 42 * u},
                   {x - 12 * u, feet - 42 * u}}),
           {above, 0, true}, part_none);
    c.fill(ellipse({x, feet - 92 * u}, 6 * u, 7.5 * u), {skin_tone(int(rng.below(skin_count)))}, part_none);
    c.fill(ellipse({x, feet - 95 * u}, 6 * u, 5 * u), {muted(rng, 20, 70)}, part_none);
}

void pavement(Canvas& c, eng::Rng& rng, double ground) {
    const Rgb paint = muted(rng, 100, 190);
    c.fill(box(0, ground, 100, 210 - ground), {paint}, part_none);
    const int style = pick(rng, {4, 3, 3});
    for (int i = 1; style == 0 && i < 8; ++i) {  // slabs that shrink with distance
        const double y = ground + (210 - ground) * i * i / 64.0;
        c.stroke(open_line({{0, y}, {100, y}}), 0.7, shade(paint, 86), part_none);
    }
    for (int i = -3; style == 0 && i <= 8; ++i)
        c.stroke(open_line({{20 + i * 12.0, ground}, {i * 40.0 - 70, 210}}), 0.6, shade(paint, 88), part_none);
    for (int i = 0; style == 1 && i < 4; ++i)
        c.fill(polygon({{i * 30.0 - 8, 182}, {i * 30.0 + 8, 182}, {i * 34.0 + 4, 210}, {i * 34.0 - 18, 210}}),
               {{226, 226, 222}}, part_none);
    if (style == 2) c.fill(box(0, ground, 100, 5), {shade(paint, 120)}, part_none);
}

}  // namespace

void draw_street(Canvas& c, eng::Rng& rng) {
    const double ground = number(rng, 96, 150);
    c.fill(box(0, -100, 100, 320), {vary({186, 202, 216}, rng.bits(), 0, 20)}, part_none);
    if (rng.chance(0.8f)) {
        double x = -number(rng, 0, 30);
        while (x < 100) {
            const double w = number(rng, 34, 80);
            if (rng.chance(0.85f)) wall(c, rng, x, w, ground);
            x += w;
        }
    } else {  // a park
        c.fill(box(0, ground - 40, 100, 45), {vary({104, 134, 84}, rng.bits(), 0, 18)}, part_none);
    }
    if (rng.chance(0.35f)) tree(c, rng, number(rng, 0, 100), ground);
    pavement(c, rng, ground);
    if (rng.chance(0.3f)) {
        const double x = number(rng, -40, 70), y = ground + number(rng, 4, 14), size = number(rng, 2, 4) / 4;
        car(c, rng, x, y, size);
    }
    if (rng.chance(0.3f)) {
        const double x = rng.chance(0.5f) ? number(rng, 0, 20) : number(rng, 80, 100);
        const double feet = ground + number(rng, 6, 20), tall = number(rng, 40, 80);
        stranger(c, rng, x, feet, tall);
    }
    const double post = number(rng, 0, 95), bin = number(rng, 0, 85);
    if (rng.chance(0.2f)) c.fill(box(post, 0, 3, ground + 12), {muted(rng, 50, 120)}, part_none);
    if (rng.chance(0.15f)) c.fill(box(bin, ground - 14, 12, 22), {lively(rng), 0, true}, part_none);
}

void draw_occluder(Canvas& c, const View& v, eng::Rng& rng) {
    if (v.occluder == low_object) {
        const double top = number(rng, 148, 182);
        switch (pick(rng, {3, 3, 2})) {
            case 0:
                return car(c, rng, number(rng, -45, 40), 200, (200 - top) / 27 + 0.25);
            case 1:  // a planter with its bush
                c.fill(box(-5, top + 8, 110, 40), {muted(rng, 80, 170)}, part_none);
                for (int i = 0; i < 9; ++i) {
                    const double tall = 7 + number(rng, 0, 3);
                    const Rgb leaves = vary({66, 108, 58}, rng.bits(), 0, 16);
                    c.fill(ellipse({i * 13.0 - 2, top + 7}, 10, tall), {leaves}, part_none);
                }
                return;
            default:  // a railing
                for (double y : {top, top + 12}) c.fill(box(-5, y, 110, 4), {{120, 124, 130}}, part_none);
                for (int i = 0; i < 9; ++i) c.fill(box(i * 13.0, top, 3.5, 60), {{112, 116, 122}}, part_none);
        }
    } else if (v.occluder == pole) {
        const double x = number(rng, 24, 68), thick = number(rng, 5, 9);
        c.fill(box(x, -100, thick, 310), {muted(rng, 60, 140), 0, true}, part_none);
    } else if (v.occluder == passer_by) {
        const double x = rng.chance(0.5f) ? number(rng, -4, 12) : number(rng, 88, 104), tall = number(rng, 150, 190);
        stranger(c, rng, x, 208, tall);
    }
}

}  // namespace scvd::synth
