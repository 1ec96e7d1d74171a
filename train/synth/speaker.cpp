#include "train/synth/speaker.h"

#include <cctype>

namespace scvd::synth {

Verb verb_of(const Item& i) {
    if (i.part == part_hair || (i.part == part_bag && i.plural)) return has_got;
    return i.part == part_bag || i.part == part_held ? carries : wears;
}

bool dresses(const Items& items) {
    for (const Item& i : items)
        if (i.part == part_upper || i.part == part_lower) return true;
    return false;
}

Speaker::Speaker(const Figure& f, const View& v, eng::Rng& rng) : figure_(f), view_(v), rng_(rng) {
    const bool neutral = rng.chance(0.15f), they = neutral && rng.chance(0.5f), male = f[gender] == man;
    person_ = neutral ? any({"person", "pedestrian", "individual"})
              : male  ? any({"man", "man", "guy", "gentleman", "male"})
                      : any({"woman", "woman", "lady", "female"});
    subject_ = they ? "they" : male ? "he" : "she";
    object_ = they ? "them" : male ? "him" : "her";
    possessive_ = they ? "their" : male ? "his" : "her";
    is_ = they ? " are " : " is ", has_ = they ? " have " : " has ", s_ = they ? "" : "s";
}

void Speaker::start() {
    if (!out_.text.empty()) say(" ");
    sentence_ = out_.text.size();
}

void Speaker::stop() {
    out_.text[sentence_] = char(std::toupper(static_cast<unsigned char>(out_.text[sentence_])));
    say(".");
}

// The words of an item end here. A bun is a thing of its own: "black hair in a bun" mentions black hair, and a bun.
void Speaker::note(const Item& i, std::size_t begin) {
    std::size_t end = out_.text.size();
    if (!i.style.empty()) {
        Item bun;
        bun.noun = i.style.substr(i.style.rfind(' ') + 1);
        const bool predicate = out_.text.substr(end - i.style.size() - 5, 5) == " and ";
        const std::size_t hair_end = end - i.style.size() - (predicate ? 5 : 1);
        out_.mentions.push_back({begin, hair_end, i.canonical(), i.part, i.cls});
        begin = end - bun.noun.size();
        out_.mentions.push_back({begin, end, bun.noun, i.part, i.cls});
        return;
    }
    out_.mentions.push_back({begin, end, i.canonical(), i.part, i.cls});
}

void Speaker::say_article(const std::string& phrase) {
    say(std::string("aeiou").find(phrase[0]) != std::string::npos ? "an " : "a ");
}

void Speaker::say_person(bool definite) {
    Item i;
    i.noun = person_;
    if (!definite && figure_[build] != average && rng_.chance(0.25f))
        i.cut = figure_[build] == slim ? any({"slim", "thin", "slender"}) : any({"heavy", "large", "stout"});
    const std::string phrase = i.phrase();
    if (definite || rng_.chance(0.25f))
        say("the ");
    else if (rng_.chance(0.33f))
        say("this ");
    else
        say_article(phrase);
    const std::size_t begin = out_.text.size();
    say(phrase);
    note(i, begin);
}

void Speaker::say_place(const Item& i) {
    std::string p = i.place;
    for (const auto& [key, value] : {std::pair<std::string, std::string>{"{poss}", possessive_}, {"{obj}", object_}})
        if (const auto at = p.find(key); at != std::string::npos) p.replace(at, key.size(), value);
    if (!p.empty()) say(" " + p);
}

void Speaker::say_item(const Item& i, bool article, bool place) {
    const std::string phrase = i.phrase();
    const bool mass = i.noun == "hair";
    if (article && !i.plural && !mass) say_article(phrase);
    if (article && i.plural && i.part != part_bag && rng_.chance(0.2f)) say("a pair of ");
    const std::size_t begin = out_.text.size();
    say(phrase);
    if (!i.style.empty()) say(" " + i.style);
    note(i, begin);
    if (place) say_place(i);
}

namespace {

// "a black coat and boots": both are black. Readers take it so only for clothes, shoes, hats and bags that have no
// other word of their own, and never for jeans, whose colour goes without saying.
bool may_share_colour(const Item& first, const Item& second) {
    return !second.colour.empty() && second.colour == first.colour && second.cut.empty() && second.after.empty() &&
           first.after.empty() && first.place.empty() && verb_of(second) == wears && second.part != part_scarf &&
           second.part != part_inner && second.noun.find(' ') == std::string::npos && second.noun != "jeans";
}

}  // namespace

// "a red shirt, blue jeans and white shoes", "a jacket over a white shirt"
void Speaker::say_list(const Items& items, bool place) {
    std::size_t previous = 0;
    for (std::size_t i = 0; i < items.size(); ++i) {
        const bool last = i + 1 == items.size();
        const Item& it = items[i];
        const bool over = i && it.part == part_inner && items[i - 1].part == part_upper && rng_.chance(0.6f);
        if (i) say(over ? " over " : last ? " and " : ", ");
        if (i && last && may_share_colour(items[i - 1], it) && rng_.chance(0.6f)) {
            say(it.noun);
            note(it, previous);
        } else {
            say_item(it, true, !over && (place || it.part == part_inner));
        }
        if (!out_.mentions.empty()) previous = out_.mentions.back().begin;
        worn_ |= verb_of(it) == wears;
    }
}

// "shirt is red with white stripes", "hair is short and black", "hair is brown and tied in a bun"
void Speaker::say_is(const Item& i) {
    const std::size_t begin = out_.text.size();
    say(i.noun + (i.plural ? " are " : " is "));
    std::string rest = i.cut;
    if (!i.colour.empty())
        rest = i.part == part_hair && !i.cut.empty() ? i.cut + " and " + i.colour
                                                     : i.colour + (i.cut.empty() ? "" : " " + i.cut);
    if (!i.after.empty()) rest += " " + i.after;
    if (!i.style.empty()) rest += " and " + i.style;
    say(rest);
    note(i, begin);
    worn_ |= verb_of(i) == wears;
}

void Speaker::say_verb(Verb verb, const Items& what) {
    bool in_hand = true;
    for (const Item& i : what) in_hand &= i.part == part_held || i.place.find("hand") != std::string::npos;
    if (verb == has_got || rng_.chance(0.18f)) return say(has_);
    if (rng_.chance(0.5f)) {
        const std::string carry = in_hand && rng_.chance(0.5f) ? "holding " : "carrying ";
        return say(is_ + (verb == carries ? carry
                                          : any({"wearing ", worn_ ? "also wearing " : "wearing ",
                                                 dresses(what) ? "dressed in " : "wearing "})));
    }
    const std::string carry = in_hand && rng_.chance(0.5f) ? "hold" + s_ : s_.empty() ? "carry" : "carries";
    say(" " + (verb == wears ? "wear" + s_ : carry) + " ");
}

void Speaker::remark() {
    switch (view_.facing) {
        case front:
            return say(
                any({"is facing the camera", "is walking towards the camera", "is coming closer", "walks forward"}));
        case back:
            return say(
                any({"is walking away", "is seen from behind", "is walking away from the camera", "walks away"}));
        default:
            return say(any({"is walking", "is seen from the side", "walks past", "is walking by"}));
    }
}

}  // namespace scvd::synth
