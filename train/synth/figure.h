#pragma once
// Who is drawn: the attributes of one identity, how they are drawn by lot, and how a near twin is made.
#include <array>
#include <string>

#include "engine/rng.h"
#include "train/synth/palette.h"

namespace scvd::synth {

enum Attribute {
    gender,
    build,
    height,
    skin,
    hair_style,
    hair_colour,
    top,
    top_colour,
    top_pattern,
    inner,
    bottom,
    bottom_colour,
    shoes,
    shoe_colour,
    hat,
    glasses,
    scarf,
    bag,
    held,
    attribute_count
};
const char* attribute_name(int attribute);

enum Gender { man, woman };
enum Build { slim, average, heavy };
enum HairStyle { short_hair, long_hair, ponytail, bun, bob };
enum Top { t_shirt, long_sleeve, hoodie, sweater, tank_top, jacket, coat, dress };
enum Pattern { striped, plaid, dotted, logo };
enum Bottom { trousers, jeans, shorts, skirt, long_skirt };
enum Shoes { sneakers, boots, heels };
enum Hat { cap, beanie, sun_hat };
enum Glasses { no_glasses, eyeglasses, sunglasses };
enum Bag { backpack, handbag, shoulder_bag, shopping_bag, suitcase };
enum Held { phone, umbrella, cup, book };

// Optional things (hat, scarf, bag, held, pattern, inner) are one attribute each: kind and colour together, 0 = none.
struct Thing {
    int kind, colour;
};
inline int code(Thing t) { return 1 + t.kind * colour_count + t.colour; }
inline Thing thing(int code) { return {(code - 1) / colour_count, (code - 1) % colour_count}; }

struct Figure {
    std::array<int, attribute_count> is{};
    std::uint32_t look = 0;  // small variations of shade that are nobody's attribute; twins share it
    int twin = -1;           // identity of the twin, -1 for none
    int differs = -1;        // the attribute in which the twin differs
    int operator[](Attribute a) const { return is[a]; }
    bool has(Attribute a) const { return is[a] != 0; }
};

Figure make_figure(eng::Rng&);
// A copy that differs in exactly one attribute, by enough to be seen. `differs` of both is set.
Figure make_twin(Figure& of, eng::Rng&);
// "red", "striped white", "black backpack", "none": for the sidecar.
std::string attribute_text(const Figure&, Attribute);

// 0 .. n-1 by integer weights.
int pick(eng::Rng&, std::initializer_list<int> weights);

}  // namespace scvd::synth
