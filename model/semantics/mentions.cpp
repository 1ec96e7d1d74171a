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
