// Legs, torso and arms with what covers them.
#include "train/synth/body.h"

namespace scvd::synth {
namespace {

Rgb garment(const Figure& f, Attribute a) { return vary(colour(f[a]).rgb, f.look, a, 9); }
Rgb skin_of(const Figure& f) { return skin_tone(f[skin]); }
bool skirted(const Figure& f) { return f[top] == dress || f[bottom] == skirt || f[bottom] == long_skirt; }

void shoe(Canvas& c, const Figure& f, const Body& b, int leg, int percent) {
    const Rgb paint = shade(garment(f, shoe_colour), percent);
    const Point a = b.ankle[leg];
    if (f[shoes] == boots)
        c.fill(limb(between(b.knee[leg], a, 0.5), 3.6 * b.limb, a + Point{0, 1}, 3), {paint, 0, true}, part_shoes);
    if (b.side) {
        c.fill(smooth({{a.x - 4.2, a.y - 1.5},
                       {a.x + 2, a.y - 2.6},
                       {a.x + 9.5, a.y + 2},
                       {a.x + 9, a.y + 4.6},
                       {a.x - 4.6, a.y + 4.6}}),
               {paint}, part_shoes);
        if (f[shoes] == heels) c.fill(box(a.x - 3.6, a.y + 2.5, 1.6, 3), {paint}, part_shoes);
    } else {
        const double w = f[shoes] == heels ? 3.2 : 4.1;
        c.fill(smooth({{a.x - w, a.y - 3}, {a.x + w, a.y - 3}, {a.x + w + 1, a.y + 5}, {a.x - w - 1, a.y + 5}}),
               {paint}, part_shoes);
    }
    if (f[shoes] == sneakers) {  // the sole
        const Rgb sole = f[shoe_colour] == white ? Rgb{170, 170, 170} : Rgb{232, 232, 228};
        c.stroke(open_line({{a.x - 4, a.y + 4.2}, {a.x + (b.side ? 8.0 : 4.0), a.y + 4.2}}), 0.9, sole, part_shoes);
    }
}

void leg(Canvas& c, const Figure& f, const Body& b, int i, int percent) {
    const double k = b.limb;
    const Paint bare{shade(skin_of(f), percent), 0, true};
    c.fill(limb(b.hip[i], 5.4 * k, b.knee[i], 4 * k).add(limb(b.knee[i], 4 * k, b.ankle[i], 2.4 * k)), bare,
           part_person);
    if (f[shoes] == boots && !skirted(f) && f[bottom] != shorts) shoe(c, f, b, i, percent);  // trousers over boots
    const Paint cloth{shade(garment(f, bottom_colour), percent), 0, true};
    if (!skirted(f) && f[bottom] != shorts) {
        const double cuff = f[bottom] == jeans ? 3.0 : 3.7;
        c.fill(limb(b.hip[i], 6.2 * k, b.knee[i], 4.8 * k)
                   .add(limb(b.knee[i], 4.8 * k, b.ankle[i] + Point{0, -2.4}, cuff * k)),
               cloth, part_lower);
        if (f[bottom] == jeans)  // faded thighs and a seam
            c.stroke(open_line({between(b.hip[i], b.knee[i], 0.3), between(b.hip[i], b.knee[i], 0.9)}), 2,
                     shade(cloth.base, 124), part_lower);
    } else if (!skirted(f)) {
        c.fill(limb(b.hip[i], 6.4 * k, between(b.hip[i], b.knee[i], 0.8), 6.2 * k), cloth, part_lower);
    }
    if (f[shoes] != boots || skirted(f) || f[bottom] == shorts) shoe(c, f, b, i, percent);
}

void skirt_of(Canvas& c, const Figure& f, const Body& b) {
    const double hem = f[bottom] == long_skirt ? 86 : 67, flare = b.hip_half + (f[bottom] == long_skirt ? 4.5 : 3.5);
    c.fill(polygon({{-b.waist_half, 43},
                    {b.waist_half, 43},
                    {b.hip_half + 0.5, 51},
                    {flare, hem},
                    {-flare, hem},
                    {-b.hip_half - 0.5, 51}}),
           {garment(f, bottom_colour), 0, true}, part_lower);
}

double hem_of(const Figure& f) { return f[top] == coat ? 73 : f[top] == dress ? 74 : f[top] == tank_top ? 51 : 53; }

Path torso_shape(const Figure& f, const Body& b) {
    const double hem = hem_of(f), flare = f[top] == dress ? 5 : f[top] == coat ? 2.5 : 0.8;
    const double s = b.shoulder_half, loose = f[top] == tank_top || f[top] == dress ? 0 : 0.8,
                 neck = f[top] == tank_top ? 4.5 : 3.2;
    if (b.side)
        return smooth({{-3, 14.5},
                       {-s - 0.6, 18},
                       {-s - 0.8, 30},
                       {-b.waist_half - loose, 40},
                       {-b.hip_half - flare, hem - 3},
                       {-b.hip_half - flare, hem + 1.5},
                       {b.hip_half + flare, hem + 1.5},
                       {b.hip_half + flare, hem - 3},
                       {b.waist_half + loose + (f[build] == heavy ? 2 : 0), 41},
                       {s + (f[gender] == woman ? 2.2 : 0.8), 27},
                       {s - 0.6, 18},
                       {3, 14.5}});
    return polygon({{-neck, 15.4},
                    {-s * 0.75, 17},
                    {-s, 20},
                    {-s * 0.94, 28},
                    {-b.waist_half - loose, 40},
                    {-b.hip_half - loose, 50},
                    {-b.hip_half - flare - loose, hem},
                    {b.hip_half + flare + loose, hem},
                    {b.hip_half + loose, 50},
                    {b.waist_half + loose, 40},
                    {s * 0.94, 28},
                    {s, 20},
                    {s * 0.75, 17},
                    {neck, 15.4}});
}

// What tells the cuts apart: opening, hood, collar, cuffs.
void torso_details(Canvas& c, const Figure& f, const Body& b, Rgb paint) {
    const double hem = hem_of(f);
    const bool opens = f[top] == jacket || f[top] == coat;
    if (!b.from_back && !b.side && opens && f.has(inner)) {
        const Rgb under = vary(colour(thing(f[inner]).colour).rgb, f.look, inner, 9);
        c.fill(polygon({{-3.4, 15.4}, {3.4, 15.4}, {4, 30}, {3.2, 52}, {-3.2, 52}, {-4, 30}}), {under}, part_inner);
    } else if (!b.from_back && !b.side && opens) {
        c.stroke(open_line({{0, 16}, {0, hem}}), 0.7, shade(paint, f[top_colour] == black ? 230 : 60), part_upper);
    }
    if (f[top] == hoodie) {
        if (b.from_back) c.fill(smooth({{-8, 13}, {8, 13}, {6, 26}, {-6, 26}}), {shade(paint, 82)}, part_upper);
        if (b.side) c.fill(smooth({{-9, 13}, {0, 13}, {-2, 19}, {-9, 21}}), {shade(paint, 82)}, part_upper);
        if (!b.from_back && !b.side)
            c.stroke(open_line({{-6, 40}, {-4, 36}, {4, 36}, {6, 40}}), 0.8, shade(paint, 70), part_upper);
    }
    if (opens && !b.from_back)
        c.fill(polygon({{-4, 14.4}, {-0.5, 18}, {-5, 20}}).add(polygon({{4, 14.4}, {5, 20}, {0.5, 18}})),
               {shade(paint, 78)}, part_upper);
    if (f[top] == dress)
        c.stroke(open_line({{-b.waist_half, 41}, {b.waist_half, 41}}), 1.2, shade(paint, 70), part_upper);
}

}  // namespace

void draw_legs(Canvas& c, const Figure& f, const Body& b) {
    const int percent = b.side ? 78 : 100;  // the far leg lies in the shadow of the near one
    leg(c, f, b, 0, percent);
    leg(c, f, b, 1, 100);
    if (f[top] != dress && (f[bottom] == skirt || f[bottom] == long_skirt)) return skirt_of(c, f, b);
    if (f[top] != dress)
        c.fill(box(-b.hip_half + 0.6, 44, 2 * b.hip_half - 1.2, 9), {garment(f, bottom_colour), 0, true}, part_lower);
}

void draw_torso(Canvas& c, const Figure& f, const Body& b) {
    c.fill(limb({0, 10}, 3.4, {0, 17}, 3.8), {shade(skin_of(f), 88)}, part_person);
    const Rgb paint = garment(f, top_colour);
    int pattern = f[top_pattern];
    if (pattern && thing(pattern).kind == logo && (b.from_back || b.side)) pattern = 0;  // printed on the chest
    c.fill(torso_shape(f, b), {paint, pattern, true}, part_upper);
    torso_details(c, f, b, paint);
}

void draw_arm(Canvas& c, const Figure& f, const Body& b, int i) {
    const double k = b.limb;
    const int percent = b.side && i == 0 ? 72 : 92;
    c.fill(limb(b.shoulder[i], 3 * k, b.elbow[i], 2.6 * k).add(limb(b.elbow[i], 2.6 * k, b.hand[i], 2 * k)),
           {shade(skin_of(f), percent)}, part_person);
    c.fill(ellipse(b.hand[i], 2.7, 2.9), {shade(skin_of(f), percent)}, part_person);
    if (f[top] == tank_top) return;
    const Rgb paint = shade(garment(f, top_colour), percent);
    int pattern = f[top_pattern];
    if (pattern && thing(pattern).kind == logo) pattern = 0;
    const double puff = f[top] == jacket || f[top] == coat || f[top] == hoodie ? 0.7 : 0.2;
    if (f[top] == t_shirt || f[top] == dress) {
        c.fill(limb(b.shoulder[i], 3.6 * k, between(b.shoulder[i], b.elbow[i], 0.66), 3.6 * k), {paint, pattern, true},
               part_upper);
        return;
    }
    const Point cuff = between(b.elbow[i], b.hand[i], 0.82);
    c.fill(limb(b.shoulder[i], (3.5 + puff) * k, b.elbow[i], (3.1 + puff) * k)
               .add(limb(b.elbow[i], (3.1 + puff) * k, cuff, (2.6 + puff) * k)),
           {paint, pattern, true}, part_upper);
}

}  // namespace scvd::synth
