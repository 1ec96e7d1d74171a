#pragma once
// Colours: what they are called and what they look like.
#include <cstdint>
#include <vector>

namespace scvd::synth {

struct Rgb {
    std::uint8_t r = 0, g = 0, b = 0;
};

// Names of garment colours; the order is that of `palette()`.
enum Colour {
    black,
    white,
    gray,
    red,
    blue,
    light_blue,
    dark_blue,
    green,
    yellow,
    orange,
    purple,
    pink,
    brown,
    beige,
    colour_count
};

struct ColourName {
    Rgb rgb;
    std::vector<const char*> words;  // the first is the canonical one
};
const ColourName& colour(int c);

enum HairColour { hair_black, hair_brown, hair_blonde, hair_gray, hair_red, hair_colour_count };
const ColourName& hair_colour_name(int c);

Rgb skin_tone(int i);
inline constexpr int skin_count = 5;

// Percent of the brightness: 100 leaves the colour alone, 80 is its shadow.
Rgb shade(Rgb c, int percent);
// Adds a small offset per channel, drawn from `look`: two red shirts are seldom the same red.
Rgb vary(Rgb c, std::uint32_t look, int salt, int amount);
// Sum of absolute channel differences, 0..765. Below about 150 two garments are easily taken for each other.
int distance(int colour_a, int colour_b);

}  // namespace scvd::synth
