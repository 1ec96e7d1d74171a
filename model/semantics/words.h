#pragma once
// Word classes of the domain lexicon, as bits: a word may have several until its neighbours decide.
#include <cstdint>

namespace scvd::sd {

using Classes = std::uint64_t;

enum Bit : int {
    b_man, b_woman, b_boy, b_girl, b_child, b_teen, b_person,
    b_upper, b_lower, b_full, b_foot, b_headwear, b_accessory, b_bag,
    b_carried, b_held, b_screen, b_pushed, b_ridden, b_animal,
    b_hair, b_style, b_facial, b_body, b_bodypart, b_part,
    b_generic, b_thing, b_place, b_measure, b_container, b_hue,
    b_colour, b_shade, b_mod, b_padj, b_bodyadj, b_suffix, b_degree,
    b_det, b_defdet, b_poss, b_num, b_side,
    b_be, b_have, b_wear, b_carry, b_verb, b_participle, b_hedge,
    b_neg, b_with, b_in, b_of, b_on, b_loc, b_and, b_but, b_he, b_she, b_they, b_rel, b_adv,
    bit_count
};
static_assert(bit_count <= 64);

constexpr Classes bit(Bit b) { return Classes{1} << b; }

constexpr Classes man = bit(b_man), woman = bit(b_woman), boy = bit(b_boy), girl = bit(b_girl), child = bit(b_child),
                  teen = bit(b_teen), person = bit(b_person), upper = bit(b_upper), lower = bit(b_lower),
                  full = bit(b_full), foot = bit(b_foot), headwear = bit(b_headwear), accessory = bit(b_accessory),
                  bag = bit(b_bag), carried = bit(b_carried), held = bit(b_held), screen = bit(b_screen),
                  pushed = bit(b_pushed), ridden = bit(b_ridden), animal = bit(b_animal), hair = bit(b_hair),
                  style = bit(b_style), facial = bit(b_facial), body = bit(b_body), bodypart = bit(b_bodypart),
                  part = bit(b_part), generic = bit(b_generic), thing = bit(b_thing), place = bit(b_place),
                  measure = bit(b_measure), container = bit(b_container), hue = bit(b_hue), colour = bit(b_colour),
                  shade = bit(b_shade), mod = bit(b_mod), padj = bit(b_padj), bodyadj = bit(b_bodyadj),
                  suffix = bit(b_suffix), degree = bit(b_degree), det = bit(b_det), defdet = bit(b_defdet),
                  poss = bit(b_poss), num = bit(b_num), side = bit(b_side), be = bit(b_be), have = bit(b_have),
                  wear = bit(b_wear), carry = bit(b_carry), verb = bit(b_verb), participle = bit(b_participle),
                  hedge = bit(b_hedge), neg = bit(b_neg), with = bit(b_with), in = bit(b_in), of = bit(b_of),
                  on = bit(b_on), loc = bit(b_loc), conj = bit(b_and), but = bit(b_but), he = bit(b_he),
                  she = bit(b_she), they = bit(b_they), rel = bit(b_rel), adv = bit(b_adv);

constexpr Classes people = man | woman | boy | girl | child | teen | person;
constexpr Classes worn = upper | lower | full | foot | headwear;
constexpr Classes handled = carried | held | screen | pushed | ridden | animal;
constexpr Classes scope = worn | accessory | bag | handled | hair | style | facial | body;
constexpr Classes noun = people | scope | bodypart | part | generic | thing | place | measure | container | hue;
constexpr Classes modifier = colour | shade | mod | padj | bodyadj;
constexpr Classes verbs = be | have | wear | carry | verb;
constexpr Classes preposition = with | in | of | on | loc;
constexpr Classes determiner = det | defdet | poss;
constexpr Classes pronoun = he | she | they;

// Properties of a word that do not compete with its classes.
enum Flag : std::uint32_t {
    f_plural = 1, f_mass = 2, f_noshare = 4, f_visible = 8, f_hidden = 16, f_other = 32, f_there = 64,
    f_known = 128,  // a correct English word without a class: no typo
    f_modified = 512,  // only counts with a modifier: "build", "skin"
    f_confused = 1024,  // section of real-word confusions: "pleaded shirt"
    f_guessed = 2048,  // the class is WordNet's, not the lexicon's
    f_compound = 4096,  // of two words, the first of which describes: "knee socks", not "flip flops"
    f_common = 256,  // wins when a typo could mean several words
};

}  // namespace scvd::sd
