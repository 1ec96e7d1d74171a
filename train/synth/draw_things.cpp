// Bags and what hands hold.
#include "train/synth/body.h"

namespace scvd::synth {
namespace {

Rgb thing_colour(const Figure& f, Attribute a) { return vary(colour(thing(f[a]).colour).rgb, f.look, a, 9); }

void pack(Canvas& c, const Body& b, Rgb paint) {
    if (b.from_back) {
        const double w = b.shoulder_half * 0.8;
        c.fill(smooth({{-w, 16.5}, {w, 16.5}, {w + 1.5, 32}, {w + 0.5, 47}, {-w - 0.5, 47}, {-w - 1.5, 32}}),
               {paint, 0, true}, part_bag);
        c.fill(smooth({{-w * 0.7, 33}, {w * 0.7, 33}, {w * 0.7, 44}, {-w * 0.7, 44}}), {shade(paint, 78)}, part_bag);
    } else if (b.side) {
        const double d = b.shoulder_half;
        c.fill(smooth({{-d + 1, 17}, {-d - 9, 19}, {-d - 11, 32}, {-d - 9, 45}, {-d + 1, 44}}), {paint, 0, true},
               part_bag);
        c.stroke(open_line({{-d + 2, 19}, {-1, 20}, {0.5, 30}, {-d + 2, 39}}), 2.2, shade(paint, 85), part_bag);
    } else {
        for (double side : {-1.0, 1.0})
            c.stroke(open_line({{side * b.shoulder_half * 0.55, 17}, {side * b.shoulder_half * 0.62, 36}}), 2.8,
                     shade(paint, 92), part_bag);
    }
}

void shoulder_strap(Canvas& c, const Body& b, Rgb paint) {
    if (b.side) {
        c.stroke(open_line({{-1, 17.5}, {1, 46}}), 1.6, shade(paint, 78), part_bag);
        c.fill(smooth({{-7, 45}, {8, 45}, {9, 60}, {-8, 60}}), {paint, 0, true}, part_bag);
        return;
    }
    const double s = b.bag_arm ? 1 : -1;
    c.stroke(open_line({{-s * b.shoulder_half * 0.6, 17}, {s * b.hip_half, 47}}), 1.8, shade(paint, 78), part_bag);
    c.fill(smooth({{s * (b.hip_half - 5), 45},
                   {s * (b.hip_half + 6), 45},
                   {s * (b.hip_half + 6), 61},
                   {s * (b.hip_half - 5), 61}}),
           {paint, 0, true}, part_bag);
}

void hanging_bag(Canvas& c, const Body& b, int kind, Rgb paint) {
    const Point h = b.hand[b.bag_arm];
    const double w = kind == handbag ? 7.5 : 6.6, drop = kind == handbag ? 5 : 4, tall = kind == handbag ? 11 : 17;
    c.stroke(open_line({{h.x - 3, h.y + drop + 1}, {h.x, h.y}, {h.x + 3, h.y + drop + 1}}), 1.2, shade(paint, 70),
             part_bag);
    if (kind == handbag)
        c.fill(smooth({{h.x - w, h.y + drop},
                       {h.x + w, h.y + drop},
                       {h.x + w + 1.5, h.y + drop + tall},
                       {h.x - w - 1.5, h.y + drop + tall}}),
               {paint, 0, true}, part_bag);
    else  // paper or plastic: stiff, with a print
        c.fill(box(h.x - w, h.y + drop, 2 * w, tall), {paint, 0, true}, part_bag),
            c.fill(box(h.x - 3, h.y + drop + 6, 6, 4), {shade(paint, 140)}, part_bag);
}

void case_on_wheels(Canvas& c, const Body& b, Rgb paint) {
    const double x = b.side ? -22 : b.bag_arm ? b.hip_half + 11 : -b.hip_half - 11;
    c.stroke(open_line({b.hand[b.bag_arm], {x, 66}}), 1.1, {80, 80, 84}, part_bag);
    c.fill(smooth({{x - 8, 65}, {x + 8, 65}, {x + 8, 98}, {x - 8, 98}}), {paint, 0, true}, part_bag);
    for (double y : {74.0, 89.0}) c.stroke(open_line({{x - 6, y}, {x + 6, y}}), 0.8, shade(paint, 72), part_bag);
    for (double dx : {-4.5, 4.5}) c.fill(ellipse({x + dx, 98}, 1.7, 1.7), {{30, 30, 30}}, part_bag);
}

}  // namespace

void draw_bag_behind(Canvas& c, const Figure& f, const Body& b) {
    if (!f.has(bag)) return;
    const Thing t = thing(f[bag]);
    const Rgb paint = thing_colour(f, bag);
    if (t.kind == suitcase) case_on_wheels(c, b, paint);
    if (t.kind == backpack && !b.side && !b.from_back)  // what sticks out beside the body
        c.fill(
            smooth(
                {{-b.shoulder_half, 18}, {b.shoulder_half, 18}, {b.shoulder_half + 2, 46}, {-b.shoulder_half - 2, 46}}),
            {shade(paint, 80)}, part_bag);
}

void draw_bag(Canvas& c, const Figure& f, const Body& b) {
    if (!f.has(bag)) return;
    const Thing t = thing(f[bag]);
    const Rgb paint = thing_colour(f, bag);
    if (t.kind == backpack) pack(c, b, paint);
    if (t.kind == shoulder_bag) shoulder_strap(c, b, paint);
    if (t.kind == handbag || t.kind == shopping_bag) hanging_bag(c, b, t.kind, paint);
}

void draw_held(Canvas& c, const Figure& f, const Body& b) {
    if (!f.has(held)) return;
    const Rgb paint = thing_colour(f, held);
    const Point h = b.hand[b.held_arm];
    switch (thing(f[held]).kind) {
        case phone:
            c.fill(box(h.x - 1.7, h.y - 4.6, 3.4, 6.6), {paint}, part_held);
            break;
        case cup:
            c.fill(
                polygon({{h.x - 2.6, h.y - 6}, {h.x + 2.6, h.y - 6}, {h.x + 1.9, h.y + 1.8}, {h.x - 1.9, h.y + 1.8}}),
                {paint, 0, true}, part_held);
            break;
        case book:
            c.fill(box(h.x - 4.5, h.y - 7, 9, 12), {paint, 0, true}, part_held);
            break;
        default: {
            const double x = b.side ? h.x - 1 : h.x - 3;
            c.stroke(open_line({h, {x, -15}}), 0.9, {70, 70, 74}, part_held);
            c.fill(smooth({{x - 25, -0.5},
                           {x - 21, -12},
                           {x - 8, -19},
                           {x + 8, -19},
                           {x + 21, -12},
                           {x + 25, -0.5},
                           {x + 12, -5},
                           {x, -2.5},
                           {x - 12, -5}}),
                   {paint, 0, true}, part_held);
        }
    }
}

}  // namespace scvd::synth
