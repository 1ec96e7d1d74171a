// Which noun phrases name something seen on the person: the head decides, and where it is ambiguous or only sometimes
// visible, the verb, the preposition and the modifiers.
#include <algorithm>

#include "model/semantics/grammar.h"

namespace scvd::sd {

// "a shirt with red anchors", "a bag with a rabbit on it": right behind something worn, neither worn nor carried itself.
bool Grammar::printed_on(const NounPhrase& np) const {
    if (prep_ != Prep::with || last_ != Last::item || last_prep_ != last_end_ || last_item_ == none || negated_) return false;
    if (!(items_[last_item_].head_classes & (worn | accessory | bag))) return false;
    const Classes c = np.head_classes;
    if (c & (worn | accessory | bag | hair | style | facial | part)) return false;
    const std::size_t behind = np.end + (at(np.end).is(participle) ? 1 : 0);
    const Pieces mods = modifier_pieces(t_, np);
    const bool cut = (c & bodypart) && !np.definite && !mods.empty() &&  // "a top with a lace back", not "with bare legs"
                     std::none_of(mods.begin(), mods.end(), [](const Piece& p) { return p.classes & bodyadj; });
    if (cut) return true;
    const Token& on_what = at(behind + 1);
    const bool on_it = !np.many && at(behind).text == "on" && !(c & handled & ~animal) && (on_what.text == "it" || on_what.text == "them" ||
                                                   (on_what.is(defdet) && at(behind + 2).is(bodypart | side)));
    const bool unheard_of = !c || at(np.head).has(f_guessed) || (c & (animal | sd::place));
    const bool feature = at(np.head).has(f_guessed) && c == sd::place && !np.definite;  // "trousers with a crease"
    if (feature) return true;
    const bool decorates = last_prep_ > 0 && at(last_prep_ - 1).is(participle) && !(c & handled);  // "covered with palm trees"
    return on_it || decorates || !c || (unheard_of && !np.determined && at(np.head).has(f_plural));
}

// The head decides, and where it is ambiguous or only sometimes visible, the verb, preposition and modifiers.
bool Grammar::in_scope(const NounPhrase& np) const {
    const Classes c = np.head_classes;
    const Pieces mods = modifier_pieces(t_, np);
    const bool coloured = has_colour(mods);
    if (!c) {  // an unknown noun: only where the context vouches for it
        if (prep_ != Prep::none && prep_ != Prep::with && prep_ != Prep::in) return false;
        if (on_the_body(np)) return true;
        if (governor_ == Governor::wear || governor_ == Governor::carry) return prep_ == Prep::none && !at(np.head).text.ends_with("ing");
        return coloured && (governor_ == Governor::have || prep_ != Prep::none);
    }
    if (is_part_here(np)) return false;
    const bool end_of_it = prep_ == Prep::loc && np.definite && at(np.head).is(side) && np.mods.size == 0;  // "unzipped at the top"
    if (end_of_it) return false;
    if (c & (worn | accessory | hair | style | facial)) return true;
    if (c & bag) return prep_ != Prep::loc || at(last_prep_).text == "from";
    if (c & handled) return handled_in_scope(np);
    if (c & body) return np.mods.size > 0 || !at(np.head).has(f_modified);
    if (c & bodypart)
        return std::any_of(mods.begin(), mods.end(), [](const Piece& p) { return p.classes & bodyadj; });
    if (c & generic) return !mods.empty() || at(skip_adverbs(np.end)).is(be);  // "his clothes are dark"
    const bool carried_matter = at(np.head).has(f_guessed) && (c & sd::place) && governor_ == Governor::carry && prep_ == Prep::none && !np.definite;
    if (carried_matter && !mods.empty()) return true;  // "carries a leather folio"
    const bool made = coloured || std::any_of(mods.begin(), mods.end(), [](const Piece& p) { return p.classes & mod; });
    if (c & thing) return made && prep_ != Prep::loc;
    if (c & container) return np.content.size > 0 && handled_in_scope(np);
    return false;
}

// "a dress with flowers", "boots that have high heels": a thing that can also be a part of what bears it.
bool Grammar::is_part_here(const NounPhrase& np) const {
    if (!(np.head_classes & part) || !(np.head_classes & scope) || last_item_ == none) return false;
    const bool after_participle = last_prep_ != none && last_prep_ > 0 && at(last_prep_ - 1).is(participle);
    const bool behind_with = (prep_ == Prep::with || (prep_ == Prep::in && after_participle)) && last_end_ == last_prep_ && last_ == Last::item;
    const bool decorates = behind_with && after_participle && (items_[last_item_].head_classes & (worn | bag | accessory));
    if (decorates) return true;  // "covered in studs"
    const bool owned = governor_ == Governor::have && subject_ == Subject::item;
    const Classes bearer = items_[last_item_].head_classes;
    const bool fits = (!(np.head_classes & foot) || (bearer & foot)) &&
                      (!(np.head_classes & (accessory | headwear)) || (bearer & (bag | headwear)));
    return (behind_with || owned) && fits;
}

// "holding two pom poms", "a purple bow in her hair": what is else a part of something is a thing here.
bool Grammar::held_part(const NounPhrase& np) const {
    if (np.definite) return false;
    const bool held = governor_ == Governor::carry && prep_ == Prep::none && subject_ != Subject::item;
    std::size_t owned = np.end + 2;
    while (at(owned).is(modifier) && !at(owned).is(noun)) ++owned;
    return held || (at(np.end).is(in | on) && at(np.end + 1).is(poss) && at(owned).is(hair));
}

// "a red folder in her arm", "an umbrella above his head", "a stethoscope around the neck"
bool Grammar::on_the_body(const NounPhrase& np) const {
    if (np.definite || !at(np.end).is(in | on)) return false;
    const std::size_t owner = np.end + 1, place = owner + (at(owner + 1).is(side | modifier) ? 2 : 1);
    return at(owner).is(poss | defdet) && at(place).is(bodypart);
}

// A bicycle is ridden or pushed, or it stands there; a phone may be looked at.
bool Grammar::handled_in_scope(const NounPhrase& np) const {
    const Classes c = np.head_classes;
    const bool listed = last_prep_ != none && last_prep_ + 1 < np.begin && link_ == Link::comma && prep_ != Prep::loc;
    if (listed || on_the_body(np)) return true;  // "hair in a bun, a phone"
    const bool verb_only = governor_ == Governor::verb && prep_ == Prep::none && link_ == Link::none;
    switch (prep_) {
        case Prep::none: return !verb_only || (c & (animal | ridden | screen));
        case Prep::with: return true;
        case Prep::of: return carries_ || (c & (ridden | screen));
        case Prep::in: return carries_ || (c & ridden);
        case Prep::on: return (c & (screen | ridden | pushed)) || (carries_ && (c & held));  // "sipping on a drink"
        case Prep::loc: return (c & screen) && (at(last_prep_).text == "at" || at(last_prep_).text == "from");
    }
    return false;
}

}  // namespace scvd::sd
