#include "train/synth/body.h"

#include <cmath>

namespace scvd::synth {
namespace {

constexpr double degree = 3.14159265358979 / 180;

// Angles from straight down; positive swings outwards (seen along the street) or forwards (seen from the side).
Point reach(Point from, double length, double angle, double outward) {
    return {from.x + outward * length * std::sin(angle * degree), from.y + length * std::cos(angle * degree)};
}

struct Bend {
    double upper, lower;
};
// What holding a thing does to the arm.
Bend holding(int kind, bool side) {
    switch (kind) {
        case phone:
            return side ? Bend{25, 150} : Bend{32, 172};
        case umbrella:
            return side ? Bend{18, 140} : Bend{12, 168};
        case cup:
            return side ? Bend{12, 95} : Bend{16, 130};
        default:
            return side ? Bend{10, 80} : Bend{14, -75};  // a book against the chest
    }
}

void place_arms(Body& b, const Figure& f, double swing) {
    for (int i = 0; i < 2; ++i) {
        const double outward = b.side ? 1 : i ? 1 : -1, forth = i ? swing : -swing;
        b.shoulder[i] = b.side ? Point{0, 20.5} : Point{outward * (b.shoulder_half - 2.4), 20};
        Bend bend = b.side ? Bend{26 * forth, 26 * forth + 14} : Bend{9, 3 + 4 * forth};
        if (f.has(held) && i == b.held_arm) bend = holding(thing(f[held]).kind, b.side);
        b.elbow[i] = reach(b.shoulder[i], 15, bend.upper, outward);
        b.hand[i] = reach(b.elbow[i], 14, bend.lower, outward);
    }
}

void place_legs(Body& b, double swing) {
    for (int i = 0; i < 2; ++i) {
        const double outward = b.side ? 1 : i ? 1 : -1, forth = i ? -swing : swing;
        b.hip[i] = b.side ? Point{0, 50} : Point{outward * b.hip_half * 0.5, 50};
        if (b.side) {
            const double knee_bend = forth < 0 ? 16 * -forth : 5 * forth;
            b.knee[i] = reach(b.hip[i], 23, 24 * forth, 1);
            b.ankle[i] = reach(b.knee[i], 23, 24 * forth - knee_bend, 1);
        } else {  // the foot that is further away stands a little higher
            b.knee[i] = {b.hip[i].x + outward * 0.6, 73 - forth};
            b.ankle[i] = {b.hip[i].x + outward * 0.8, 95.5 - 2.2 * (forth + 1) * 0.5};
        }
    }
}

}  // namespace

Body pose(const Figure& f, const View& v) {
    Body b;
    b.side = v.sideways();
    b.from_back = v.facing == back;
    const double stout = f[build] == slim ? 0.88 : f[build] == heavy ? 1.2 : 1.0;
    b.limb = 0.5 + 0.5 * stout;
    b.shoulder_half = (f[gender] == man ? 13.2 : 11.4) * (0.4 + 0.6 * stout);
    b.waist_half = (f[gender] == man ? 10.2 : 8.4) * stout;
    b.hip_half = (f[gender] == man ? 9.8 : 10.4) * (0.2 + 0.8 * stout);
    if (b.side) b.shoulder_half = 7.4 * stout, b.waist_half = 6.8 * stout, b.hip_half = 7.6 * stout;
    const double swing = std::sin(v.phase * 22.5 * degree);
    b.bag_arm = f.has(held) ? 0 : int(f.look & 1);
    if (b.side && !f.has(held)) b.bag_arm = 1;
    place_arms(b, f, swing);
    place_legs(b, swing);
    return b;
}

void draw_person(Canvas& c, const Figure& f, const View& v) {
    const Body b = pose(f, v);
    // Seen from behind, a book held against the chest is hidden by the body; other things stick out beside it.
    const bool hidden_arm = b.from_back && f.has(held) && thing(f[held]).kind == book;
    const bool pack = f.has(bag) && thing(f[bag]).kind == backpack;
    c.fill(ellipse({2, 99.5}, 17, 2.6), {{0, 0, 0}}, -1, 0.35);
    draw_bag_behind(c, f, b);
    if (hidden_arm) draw_arm(c, f, b, 1), draw_held(c, f, b);
    if (b.side) draw_arm(c, f, b, 0);
    if (!b.from_back) draw_hair_behind(c, f, b);
    draw_legs(c, f, b);
    draw_torso(c, f, b);
    if (!b.side) draw_arm(c, f, b, 0);
    if (pack) draw_bag(c, f, b);
    if (b.from_back && !hidden_arm) draw_held(c, f, b);
    if (!hidden_arm) draw_arm(c, f, b, 1);
    draw_head(c, f, b);
    if (b.from_back) draw_hair_behind(c, f, b);
    if (!pack) draw_bag(c, f, b);
    if (!b.from_back) draw_held(c, f, b);
}

}  // namespace scvd::synth
