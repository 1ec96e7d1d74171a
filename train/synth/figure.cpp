#include "train/synth/figure.h"

#include <vector>

#include "engine/error.h"

namespace scvd::synth {

int pick(eng::Rng& rng, std::initializer_list<int> weights) {
    int total = 0, i = 0;
    for (int w : weights) total += w;
    int left = int(rng.below(std::uint32_t(total)));
    for (int w : weights) {
        if (left < w) return i;
        left -= w, ++i;
    }
    return i - 1;
}

namespace {

// Street clothes are mostly dark and plain below, more colourful above.
int top_colour_of(eng::Rng& rng) { return pick(rng, {10, 10, 7, 9, 9, 6, 6, 8, 8, 7, 6, 7, 5, 6}); }
int bag_colour_of(eng::Rng& rng) { return pick(rng, {10, 4, 4, 8, 8, 3, 3, 5, 5, 5, 4, 6, 8, 4}); }
int shoe_colour_of(eng::Rng& rng) { return pick(rng, {12, 12, 5, 6, 4, 1, 2, 2, 2, 3, 1, 4, 8, 2}); }
int bottom_colour_of(eng::Rng& rng, int kind) {
    if (kind == jeans) return pick(rng, {4, 0, 2, 0, 8, 5, 6});
    return pick(rng, {12, 6, 8, 4, 4, 3, 6, 4, 2, 2, 2, 3, 6, 7});
}
int second_colour(eng::Rng& rng, int first) {
    for (;;)
        if (const int c = top_colour_of(rng); distance(c, first) > 200) return c;
}

int pattern_of(eng::Rng& rng, int kind, int base) {
    if (kind == jacket || kind == coat || !rng.chance(kind == dress ? 0.3f : 0.42f)) return 0;
    const int p = kind == hoodie ? logo : kind == dress ? pick(rng, {3, 0, 4}) : pick(rng, {4, 3, 2, 4});
    return code({p, second_colour(rng, base)});
}
int bag_of(eng::Rng& rng, int sex) {
    if (!rng.chance(0.62f)) return 0;
    const int kind = sex == woman ? pick(rng, {6, 7, 5, 4, 2}) : pick(rng, {9, 0, 5, 4, 2});
    return code({kind, bag_colour_of(rng)});
}
int held_of(eng::Rng& rng) { return rng.chance(0.3f) ? code({pick(rng, {5, 4, 3, 3}), bag_colour_of(rng)}) : 0; }
int hat_of(eng::Rng& rng, int sex) {
    if (!rng.chance(0.25f)) return 0;
    return code({sex == woman ? pick(rng, {4, 4, 4}) : pick(rng, {7, 4, 1}), bag_colour_of(rng)});
}

void dress_figure(Figure& f, eng::Rng& rng) {
    const int sex = f[gender];
    f.is[top] = sex == woman ? pick(rng, {9, 6, 4, 5, 4, 6, 4, 7}) : pick(rng, {11, 7, 6, 5, 2, 8, 4});
    f.is[top_colour] = top_colour_of(rng);
    f.is[top_pattern] = pattern_of(rng, f[top], f[top_colour]);
    if ((f[top] == jacket || f[top] == coat) && rng.chance(0.6f))
        f.is[inner] = code({0, second_colour(rng, f[top_colour])});
    f.is[bottom] = sex == woman ? pick(rng, {6, 7, 5, 5, 3}) : pick(rng, {8, 8, 5});
    f.is[bottom_colour] = bottom_colour_of(rng, f[bottom]);
    if (f[top] == dress) f.is[bottom] = f.is[bottom_colour] = 0;
    f.is[shoes] = sex == woman ? pick(rng, {6, 4, 4}) : pick(rng, {8, 4});
    f.is[shoe_colour] = shoe_colour_of(rng);
}

template <class Draw>
bool redraw(int& value, Draw draw, eng::Rng&) {
    const int old = value;
    for (int tries = 0; tries < 64 && value == old; ++tries) value = draw();
    return value != old;
}
// Another thing of the kind, in a colour that cannot be mistaken for the old; or the thing comes or goes.
template <class Draw>
bool change_thing(int& value, Draw draw, eng::Rng& rng) {
    return redraw(
        value,
        [&, old = value] {
            const int now = draw();
            if (!old || !now) return now;
            return thing(old).kind != thing(now).kind || distance(thing(old).colour, thing(now).colour) > 150 ? now
                                                                                                              : old;
        },
        rng);
}
template <class Draw>
bool change_colour(int& value, Draw draw, eng::Rng& rng) {
    return redraw(
        value,
        [&, old = value] {
            const int now = draw();
            return distance(old, now) > 150 ? now : old;
        },
        rng);
}

// Cuts that cannot be mistaken for each other at a distance: trousers and jeans are no difference.
int other_bottom(const Figure& f) {
    switch (f[bottom]) {
        case shorts:
            return f[gender] == woman ? skirt : trousers;
        case skirt:
            return long_skirt;
        case long_skirt:
            return skirt;
        default:
            return shorts;
    }
}

bool change(Figure& f, int a, eng::Rng& rng) {
    int& v = f.is[a];
    const int sex = f[gender];
    switch (a) {
        case top_colour:
            return !f.has(top_pattern) && !f.has(inner) &&
                   change_colour(
                       v, [&] { return top_colour_of(rng); }, rng);
        case bottom_colour:
            return f[top] != dress && change_colour(
                                          v, [&] { return bottom_colour_of(rng, f[bottom]); }, rng);
        case shoe_colour:
            return change_colour(
                v, [&] { return shoe_colour_of(rng); }, rng);
        case bag:
            return change_thing(
                v, [&] { return bag_of(rng, sex); }, rng);
        case hat:
            return change_thing(
                v, [&] { return hat_of(rng, sex); }, rng);
        case held:
            return change_thing(
                v, [&] { return held_of(rng); }, rng);
        case scarf:
            return v = v ? 0 : code({0, bag_colour_of(rng)}), true;
        case top_pattern:
            return f[top] < jacket && change_thing(
                                          v, [&] { return pattern_of(rng, f[top], f[top_colour]); }, rng);
        case bottom:
            return f[top] != dress && (v = other_bottom(f), true);
        case hair_colour:
            return !f.has(hat) && redraw(
                                      v,
                                      [&] {
                                          return pick(rng, {8, 7, 6, 3, 2});
                                      },
                                      rng);
        case hair_style:
            return sex == woman && !f.has(hat) &&
                   redraw(
                       v,
                       [&] {
                           return pick(rng, {2, 9, 0, 5, 0});
                       },
                       rng);
        default:
            eng::fail("synth", "attribute ", attribute_name(a), " never tells twins apart");
    }
}

}  // namespace

Figure make_figure(eng::Rng& rng) {
    Figure f;
    f.look = rng.bits();
    f.is[gender] = int(rng.below(2));
    f.is[build] = pick(rng, {5, 7, 3});
    f.is[height] = int(rng.below(3));
    f.is[skin] = pick(rng, {5, 6, 5, 3, 3});
    f.is[hair_style] = f[gender] == woman ? pick(rng, {2, 9, 6, 5, 5}) : pick(rng, {17, 1, 1, 0, 1});
    f.is[hair_colour] = f[skin] >= 3 ? pick(rng, {9, 3, 0, 2, 0}) : pick(rng, {8, 7, 6, 3, 2});
    dress_figure(f, rng);
    f.is[hat] = hat_of(rng, f[gender]);
    f.is[glasses] = pick(rng, {74, 16, 10});
    f.is[scarf] = rng.chance(0.14f) ? code({0, second_colour(rng, f[top_colour])}) : 0;
    f.is[bag] = bag_of(rng, f[gender]);
    f.is[held] = held_of(rng);
    return f;
}

Figure make_twin(Figure& of, eng::Rng& rng) {
    static const int choices[] = {top_colour, bottom_colour, shoe_colour, bag,         hat,       held,
                                  scarf,      top_pattern,   bottom,      hair_colour, hair_style};
    for (;;) {
        Figure twin = of;
        const int a = choices[pick(rng, {6, 6, 2, 5, 3, 2, 2, 2, 2, 2, 2})];
        if (!change(twin, a, rng)) continue;
        of.differs = twin.differs = a;
        return twin;
    }
}

const char* attribute_name(int a) {
    static const char* const names[attribute_count] = {
        "gender",     "build",       "height", "skin",   "hair_style",    "hair_colour", "top",
        "top_colour", "top_pattern", "inner",  "bottom", "bottom_colour", "shoes",       "shoe_colour",
        "hat",        "glasses",     "scarf",  "bag",    "held"};
    return names[a];
}

std::string attribute_text(const Figure& f, Attribute a) {
    using Words = std::vector<const char*>;
    static const std::array<Words, attribute_count> words{
        {{"man", "woman"},
         {"slim", "average", "heavy"},
         {"short", "medium", "tall"},
         {"very light", "light", "medium", "brown", "dark"},
         {"short", "long", "ponytail", "bun", "shoulder length"},
         {},
         {"t-shirt", "long sleeved shirt", "hoodie", "sweater", "tank top", "jacket", "coat", "dress"},
         {},
         {"stripes", "checks", "dots", "logo"},
         {"shirt"},
         {"trousers", "jeans", "shorts", "skirt", "long skirt"},
         {},
         {"sneakers", "boots", "heels"},
         {},
         {"cap", "beanie", "sun hat"},
         {"none", "glasses", "sunglasses"},
         {"scarf"},
         {"backpack", "handbag", "shoulder bag", "shopping bag", "suitcase"},
         {"phone", "umbrella", "cup", "book"}}};
    const int v = f[a];
    if (f[top] == dress && (a == bottom || a == bottom_colour)) return "none";
    if (a == hair_colour) return hair_colour_name(v).words[0];
    if (a == top_colour || a == bottom_colour || a == shoe_colour) return colour(v).words[0];
    if (a == top_pattern || a == inner || a == hat || a == scarf || a == bag || a == held)
        return v ? std::string(colour(thing(v).colour).words[0]) + " " + words[a][thing(v).kind] : "none";
    return words[a][v];
}

}  // namespace scvd::synth
