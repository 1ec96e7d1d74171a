// What a noun phrase does: names an item, a part of one, a colour, a person, or nothing that is seen on the person.
#include <algorithm>

#include "model/semantics/grammar.h"

namespace scvd::sd {

std::size_t Grammar::mention(const NounPhrase& np) {
    const Classes c = np.head_classes;
    if (np.joined) fired(Rule::joined_modifiers, np.begin);
    if (np.measured) fired(Rule::measure_of, np.begin);
    if (np.head == none) return mention_modifiers(np);
    if (np.content.size) fired(Rule::content_of, np.head);
    if (!c) fired(Rule::unknown_head, np.head);
    // "a picture of a woman": of the described person, unless it is printed on her shirt
    const bool depicts = !who_.known && (c & part) && np.content.size > 1 && at(np.end - 1).is(people);
    if (depicts) return np.content.at[0];
    const bool figure = (governor_ == Governor::have || prep_ == Prep::with) && at(np.head).text == "figure" && np.mods.size;
    if (printed_on(np)) return mention_part(np);
    if ((c & people) && !(c & (scope & ~body)) && !figure) return mention_person(np);
    if (in_scope(np) || figure) return mention_item(np);
    if ((c & part) && held_part(np)) return mention_item(np);
    if (c & part) return mention_part(np);
    if (c & bodypart) return mention_body(np);
    if ((c & hue) && np.mods.size) return mention_modifiers(np);
    fired(Rule::place_dropped, np.head);
    finish(np, Last::other);
    return np.end;
}

// "his arms are tattooed", "her legs are bare"; a body part alone is only a place.
std::size_t Grammar::mention_body(const NounPhrase& np) {
    const std::size_t verb = skip_adverbs(np.end);
    NounPhrase said;
    finish(np, Last::other);
    if (negated_ || !at(verb).is(be) || !parse_noun_phrase(t_, skip_adverbs(verb + 1), Place::predicate, said)) return np.end;
    const Pieces mods = modifier_pieces(t_, said);
    const bool tells = said.head == none && std::any_of(mods.begin(), mods.end(), [](const Piece& p) { return p.classes & bodyadj; });
    if (!tells) return fired(Rule::place_dropped, np.head), np.end;
    fired(Rule::body_with_look, np.head);
    last_item_ = new_item(np, mods);
    finish(said, Last::item);
    return said.end;
}

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

// The item that a definite noun phrase takes up again: same head, no other colour.
std::size_t Grammar::known_item(const NounPhrase& np, const Pieces& mods) const {
    if (!np.definite) return none;
    constexpr std::size_t memory = 64;  // items to look back over: keeps time linear in texts of any length
    for (std::size_t i = items_.size(); i-- > 0 && i + memory >= items_.size();) {
        const Item& old = items_[i];
        if (old.absent || old.gone || stem_of(old.head.text) != stem_of(at(np.head).text)) continue;
        if (colours_agree(old.front, mods)) return i;
    }
    return none;
}

std::size_t Grammar::new_item(const NounPhrase& np, Pieces front) {
    Item item;
    item.front = std::move(front);
    const Token& head = at(np.head);
    item.head = {head.text, head.hyphen && np.head > np.begin && !item.front.empty(), head.classes};
    item.content = pieces_of(t_, np.content.all());
    item.head_classes = np.head_classes;
    if (!item.head_classes && governor_ == Governor::carry) item.head_classes = carried;
    const std::size_t first = np.mods.size ? std::min<std::size_t>(np.mods.at[0], np.head) : np.head;
    const std::size_t last = np.content.size ? np.content.at[np.content.size - 1] : np.head;
    item.begin = at(first).begin;
    item.end = at(last).end;
    item.absent = negated_;
    item.plural = head.has(f_plural) || np.many;
    items_.push_back(std::move(item));
    return items_.size() - 1;
}

// "black pants and shoes": the bare second takes the colour; never jeans, never across a comma or a determiner.
void Grammar::share_colour(Item& item, const NounPhrase& np) {
    constexpr Classes shares = worn | bag;
    if (link_ != Link::conj || last_ != Last::item || last_item_ == none || np.determined || np.mods.size) return;
    const Token &next = at(np.end), &after = at(np.end + 1);
    const bool acts = next.is(be) && at(skip_adverbs(np.end + 1)).is(verbs) && !at(skip_adverbs(np.end + 1)).is(modifier);  // "is walking"
    if ((next.is(be | modifier) && !acts) || (next.is(of | in) && after.is(colour | shade))) return;  // it has its own
    const Item& first = items_[last_item_];
    const bool fits = (first.head_classes & shares) && (item.head_classes & shares) && !at(np.head).has(f_noshare | f_compound) &&
                      !first.absent && !item.absent && first.details.empty();
    if (!fits) return;
    Pieces colours;
    for (std::size_t i = 0; i < first.front.size(); ++i) {
        const Piece& p = first.front[i];
        const bool next_is_colour = i + 1 < first.front.size() && (first.front[i + 1].classes & colour);
        const bool between = i > 0 && (first.front[i - 1].classes & colour);
        if ((p.classes & colour) || ((p.classes & shade) && next_is_colour) || ((p.classes & conj) && between && next_is_colour))
            colours.push_back(p);
    }
    if (!colours.empty()) fired(Rule::shared_colour, np.head);
    add_front(item, colours);
}

// "a black and a green folder": the first colour gets the head of the second.
void Grammar::settle_waiting_head(const NounPhrase& np) {
    if (!waits_for_head_) return;
    waits_for_head_ = false;
    if (link_ != Link::conj || !np.determined) return;
    NounPhrase first = np;
    first.mods.size = 0;
    first.content.size = 0;
    fired(Rule::right_shared_head, np.head);
    const std::size_t i = new_item(first, shared_head_mods_);
    items_[i].begin = waiting_begin_;
}

std::size_t Grammar::mention_item(const NounPhrase& np) {
    if (unseen_) return finish(np, Last::other), np.end;
    if (on_the_body(np)) fired(Rule::on_the_body, np.head);
    settle_waiting_head(np);
    Pieces mods = modifier_pieces(t_, np);
    const bool counted = negated_;
    std::size_t i = counted ? none : known_item(np, mods);
    if (i != none) {
        fired(Rule::item_again, np.head);
        add_front(items_[i], mods);
    } else {
        fired(Rule::item, np.head);
        i = new_item(np, std::move(mods));
        share_colour(items_[i], np);
    }
    if (copies_predicate_) add_front(items_[i], last_predicate_), copies_predicate_ = false;
    part_is_subject_ = false;
    if (pending_at_ != none && pending_at_ <= np.begin) {
        part_is_subject_ = pending_of_ && !pending_details_.empty();
        for (Pieces& d : pending_details_) add_detail(items_[i], std::move(d));
        pending_details_.clear();
        pending_at_ = none;
    }
    const bool inside_subject = link_ == Link::none && prep_ != Prep::none && governor_ == Governor::none &&
                                group_governor_ == Governor::none && group_prep_ == Prep::none && !group_.empty();
    last_item_ = i;
    if (negated_) negation_used_ = true;
    if (inside_subject) return finish(np, Last::item), np.end;  // "the jacket of the suit is ..."
    if (link_ == Link::none || last_ != Last::item) group_.clear();
    if (group_.empty()) group_governor_ = governor_, group_prep_ = prep_;
    group_.push_back(i);
    finish(np, Last::item);
    return np.end;
}

// Modifiers without a noun: a colour behind its item ("pants black", "a coat in camel"), clothes ("dressed in
// black"), or the first half of "a black and a green folder".
std::size_t Grammar::mention_modifiers(const NounPhrase& np) {
    const Pieces mods = modifier_pieces(t_, np);
    const bool behind_item = last_ == Last::item && last_item_ != none && !items_[last_item_].absent;
    const bool adjacent = behind_item && last_end_ == np.begin;
    // "a blue shirt, untucked, and ..."
    const bool of_things = std::any_of(mods.begin(), mods.end(), [](const Piece& p) { return p.classes & (colour | shade | mod | suffix); });
    const bool set_off = behind_item && of_things && link_ == Link::comma && last_end_ + 1 == np.begin && !np.determined && !at(np.end).is(noun);
    const bool joined = behind_item && last_prep_ != none && last_prep_ + 1 == np.begin &&
                        (last_prep_ == last_end_ || (last_prep_ == last_end_ + 1 && at(last_end_).comma())) &&
                        (prep_ == Prep::in || prep_ == Prep::of || prep_ == Prep::with);
    const bool manner = std::all_of(mods.begin(), mods.end(), [](const Piece& p) { return p.classes & adv; });
    const bool dressed_in = prep_ == Prep::in && last_prep_ > 0 &&
                            (last_ == Last::person || at(last_prep_ - 1).is(wear | be | adv) || at(last_prep_ - 1).text == "all");
    const bool wears = (dressed_in || (governor_ == Governor::wear && prep_ == Prep::none)) && has_colour(mods);
    const bool of_person = last_ == Last::person && link_ == Link::comma && last_end_ + 1 == np.begin && !np.determined && subject_ == Subject::person;
    if (of_person && !negated_) {  // "a man, tall and muscular, is ..."
        fired(Rule::person_predicate, np.begin);
        describe_person(np);
        return last_end_ = np.end;
    }
    if (mods.empty() || negated_ || unseen_) {
        if (negated_) negation_used_ = true;
        last_ = mods.empty() ? last_ : Last::other;
    } else if (adjacent && (manner || at(np.end).is(of))) {  // "a cap backwards", "a bag full of groceries"
        NounPhrase inner;
        const bool filled = at(np.end).is(of) && parse_noun_phrase(t_, np.end + 1, Place::open, inner);
        return last_end_ = filled ? inner.end : np.end;
    } else if (adjacent && at(np.end).is(with) && mods.back().text.ends_with("ed")) {  // "a cart loaded with boxes"
        return last_end_ = np.end;
    } else if (adjacent || set_off || (joined && has_colour(mods))) {
        fired(Rule::colour_behind, np.begin);
        add_front(items_[last_item_], mods);
        last_end_ = np.end;
        return np.end;
    } else if (np.determined && !np.definite && !np.all && at(np.end).is(conj) && at(np.end + 1).is(det | num)) {
        shared_head_mods_ = mods;
        waiting_begin_ = at(np.mods.at[0]).begin;
        waits_for_head_ = true;
        link_ = Link::none;
    } else if (wears && np.head == none) {
        fired(Rule::only_colour, np.begin);
        NounPhrase clothes = np;
        clothes.head = np.mods.at[np.mods.size - 1];
        clothes.head_classes = generic;
        const std::size_t i = new_item(clothes, mods);
        items_[i].head = {"clothes", false, generic};
        last_item_ = i;
        return finish(np, Last::item), np.end;
    } else if (subject_ == Subject::item && governor_ == Governor::none && prep_ == Prep::in &&
               last_prep_ > 0 && at(last_prep_ - 1).is(be | adv)) {
        apply_predicate(np);  // "her dress is in blue"
        return np.end;
    }
    prep_ = Prep::none;
    return np.end;
}

// A stripe, a logo, a hood belongs to something worn: to what it stands next to, to what is named ahead ("on the
// back of his coat"), or to the last thing mentioned.
std::size_t Grammar::mention_part(const NounPhrase& np) {
    const std::size_t owner = np.mods.size ? np.mods.at[np.mods.size - 1] : none;
    const bool direct = (last_ == Last::item || last_ == Last::part) && (last_prep_ == last_end_ || link_ != Link::none) &&
                        prep_ == Prep::with;
    const bool inside = prep_ == Prep::in && np.definite;  // "a pen in his shirt pocket"
    if (owner != none && at(owner).is(worn | bag) && !at(owner).is(modifier) && !direct && !inside && !negated_) {
        fired(Rule::bearer_in_front, np.head);
        NounPhrase whole = np;  // "the backpack straps": a backpack with straps
        whole.head = owner;
        whole.head_classes = at(owner).classes;
        whole.content.size = 0;
        --whole.mods.size;
        mention_item(whole);
        add_detail(items_[last_item_], {{at(np.head).text, false, np.head_classes}});
        part_is_subject_ = true;
        return np.end;
    }
    Pieces detail = modifier_pieces(t_, np);
    detail.push_back({at(np.head).text, at(np.head).hyphen && !detail.empty(), np.head_classes});
    const Pieces content = pieces_of(t_, np.content.all());
    detail.insert(detail.end(), content.begin(), content.end());
    std::size_t end = np.end;
    const std::size_t after = skip_adverbs(end);
    const std::size_t verb = at(after).is(be) ? skip_adverbs(after + 1) : end;
    NounPhrase said;
    const bool turned = at(verb).is(participle) && (at(verb + 1).is(adv) || at(verb).text == "rolled");
    if (turned || (at(np.end).is(adv) && (at(np.end).text == "up" || at(np.end).text == "down"))) {
        const std::size_t first = turned ? verb : np.end;  // "sleeves rolled up", "the hood up"
        end = first + (turned && at(first + 1).is(adv) && !at(first + 1).is(preposition) ? 2 : 1);
        for (std::size_t k = first; k < end; ++k) detail.push_back({at(k).text, false, 0});
    } else if (at(after).is(be) && !at(verb).is(verbs) && parse_noun_phrase(t_, verb, Place::predicate, said) && said.head == none && said.mods.size) {
        const Pieces front = modifier_pieces(t_, said);  // "the collar is white"
        detail.insert(detail.begin(), front.begin(), front.end());
        end = said.end;
    }
    if (end == np.end && parse_noun_phrase(t_, end, Place::predicate, said) && said.head == none && said.mods.size && !said.determined &&
        !at(said.begin).is(participle)) {
        const Pieces behind = modifier_pieces(t_, said);  // "with the top button undone"
        detail.insert(detail.end(), behind.begin(), behind.end());
        end = said.end;
    }
    const bool owned_by_subject = subject_ == Subject::item && !subjects_.empty() && governor_ == Governor::have &&
                                  prep_ == Prep::none;
    const std::size_t ahead = np.bearer != none ? np.bearer : owned_by_subject || direct ? none : find_bearer_ahead(np);
    if (negated_) {
        if (prep_ == Prep::none || prep_ == Prep::with) last_item_ = last_item_ == none ? new_item(np, {}) : (new_item(np, {}), last_item_);
        negation_used_ = true;
    } else if (unseen_ || prep_ == Prep::loc || (prep_ == Prep::in && (last_ != Last::item || np.definite)) || (prep_ == Prep::on && ahead == none)) {
        // "hands in his pockets", "on the sleeves": a place
    } else if (ahead != none) {
        fired(Rule::part_ahead, np.head);
        pending_details_.push_back(std::move(detail));
        pending_at_ = ahead;
        pending_of_ = np.bearer != none;
    } else if (owned_by_subject) {
        fired(Rule::part_of_subject, np.head);
        for (const std::size_t s : subjects_) add_detail(items_[s], detail);
    } else if (last_item_ != none && (items_[last_item_].head_classes & (worn | bag | accessory | generic | handled))) {
        fired((np.head_classes & part) ? Rule::part_of_item : Rule::thing_as_part, np.head);
        if (!items_[last_item_].absent) add_detail(items_[last_item_], std::move(detail));
    }
    finish(np, Last::part);
    last_end_ = end;
    return end;
}

// "... on the back of his coat", "... down the side of the pants": the token where the coat's phrase starts.
std::size_t Grammar::find_bearer_ahead(const NounPhrase& np) const {
    std::size_t i = np.end;
    for (int hops = 0; hops < 3; ++hops) {
        while (at(i).is(participle | adv) && !at(i).is(preposition)) ++i;
        if (!at(i).is(on | of | in) && at(i).text != "along" && at(i).text != "at" && at(i).text != "from") return none;
        NounPhrase next;
        if (!parse_noun_phrase(t_, i + 1, Place::open, next)) return none;
        if (next.head != none && (next.head_classes & (worn | bag | accessory))) return i + 1;
        if (next.bearer != none) return next.bearer;
        i = next.end;
    }
    return none;
}

void Grammar::finish(const NounPhrase& np, Last kind) {
    last_ = kind;
    last_end_ = np.end;
    last_definite_ = np.definite;
    last_bare_ = !np.determined && np.begin > 0 && !at(np.begin - 1).is(preposition | verbs);
    link_ = Link::none;
    fresh_subject_ = false;
    const bool keeps = (kind == Last::item && (prep_ == Prep::with || prep_ == Prep::in)) ||
                       (kind == Last::part && prep_ == Prep::with) || (np.head_classes & sd::place);
    if (!keeps) prep_ = Prep::none;
}

}  // namespace scvd::sd
