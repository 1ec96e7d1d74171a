// Head, hair, hat, glasses, scarf.
#include "train/synth/body.h"

namespace scvd::synth {
namespace {

Rgb hair_of(const Figure& f) { return vary(hair_colour_name(f[hair_colour]).rgb, f.look, hair_colour, 6); }
Rgb thing_colour(const Figure& f, Attribute a) { return vary(colour(thing(f[a]).colour).rgb, f.look, a, 9); }

void face(Canvas& c, const Figure& f, const Body& b) {
    const Rgb skin_paint = skin_tone(f[skin]), dark{50, 36, 32};
    c.fill(ellipse({b.side ? 0.6 : 0, 7}, 5.5, 7), {skin_paint, 0, true}, part_person);
    if (b.from_back) return;
    if (b.side) {
        c.fill(polygon({{5.6, 6}, {7.4, 9}, {5.4, 9.4}}), {skin_paint}, part_person);
        c.fill(ellipse({4, 6.4}, 0.8, 0.7), {dark}, part_person);
        return;
    }
    for (double x : {-2.2, 2.2}) c.fill(ellipse({x, 6.8}, 0.9, 0.6), {dark}, part_person);
    c.stroke(open_line({{-1.5, 10.8}, {1.5, 10.8}}), 0.6, {160, 80, 74}, part_person);
}

void crown(Canvas& c, const Figure& f, const Body& b) {
    const Rgb paint = hair_of(f);
    const bool full = f[hair_style] != short_hair;
    if (b.from_back) {
        c.fill(ellipse({0, 6.4}, 6.1, full ? 7 : 6.4), {paint, 0, true}, part_hair);
    } else if (b.side) {
        c.fill(smooth({{5.6, 3.4},
                       {4, -1.6},
                       {-3.5, -1.8},
                       {-7.6, 3},
                       {-6.4, full ? 13.0 : 11.0},
                       {-2, full ? 12 : 9.5},
                       {-0.4, 4.4},
                       {5, 4.6}}),
               {paint}, part_hair);
    } else {
        c.fill(smooth({{-6.4, full ? 11.0 : 8.0},
                       {-6.8, 2},
                       {-4, -1.6},
                       {4, -1.6},
                       {6.8, 2},
                       {6.4, full ? 11.0 : 8.0},
                       {5, 5},
                       {2.4, 3.4},
                       {-3, 3.6},
                       {-5, 5}}),
               {paint}, part_hair);
    }
    if (f[hair_style] == bun)
        c.fill(ellipse(b.side ? Point{-6.4, 0.6} : Point{0, b.from_back ? 1.0 : -1.8}, 3.4, 3.2),
               {shade(paint, 112), 0, true}, part_hair);
}

void wear_hat(Canvas& c, const Figure& f, const Body& b) {
    const Thing t = thing(f[hat]);
    const Rgb paint = thing_colour(f, hat);
    const double x = b.side ? 0.2 : 0;
    if (t.kind == sun_hat) {
        c.fill(ellipse({x, 3.2}, 11.5, 2.4), {shade(paint, 90)}, part_hat);
        c.fill(smooth({{x - 6.4, 3.6}, {x - 6.4, -3.6}, {x + 6.4, -3.6}, {x + 6.4, 3.6}}), {paint, 0, true}, part_hat);
        return;
    }
    c.fill(smooth({{x - 6.8, 5}, {x - 7.2, -0.6}, {x - 3.4, -3.2}, {x + 3.4, -3.2}, {x + 7.2, -0.6}, {x + 6.8, 5}}),
           {paint, 0, true}, part_hat);
    if (t.kind == beanie) {
        c.fill(box(x - 6.2, 2.2, 12.4, 2.6), {shade(paint, 82)}, part_hat);
    } else if (b.side) {
        c.fill(smooth({{2, 2}, {10.5, 3}, {11, 4.8}, {2, 4.6}}), {shade(paint, 80)}, part_hat);
    } else if (!b.from_back) {
        c.fill(ellipse({0, 3.6}, 5.6, 1.7), {shade(paint, 76)}, part_hat);
    }
}

void wear_glasses(Canvas& c, const Figure& f, const Body& b) {
    const Rgb frame{24, 24, 28};
    const bool dark = f[glasses] == sunglasses;
    if (b.side) {
        c.stroke(open_line({{-2.5, 6}, {4.6, 6.2}}), 0.7, frame, part_glasses);
        c.fill(ellipse({4.4, 6.6}, 1.5, 1.5), {dark ? frame : Rgb{206, 222, 232}}, part_glasses);
        return;
    }
    c.stroke(open_line({{-5.2, 6.4}, {5.2, 6.4}}), 0.7, frame, part_glasses);
    for (double x : {-2.4, 2.4}) {
        c.fill(ellipse({x, 6.8}, 2.1, 1.7), {frame}, part_glasses);
        if (!dark) c.fill(ellipse({x, 6.8}, 1.3, 1), {{214, 228, 236}}, part_glasses);
    }
}

void wear_scarf(Canvas& c, const Figure& f, const Body& b) {
    const Rgb paint = thing_colour(f, scarf);
    c.fill(smooth({{-6.6, 12.4}, {6.6, 12.4}, {7.2, 19}, {-7.2, 19}}), {paint, 0, true}, part_scarf);
    if (b.from_back) return;
    const double x = b.side ? 3.5 : 1.8;
    c.fill(box(x, 16, 3.6, 17), {shade(paint, 86)}, part_scarf);
}

}  // namespace

// What falls below the shoulders: before the torso is drawn when seen from the front, after it from behind.
void draw_hair_behind(Canvas& c, const Figure& f, const Body& b) {
    const Paint paint{hair_of(f), 0, true};
    const int style = f[hair_style];
    if (style == ponytail) {
        if (b.side) c.fill(smooth({{-5, 3}, {-9, 5}, {-11.5, 15}, {-9, 24}, {-7, 16}, {-5, 9}}), paint, part_hair);
        if (b.from_back)
            c.fill(smooth({{-2.6, 4}, {2.6, 4}, {3.4, 15}, {0.6, 29}, {-0.6, 29}, {-3.4, 15}}),
                   {shade(paint.base, 118), 0, true}, part_hair);
    }
    if (style != long_hair && style != bob) return;
    const double end = style == long_hair ? 30 : 17;
    if (b.side)
        c.fill(smooth({{-1, -1}, {-7.6, 2}, {-9.4, 14}, {-9, end}, {-3.4, end}, {-1, 13}}), paint, part_hair);
    else
        c.fill(smooth({{-5, -1}, {-8.4, 5}, {-9.4, end}, {-4, end + 2}, {4, end + 2}, {9.4, end}, {8.4, 5}, {5, -1}}),
               paint, part_hair);
}

void draw_head(Canvas& c, const Figure& f, const Body& b) {
    if (f.has(scarf)) wear_scarf(c, f, b);
    face(c, f, b);
    if (b.side && (f[hair_style] == long_hair || f[hair_style] == bob)) draw_hair_behind(c, f, b);
    crown(c, f, b);
    if (f.has(glasses) && !b.from_back) wear_glasses(c, f, b);
    if (f.has(hat)) wear_hat(c, f, b);
}

}  // namespace scvd::synth
