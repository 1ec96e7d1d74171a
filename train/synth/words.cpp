// The vocabulary: what each visible part may be called.
#include <cstring>

#include "train/synth/caption.h"

namespace scvd::synth {

std::string Item::phrase() const {
    std::string out;
    const bool cut_first = part == part_hair;  // "short black hair", but "black striped shirt"
    const std::string *first = cut_first ? &cut : &colour, *second = cut_first ? &colour : &cut;
    for (const std::string* part : {first, second, &noun, &after})
        if (!part->empty()) out += (out.empty() ? "" : " ") + *part;
    return out;
}

std::string Item::canonical() const {
    std::string out = phrase();
    for (const char* article : {" a ", " an "})
        if (const auto at = out.find(article); at != std::string::npos) out.erase(at, std::strlen(article) - 1);
    return out;
}

namespace {

using Choice = std::vector<const char*>;

// The canonical word without a generator; with one, the canonical word half of the time.
std::string word(const Choice& c, eng::Rng* rng) {
    return !rng || rng->chance(0.4f) ? c[0] : c[rng->below(std::uint32_t(c.size()))];
}
bool drop(eng::Rng* rng, float chance) { return rng && rng->chance(chance); }
std::string colour_word(int c, eng::Rng* rng) { return word(colour(c).words, rng); }

bool shows(const Picture& p, Part part) {
    const int area = p.width * p.height;
    const bool small = part == part_glasses || part == part_inner || part == part_held || part == part_scarf;
    return p.seen[part] * 1800 >= area * (small ? 1 : 4) && p.seen[part] * 2 >= p.drawn[part];
}

void add_pattern(Item& i, const Figure& f, const View& v, eng::Rng* rng) {
    if (!f.has(top_pattern) || drop(rng, 0.15f)) return;
    const Thing t = thing(f[top_pattern]);
    const std::string second = colour_word(t.colour, rng);
    const bool behind = rng && rng->chance(0.4f);
    switch (t.kind) {
        case striped:
            if (behind)
                i.after = "with " + second + " stripes";
            else
                i.colour += " and " + second, i.cut = "striped";
            break;
        case plaid:
            if (!drop(rng, 0.3f)) i.colour += " and " + second;
            i.cut = word({"plaid", "checked", "checkered"}, rng);
            break;
        case dotted:
            if (behind)
                i.cut = "polka dot";
            else
                i.after = "with " + second + word({" dots", " spots", " polka dots"}, rng);
            break;
        default:
            if (v.facing == front && !(f.has(held) && thing(f[held]).kind == book))
                i.after =
                    (second[0] == 'o' ? "with an " : "with a ") + second + word({" logo", " print", " square"}, rng);
    }
}

Item upper(const Figure& f, const View& v, eng::Rng* rng) {
    static const std::vector<Choice> nouns{
        {"t-shirt", "tee shirt", "shirt", "short sleeved shirt", "short sleeve t-shirt"},
        {"long sleeved shirt", "long sleeve shirt", "shirt", "long sleeved top"},
        {"hoodie", "hooded sweatshirt", "sweatshirt with a hood"},
        {"sweater", "pullover", "jumper", "long sleeved sweater"},
        {"tank top", "sleeveless top", "sleeveless shirt"},
        {"jacket", "zip up jacket", "short jacket"},
        {"coat", "long coat", "overcoat"},
        {"dress", "one piece dress", "knee length dress"}};
    Item i{part_upper,
           top_colour,
           f[top] == dress ? "full" : "upper",
           colour_word(f[top_colour], rng),
           "",
           word(nouns[f[top]], rng),
           "",
           "",
           false};
    if (i.noun.ends_with("hood"))
        i.noun = "sweatshirt", i.after = "with a hood";
    else
        add_pattern(i, f, v, rng);
    if (f.differs == top_pattern) i.about = top_pattern;
    return i;
}

Item lower(const Figure& f, eng::Rng* rng) {
    static const std::vector<Choice> nouns{{"trousers", "pants", "slacks", "long pants"},
                                           {"jeans", "denim pants", "denim jeans", "jeans"},
                                           {"shorts", "short pants", "shorts"},
                                           {"skirt", "knee length skirt", "short skirt"},
                                           {"long skirt", "ankle length skirt", "long skirt"}};
    Item i{
        part_lower, bottom_colour,    "lower", colour_word(f[bottom_colour], rng), "", word(nouns[f[bottom]], rng), "",
        "",         f[bottom] < skirt};
    if (f.differs == bottom) i.about = bottom;
    return i;
}

Item footwear(const Figure& f, eng::Rng* rng) {
    static const std::vector<Choice> nouns{{"sneakers", "shoes", "sports shoes", "trainers"},
                                           {"boots", "ankle boots", "boots"},
                                           {"heels", "high heels", "shoes"}};
    return {part_shoes, shoe_colour, "footwear", colour_word(f[shoe_colour], rng), "", word(nouns[f[shoes]], rng),
            "",         "",          true};
}

Item hair(const Figure& f, const View& v, eng::Rng* rng) {
    Item i{part_hair, f.differs == hair_style ? hair_style : hair_colour,
           "hair",    word(hair_colour_name(f[hair_colour]).words, rng),
           "",        "hair",
           "",        "",
           false};
    static const std::vector<Choice> lengths{{"short"}, {"long"}, {}, {}, {"shoulder length", "medium length"}};
    const int style = f[hair_style];
    if (style == ponytail && (v.facing == front || f.has(hat)))
        return i;  // the tail hangs behind; length cannot be told
    if (style == ponytail)
        i.noun = word({"ponytail", "pony tail"}, rng);
    else if (style == bun && !f.has(hat))
        i.style = word({"in a bun", "tied in a bun", "tied up in a bun"}, rng);
    else if (!lengths[style].empty() && !drop(rng, 0.15f))
        i.cut = word(lengths[style], rng);
    if (drop(rng, 0.12f) && !i.cut.empty()) i.colour.clear();
    return i;
}

Item headwear(const Figure& f, eng::Rng* rng) {
    static const std::vector<Choice> nouns{{"cap", "baseball cap", "hat"},
                                           {"beanie", "knit hat", "hat", "beanie hat"},
                                           {"sun hat", "wide brimmed hat", "hat"}};
    const Thing t = thing(f[hat]);
    return {part_hat,   hat,
            "headwear", colour_word(t.colour, rng),
            "",         word(nouns[t.kind], rng),
            "",         word({"on {poss} head", ""}, rng),
            false};
}

Item carried_bag(const Figure& f, const View& v, eng::Rng* rng) {
    static const std::vector<Choice> nouns{{"backpack", "back pack", "rucksack", "bag"},
                                           {"handbag", "purse", "hand bag"},
                                           {"shoulder bag", "messenger bag", "bag", "crossbody bag"},
                                           {"shopping bag", "paper bag", "bag"},
                                           {"suitcase", "rolling suitcase", "trolley case"}};
    static const std::vector<Choice> places{{"on {poss} back", "over both shoulders"},
                                            {"in {poss} hand"},
                                            {"over {poss} shoulder", "across {poss} body", "at {poss} side"},
                                            {"in {poss} hand"},
                                            {"behind {obj}", "next to {obj}"}};
    const Thing t = thing(f[bag]);
    Item i{
        part_bag, bag, "bag", colour_word(t.colour, rng), "", word(nouns[t.kind], rng), "", word(places[t.kind], rng),
        false};
    if (t.kind == backpack && v.facing == front) {
        i.place = word({"over both shoulders", "on {poss} shoulders"}, rng);
        if (!rng || rng->chance(0.4f)) i.noun = "backpack straps", i.plural = true;
    }
    return i;
}

Item holding_thing(const Figure& f, eng::Rng* rng) {
    static const std::vector<Choice> nouns{{"phone", "cell phone", "mobile phone", "smartphone"},
                                           {"umbrella", "open umbrella", "umbrella"},
                                           {"cup", "paper cup", "coffee cup"},
                                           {"book", "folder", "notebook"}};
    static const std::vector<Choice> places{{"in {poss} hand", "to {poss} ear"},
                                            {"above {poss} head", "over {poss} head", "in {poss} hand"},
                                            {"in {poss} hand"},
                                            {"against {poss} chest", "in {poss} arm"}};
    const Thing t = thing(f[held]);
    std::string paint = t.kind != umbrella && drop(rng, 0.25f) ? "" : colour_word(t.colour, rng);
    return {part_held, held, "carried", std::move(paint), "", word(nouns[t.kind], rng), "", word(places[t.kind], rng),
            false};
}

}  // namespace

std::vector<Item> items_seen(const Figure& f, const View& v, const Picture& p, eng::Rng* rng) {
    std::vector<Item> out;
    if (shows(p, part_upper)) out.push_back(upper(f, v, rng));
    if (shows(p, part_inner))
        out.push_back({part_inner, inner, "upper", colour_word(thing(f[inner]).colour, rng), "",
                       word({"shirt", "t-shirt", "top"}, rng), "", "underneath", false});
    if (shows(p, part_lower)) out.push_back(lower(f, rng));
    if (shows(p, part_shoes)) out.push_back(footwear(f, rng));
    if (shows(p, part_hair)) out.push_back(hair(f, v, rng));
    if (shows(p, part_hat)) out.push_back(headwear(f, rng));
    if (shows(p, part_glasses))
        out.push_back({part_glasses, glasses, "accessory", "", "",
                       f[glasses] == sunglasses ? word({"sunglasses", "dark glasses"}, rng)
                                                : word({"glasses", "eyeglasses"}, rng),
                       "", "", true});
    if (shows(p, part_scarf))
        out.push_back({part_scarf, scarf, "accessory", colour_word(thing(f[scarf]).colour, rng), "", "scarf", "",
                       word({"around {poss} neck", ""}, rng), false});
    if (shows(p, part_bag)) out.push_back(carried_bag(f, v, rng));
    if (shows(p, part_held)) out.push_back(holding_thing(f, rng));
    return out;
}

}  // namespace scvd::synth
