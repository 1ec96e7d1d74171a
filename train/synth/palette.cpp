#include "train/synth/palette.h"

#include <algorithm>
#include <cstdlib>

#include "engine/rng.h"

namespace scvd::synth {

const ColourName& colour(int c) {
    static const std::vector<ColourName> table{
        {{30, 30, 34}, {"black"}},
        {{240, 240, 238}, {"white"}},
        {{136, 138, 142}, {"gray", "grey"}},
        {{208, 28, 36}, {"red"}},
        {{32, 78, 205}, {"blue"}},
        {{126, 186, 240}, {"light blue", "sky blue", "pale blue"}},
        {{26, 34, 98}, {"dark blue", "navy blue", "navy"}},
        {{34, 142, 62}, {"green"}},
        {{244, 212, 38}, {"yellow"}},
        {{242, 124, 22}, {"orange"}},
        {{122, 44, 164}, {"purple", "violet"}},
        {{246, 128, 178}, {"pink"}},
        {{112, 66, 34}, {"brown"}},
        {{216, 190, 144}, {"beige", "tan", "khaki"}},
    };
    return table[c];
}

const ColourName& hair_colour_name(int c) {
    static const std::vector<ColourName> table{
        {{26, 22, 22}, {"black", "dark"}},   {{98, 58, 30}, {"brown"}},          {{226, 190, 104}, {"blonde", "blond"}},
        {{176, 176, 178}, {"gray", "grey"}}, {{178, 72, 26}, {"red", "ginger"}},
    };
    return table[c];
}

Rgb skin_tone(int i) {
    static const Rgb table[skin_count] = {
        {246, 212, 186}, {232, 190, 156}, {204, 156, 118}, {156, 106, 74}, {104, 68, 48}};
    return table[i];
}

namespace {
std::uint8_t clamp(int v) { return std::uint8_t(std::clamp(v, 0, 255)); }
}  // namespace

Rgb shade(Rgb c, int percent) {
    return {clamp(c.r * percent / 100), clamp(c.g * percent / 100), clamp(c.b * percent / 100)};
}

Rgb vary(Rgb c, std::uint32_t look, int salt, int amount) {
    const eng::Philox4 r = eng::philox(look, std::uint64_t(salt), 0);
    const auto offset = [&](int i) { return int(r[i] % std::uint32_t(2 * amount + 1)) - amount; };
    return {clamp(c.r + offset(0)), clamp(c.g + offset(1)), clamp(c.b + offset(2))};
}

int distance(int a, int b) {
    const Rgb x = colour(a).rgb, y = colour(b).rgb;
    return std::abs(x.r - y.r) + std::abs(x.g - y.g) + std::abs(x.b - y.b);
}

}  // namespace scvd::synth
