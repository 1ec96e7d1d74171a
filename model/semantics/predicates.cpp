// Subjects and what is said of them: "her shoes are white", "the shirt has a hood", "his hair is pulled back".
#include "model/semantics/grammar.h"

namespace scvd::sd {

// Whose verb is at token i? A pronoun right before it; the noun phrases that opened the clause; or, in a run-on, the
// one right in front ("... and her shoes are white"). An indefinite object is no subject: "wearing a hat is tall".
void Grammar::resolve_subject(std::size_t i) {
    if (fresh_subject_) {
        fresh_subject_ = false;
        return;
    }
    if (group_.empty()) {
        if (last_ == Last::other && last_definite_ && last_end_ == i) subject_ = Subject::none;  // "the bottom is black"
        return;
    }
    const bool opened = group_governor_ == Governor::none && group_prep_ == Prep::none;
    const bool in_front = last_ == Last::item && skip_adverbs(last_end_) >= i;
    if (opened) {
        subject_ = Subject::item;
        subjects_ = group_;
    } else if (in_front && (last_definite_ || (last_bare_ && agrees(i)))) {
        subject_ = Subject::item;
        subjects_.assign(1, last_item_);
    }
}

// "hair is", "pants are": a bare noun is only taken for the subject where the number fits.
bool Grammar::agrees(std::size_t verb) const {
    const std::string_view s = at(verb).text;
    return items_[last_item_].plural == (s == "are" || s == "were" || s == "have" || s == "'re");
}

// "is not visible", "cannot be seen", "are hidden": within the next few words of the clause.
bool Grammar::denies_sight(std::size_t i) const {
    bool no = negated_ && !negation_used_;
    for (std::size_t k = i; k < i + 5; ++k) {
        const Token& t = at(k);
        if (!t.word || t.is(conj | but)) return false;
        no = no || t.is(neg);
        const bool cut_off = t.text != "cropped" || at(k + 1).is(of | on | loc);  // "are cropped" may tell their length
        if ((t.has(f_hidden) && cut_off) || (no && t.has(f_visible)) || (t.text == "out" && at(k + 1).is(of))) return true;
        if (t.is(scope)) return false;
    }
    return false;
}

// "the sleeves of her shirt are rolled up", "the collar of his coat is white": said of the part, not of the bearer.
std::size_t Grammar::part_predicate(std::size_t i) {
    Pieces& detail = items_[last_item_].details.back();
    const std::size_t next = skip_adverbs(i + 1);
    NounPhrase np;
    fired(Rule::part_predicate, i);
    part_is_subject_ = false;
    if (at(next).is(participle)) {
        std::size_t end = next + 1;
        while (at(end).is(adv) && !at(end).is(preposition & ~on)) ++end;
        for (std::size_t k = next; k < end; ++k) detail.push_back({at(k).text, false, 0});
        return last_end_ = end;
    }
    if (!parse_noun_phrase(t_, next, Place::predicate, np) || np.head != none) return next;
    const Pieces mods = modifier_pieces(t_, np);
    detail.insert(detail.begin(), mods.begin(), mods.end());
    return last_end_ = np.end;
}

std::size_t Grammar::be_at(std::size_t i) {
    if (part_is_subject_ && last_end_ == i && !negated_ && !items_[last_item_].details.empty() && !denies_sight(i + 1)) return part_predicate(i);
    resolve_subject(i);
    if (denies_sight(i + 1)) {
        fired(Rule::out_of_sight, i);
        if (subject_ == Subject::item)
            for (const std::size_t s : subjects_) items_[s].gone = items_[s].front.empty() && items_[s].details.empty();
        negated_ = false;
        std::size_t end = i + 1;
        while (at(end).word && !at(end).is(conj | but | wear | carry | have)) {
            if (at(end).has(f_hidden) && (at(end + 1).text == "by" || at(end + 1).text == "under")) return end + 1;  // "hidden by a cap"
            ++end;
        }
        return end;
    }
    std::size_t next = skip_adverbs(i + 1);
    while (at(next).is(det) && (at(next).text == "both" || at(next).text == "all") && !at(next + 1).is(noun)) ++next;
    if (at(next).is(neg) && !at(next).is(be)) negated_ = true, negation_used_ = false, next = skip_adverbs(next + 1);
    const Token& t = at(next);
    if (negation_used_) negated_ = negation_used_ = false;
    prep_ = Prep::none;
    if (subject_ == Subject::item && !subjects_.empty()) last_item_ = subjects_.back();
    const bool describes = t.is(modifier) && !at(next + 1).is(adv | with);  // "is ripped", not "is printed with stars"
    if (t.is(participle) && !describes) return participle_at(next);
    if (t.text == "made" && at(next + 1).is(of)) return made_of(next + 2);
    if (t.is(verbs) || t.is(preposition)) {
        if (t.is(preposition)) last_ = subject_ == Subject::item ? Last::item : Last::person, last_end_ = next;
        return next;
    }
    NounPhrase np;
    const Place p = at(i).is(hedge) && governor_ == Governor::wear ? Place::wear : Place::predicate;
    if (!parse_noun_phrase(t_, next, p, np)) return next;
    return predicate(np);
}

// "the hat is made of straw": a material in front of the hat.
std::size_t Grammar::made_of(std::size_t i) {
    NounPhrase np;
    if (last_item_ == none || !parse_noun_phrase(t_, i, Place::open, np)) return i;
    fired(Rule::made_of, i);
    Pieces material = modifier_pieces(t_, np);
    if (np.head != none) material.push_back({at(np.head).text, at(np.head).hyphen && !material.empty(), np.head_classes});
    add_front(items_[last_item_], material);
    last_ = Last::item;
    return last_end_ = np.end;
}

std::size_t Grammar::predicate(const NounPhrase& np) {
    if (np.head == none || (np.head_classes & hue)) {
        if (governor_ != Governor::wear || subject_ == Subject::item) {
            if (!negated_) apply_predicate(np);
            negated_ = false;
            governor_ = Governor::none;
            return np.end;
        }
        return mention(np);
    }
    if (subject_ == Subject::item && !negated_ && (np.head_classes & part) && !(np.head_classes & scope) && !np.determined) {
        NounPhrase look = np;  // "her shirt is yellow polka dot"
        look.mods.push(np.head);
        look.head = none;
        governor_ = Governor::none;
        return apply_predicate(look), np.end;
    }
    const bool names = subject_ == Subject::item && !subjects_.empty() && (np.head_classes & (worn | bag | accessory));
    if (names && !negated_) {
        Item& s = items_[subjects_.back()];
        const bool same_head = stem_of(s.head.text) == stem_of(at(np.head).text);
        if (same_head) {  // "her shirt is a white shirt"
            apply_predicate(np);
            governor_ = Governor::none;
            return np.end;
        }
        // "her shoes are white sneakers": the plain word gives way to the telling one
        if (s.front.empty() && s.details.empty() && category_of(s.head_classes) == category_of(np.head_classes)) {
            fired(Rule::telling_word, np.head);
            s.gone = true;
        }
    }
    const bool clause = governor_ != Governor::there && governor_ != Governor::wear && governor_ != Governor::carry;
    if (clause) governor_ = Governor::none;
    const std::size_t end = mention(np);
    group_governor_ = Governor::verb;  // it is no subject: "... are sneakers and her socks are frilly"
    return end;
}

void Grammar::apply_predicate(const NounPhrase& np) {
    if (subject_ == Subject::item) {
        fired(Rule::predicate, np.begin);
        const Pieces mods = modifier_pieces(t_, np);
        for (const std::size_t s : subjects_) add_front(items_[s], mods);
        last_predicate_ = mods;
        if (!subjects_.empty()) last_item_ = subjects_.back();
        last_ = Last::item;
    } else if (subject_ == Subject::person) {
        fired(Rule::person_predicate, np.begin);
        describe_person(np);
        last_ = Last::person;
    }
    last_end_ = np.end;
    last_definite_ = true;
    group_.clear();
    link_ = Link::none;
}

std::size_t Grammar::participle_at(std::size_t i) {
    const bool tells = at(i).text != "covered" && !at(i).has(f_hidden);  // what hides the hair says nothing of it
    const bool next_to_it = last_end_ == i || (i > 0 && at(skip_adverbs(last_end_)).is(be));
    if (next_to_it && tells && last_item_ != none && (items_[last_item_].head_classes & hair) && !negated_)
        return hair_participle(i, items_[last_item_]);
    const bool decorates = last_end_ == i && last_ == Last::item && (at(i + 1).is(with) || (at(i).text == "covered" && at(i + 1).is(in)));  // "a shirt covered with stripes"
    if (last_end_ == i) last_end_ = i + 1;
    prep_ = Prep::none;
    if (at(i).is(verbs) && !decorates) return verb_at(i);
    return i + 1;
}

// "tied back" stays behind the noun, unless a style follows: "tied back in a ponytail" is a ponytail.
std::size_t Grammar::hair_participle(std::size_t i, Item& hair) {
    group_.clear();  // "... and her sweater is red" is not said of the hair
    std::size_t end = i + 1;
    while (at(end).is(adv) && !at(end).is(preposition & ~loc)) ++end;
    NounPhrase np;
    std::size_t behind = end;
    const bool into = at(behind).is(in | with | on) || at(behind).text == "to";
    if (into) ++behind;
    const bool styled = parse_noun_phrase(t_, behind, Place::open, np) && np.head != none && (np.head_classes & style);
    fired(styled ? Rule::hair_style : Rule::hair_participle, i);
    const bool coloured = !into && !styled && np.head == none && np.mods.size > 0;
    if (coloured) {  // "dyed red", "cut short"
        const Pieces mods = modifier_pieces(t_, np);
        if (has_colour(mods)) {
            Pieces front{{at(i).text, false, at(i).classes}};
            front.insert(front.end(), mods.begin(), mods.end());
            add_front(hair, front);
            return last_end_ = np.end;
        }
        hair.behind.push_back({at(i).text, false, at(i).classes});
        hair.behind.insert(hair.behind.end(), mods.begin(), mods.end());
        return last_end_ = np.end;
    }
    if (!styled && hair.behind.empty() && at(i).text != "down")
        for (std::size_t k = i; k < end; ++k) hair.behind.push_back({at(k).text, false, at(k).classes});
    last_end_ = end;
    return end;
}

}  // namespace scvd::sd
