// Sentences: order, pronouns, predicates, coordination; and which items are worth a word.
#include <algorithm>
#include <cctype>

#include "train/synth/speaker.h"

namespace scvd::synth {

Items Speaker::take(Items& items, Verb verb, std::size_t most) {
    Items taken;
    for (auto it = items.begin(); it != items.end() && taken.size() < most;)
        if (verb_of(*it) == verb)
            taken.push_back(*it), it = items.erase(it);
        else
            ++it;
    return taken;
}

// "dressed in a red coat and blue jeans, the woman carries a handbag"
void Speaker::fronted_opening(Items& items) {
    const Items clothes = take(items, wears, 1 + rng_.below(3));
    say(any({"wearing ", dresses(clothes) ? "dressed in " : "wearing ", "in "}));
    say_list(clothes, false);
    say(", ");
    say_person(rng_.chance(0.6f));
    if (const Items load = rng_.chance(0.6f) ? take(items, carries, 1) : Items{}; !load.empty())
        say(any({" is carrying ", " carries ", " has "})), say_list(load, true);
    else
        say(" "), remark();
    stop();
}

void Speaker::opening(Items& items) {
    start();
    const int form = pick(rng_, {5, 3, 4, 2, 2});
    const bool dressed = std::any_of(items.begin(), items.end(), [](const Item& i) { return verb_of(i) == wears; });
    if (form == 4 && dressed) return fronted_opening(items);
    say_person(false);
    if (form == 3) return say(" "), remark(), stop();
    if (const Items hair = form == 2 ? take(items, has_got, 1) : Items{}; !hair.empty()) {
        if (hair[0].part == part_hair && hair[0].noun == "hair" && rng_.chance(0.25f))
            say(" whose "), say_is(hair[0]);
        else
            say(" with "), say_list(hair, true);
    }
    const Items clothes = take(items, wears, 1 + rng_.below(3));
    if (clothes.empty()) return say(" "), remark(), stop();
    if (form == 1) {
        say(any({" in ", " wearing ", dresses(clothes) ? " dressed in " : " in "}));
        say_list(clothes, false);
        say(" ");
        if (const Items load = rng_.chance(0.5f) ? take(items, carries, 1) : Items{}; !load.empty())
            say(any({"is carrying ", "carries ", "has "})), say_list(load, true);
        else
            remark();
    } else {
        say(any({" is wearing ", " wears ", " has on ", dresses(clothes) ? " is dressed in " : " wears "}));
        say_list(clothes, false);
        if (const Items load = rng_.chance(0.3f) ? take(items, carries, 1) : Items{}; !load.empty())
            say(any({" and carries ", " and is carrying ", " with "})), say_list(load, true);
    }
    stop();
}

// "her shirt is red", "his jacket is black and his shoes are white", "her skirt and boots are both brown"
bool Speaker::predicates(Items& items) {
    const auto fits = [](const Item& i) {
        return !i.colour.empty() && i.part != part_held && i.part != part_inner && !(i.part == part_bag && i.plural) &&
               i.cut.find("plaid") == std::string::npos;
    };
    const Item first = items.front();
    if (!fits(first) || !rng_.chance(verb_of(first) == carries ? 0.12f : 0.35f)) return false;
    items.erase(items.begin());
    const bool more = !items.empty() && verb_of(items.front()) == wears && fits(items.front());
    const auto plain = [](const Item& i) { return i.cut.empty() && i.after.empty() && verb_of(i) == wears; };
    say(possessive_ + " ");
    if (more && plain(first) && plain(items.front()) && first.colour == items.front().colour) {
        const std::size_t begin = out_.text.size();
        say(first.noun + " and " + items.front().noun + " are both " + first.colour);
        note(first, begin);
        note(items.front(), begin);
        items.erase(items.begin());
        return true;
    }
    say_is(first);
    if (!more || !rng_.chance(0.4f)) return true;
    say(" and " + possessive_ + " "), say_is(items.front());
    items.erase(items.begin());
    return true;
}

// "there is a red bag in her hand", "on his back is a black backpack"
bool Speaker::exists(const Items& group) {
    if (group.size() != 1 || verb_of(group[0]) != carries || group[0].place.empty() || !rng_.chance(0.25f) ||
        group[0].place.starts_with("to "))
        return false;
    if (rng_.chance(0.5f)) {
        say("there is "), say_list(group, true);
        return true;
    }
    say_place(group[0]);
    out_.text.erase(sentence_, 1);  // the blank before the place
    say(" is ");
    say_item(group[0], true, false);
    return true;
}

// One more sentence about the next item, and about others that go with its verb.
void Speaker::sentence(Items& items) {
    start();
    if (predicates(items)) return stop();
    const Verb verb = verb_of(items.front());
    const Items group = take(items, verb, verb == has_got ? 1 : 1 + rng_.below(3));
    if (exists(group)) return stop();
    if (rng_.chance(0.15f))
        say_person(true), say(verb == wears     ? any({" wears ", " is wearing "})
                              : verb == carries ? any({" carries ", " has "})
                                                : " has ");
    else
        say(subject_), say_verb(verb, group);
    say_list(group, verb != wears || rng_.chance(0.4f));
    stop();
}

Caption Speaker::narrative(Items items) {
    opening(items);
    while (!items.empty()) sentence(items);
    return std::move(out_);
}

// Crowd style: everything in one breath.
Caption Speaker::one_sentence(Items items) {
    start();
    say_person(false);
    const Items traits = take(items, has_got, 9), clothes = take(items, wears, 9), load = take(items, carries, 9);
    if (!traits.empty()) say(" with "), say_list(traits, true);
    if (!clothes.empty())
        say(traits.empty() ? any({" wearing ", " in ", " who wears "}) : any({" wearing ", " who is wearing "})),
            say_list(clothes, false);
    if (!load.empty()) say(any({", carrying ", " and carrying ", ", with "})), say_list(load, true);
    stop();
    return std::move(out_);
}

// Note style: "woman, long black hair, red coat, blue jeans."
Caption Speaker::fragments(const Items& items) {
    start();
    Item who;
    who.noun = person_;
    say(person_);
    note(who, sentence_);
    for (const Item& i : items) say(", "), say_item(i, rng_.chance(0.15f), false);
    stop();
    return std::move(out_);
}

Caption Speaker::deny(Caption said, const char* missing) {
    out_ = std::move(said);
    start();
    const bool worn = std::string(missing) != "bag";
    const std::string thing = std::string(missing) == "glasses" ? missing : std::string("a ") + missing;
    if (rng_.chance(0.5f))
        say(subject_ + is_ + "not " + (worn ? "wearing " : "carrying ") + thing);
    else
        say(subject_ + has_ + "no " + missing);
    out_.absent.push_back(missing);
    stop();
    return std::move(out_);
}

namespace {

// How often each thing is worth saying. What tells a person from a lookalike is noticed more often.
Items choose(Items all, const Figure& f, eng::Rng& rng) {
    Items chosen, rest;
    for (Item& i : all) {
        float chance = 0.84f;
        if (i.part == part_upper) chance = 0.96f;
        if (i.part == part_lower) chance = 0.92f;
        if (i.part == part_shoes || i.part == part_hair) chance = 0.72f;
        if (i.part == part_glasses) chance = 0.5f;
        if (i.about == f.differs) chance = std::max(chance, 0.9f);
        (rng.chance(chance) ? chosen : rest).push_back(std::move(i));
    }
    while (chosen.size() < 3 && !rest.empty()) chosen.push_back(std::move(rest.back())), rest.pop_back();
    // Mostly from the top of the list (clothes first), sometimes in any order.
    if (rng.chance(0.35f))
        rng.shuffle(chosen);
    else if (chosen.size() > 3) {
        Items tail(chosen.begin() + 2, chosen.end());
        rng.shuffle(tail);
        std::copy(tail.begin(), tail.end(), chosen.begin() + 2);
    }
    return chosen;
}

// What a view with nothing in the way shows to be missing.
std::vector<const char*> missing(const Figure& f, const View& v) {
    std::vector<const char*> out;
    if (v.occluder != nothing) return out;
    if (!f.has(hat)) out.push_back("hat");
    if (!f.has(bag)) out.push_back("bag");
    if (!f.has(glasses) && v.facing == front) out.push_back("glasses");
    return out;
}

}  // namespace

Caption make_caption(const Figure& f, const View& v, const Picture& p, eng::Rng& rng) {
    const Items items = choose(items_seen(f, v, p, &rng), f, rng);
    Speaker speaker(f, v, rng);
    const int style = pick(rng, {74, 16, 10});
    Caption c = style == 0   ? speaker.narrative(items)
                : style == 1 ? speaker.one_sentence(items)
                             : speaker.fragments(items);
    const auto gone = missing(f, v);
    if (style < 2 && !gone.empty() && rng.chance(0.06f))
        c = speaker.deny(std::move(c), gone[rng.below(std::uint32_t(gone.size()))]);
    if (rng.chance(0.2f))
        for (char& ch : c.text) ch = char(std::tolower(static_cast<unsigned char>(ch)));
    if (rng.chance(0.1f)) c.text.pop_back();  // people forget the full stop
    return c;
}

}  // namespace scvd::synth
