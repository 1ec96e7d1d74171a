// The walk over the tokens, and what function words do to the state of the clause.
#include "model/semantics/grammar.h"

namespace scvd::sd {

const Token& Grammar::at(std::size_t i) const {
    static const Token stop{".", 0, 0, 0, 0, false, false, Rule::none};
    return i < t_.size() ? t_[i] : stop;
}

std::size_t Grammar::skip_adverbs(std::size_t i) const {
    while (at(i).word && at(i).is(adv | degree | hedge) && !at(i).is(modifier | noun | preposition | pronoun)) ++i;
    return i;
}

Place Grammar::place() const {
    if ((prep_ == Prep::in || prep_ == Prep::of) && last_ == Last::item && last_prep_ == last_end_) return Place::predicate;  // "a coat in camel"
    if (governor_ == Governor::wear && (prep_ == Prep::none || prep_ == Prep::in)) return Place::wear;
    return prep_ == Prep::in ? Place::wear : Place::open;
}

void Grammar::run() {
    for (std::size_t i = 0; i < t_.size();) {
        const bool open = !closed_;
        const std::size_t next = std::max(step(i), i + 1);
        if (open && !closed_) note_pronouns(i, next);
        i = next;
    }
}

void Grammar::note_pronouns(std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end && !who_.pronoun; ++i) {
        if (!at(i).is(he | she)) continue;
        who_.pronoun = at(i).is(he) ? man : woman;
        who_.pronoun_begin = at(i).begin;
        who_.pronoun_end = at(i).end;
    }
}

std::size_t Grammar::step(std::size_t i) {
    const Token& t = at(i);
    if (t.stops()) return end_sentence(), i + 1;
    if (closed_) return i + 1;
    if (!t.word) return t.comma() ? comma(i) : i + 1;
    if (t.is(neg)) return negation(i);
    if (t.is(but)) return new_clause(), i + 1;
    if (t.is(rel) && !t.is(poss)) return relative(i);
    if (t.has(f_there) && at(skip_adverbs(i + 1)).is(be)) {
        new_clause();
        governor_ = Governor::there;
        fired(Rule::there_is, i);
        return skip_adverbs(i + 1) + 1;
    }
    if (t.text == "so" && at(i + 1).is(be)) return copies_predicate_ = true, fired(Rule::copied_predicate, i), i + 2;  // "and so are his shoes"
    if (t.is(hedge)) return be_at(i);
    if (t.is(pronoun) && !t.is(poss)) return personal_pronoun(i);
    if (t.is(be)) return be_at(i);
    if (t.is(conj)) return conjunction(i);
    if (t.is(preposition) && !t.is(side | adv)) return preposition_at(i);
    NounPhrase np;
    const bool phrase_first = !t.is(verbs | preposition) && (!t.is(participle) || last_end_ != i || last_ == Last::other);
    if (phrase_first && parse_noun_phrase(t_, i, place(), np)) return mention(np);
    if (t.is(participle)) return participle_at(i);
    if (t.is(verbs)) return verb_at(i);
    if (t.is(preposition)) return preposition_at(i);
    if (last_end_ == i && t.is(adv)) last_end_ = i + 1;  // "his hair up in a bun": still next to his hair
    return i + 1;
}

void Grammar::new_clause() {
    governor_ = Governor::none;
    prep_ = Prep::none;
    link_ = Link::none;
    negated_ = negation_used_ = unseen_ = carries_ = false;
    waits_for_head_ = part_is_subject_ = false;
    group_.clear();
}

void Grammar::end_sentence() {
    new_clause();
    closed_ = copies_predicate_ = fresh_subject_ = false;
    subject_ = Subject::none;
    last_ = last_ == Last::item ? Last::item : Last::nothing;  // "... a bag. It is black"
}

std::size_t Grammar::comma(std::size_t i) {
    link_ = Link::comma;
    if (prep_ != Prep::with && prep_ != Prep::in) prep_ = Prep::none;
    if (negation_used_ && !at(i + 1).is(neg) && at(i + 1).text != "or") negated_ = false;
    return i + 1;
}

// "no hat or gloves" and "no hat and gloves" go on; "no hat and a bag", "no hat and black shoes" do not.
std::size_t Grammar::conjunction(std::size_t i) {
    const Token& next = at(i + 1);
    link_ = link_ == Link::comma && last_end_ + 1 != i ? Link::comma : Link::conj;
    if (negation_used_ && at(i).text != "or" && !(next.is(noun) && !next.is(modifier | determiner))) negated_ = false;
    return i + 1;
}

std::size_t Grammar::negation(std::size_t i) {
    const Token& t = at(i);
    if (t.text == "not" && at(i + 1).text == "only") return i + 2;
    fired(Rule::negation, i);
    negated_ = true;
    negation_used_ = false;
    if (t.text == "without" || t.text == "sans" || t.text == "minus") prep_ = Prep::none;
    if (t.is(be)) return be_at(i);
    if (t.is(have)) return resolve_subject(i), set_governor(Governor::have), negated_ = true, i + 1;
    return i + 1;
}

std::size_t Grammar::relative(std::size_t i) {
    const bool of_item = at(i).text != "who" && at(i).text != "whom" && last_item_ != none && (last_ == Last::item || last_ == Last::part);
    fired(Rule::relative_clause, i);
    prep_ = Prep::none;
    fresh_subject_ = true;
    subject_ = of_item ? Subject::item : Subject::person;
    if (of_item) {
        const std::size_t next = skip_adverbs(i + 1);
        const bool both = at(next).is(be) && at(next + 1).text == "both";
        subjects_.assign(1, last_item_);
        if (both && group_.size() > 1) subjects_ = group_;
    }
    if (at(i).text == "thats" || at(i).text == "whos") return be_at(i);  // "a top thats white"
    return i + 1;
}

std::size_t Grammar::personal_pronoun(std::size_t i) {
    const Token& t = at(i);
    if (i > 0 && at(i - 1).is(preposition) && !at(i - 1).is(adv)) return prep_ = Prep::none, last_ = Last::other, i + 1;
    if (t.is(he | she) && t.text != "him" && t.text != "hers" && t.text != "himself" && t.text != "herself") {
        const bool her_object = t.text == "her" || t.text == "his";
        if (her_object) return i + 1;
        fired(Rule::pronoun_person, i);
        const Last before = last_;
        const bool inverted = negated_ && !negation_used_ && i > 0 && at(i - 1).is(verb | be | have);  // "nor does she"
        new_clause();
        negated_ = inverted;
        subject_ = Subject::person;
        fresh_subject_ = true;
        // "the bag she carries is red": the bag stays the thing that "is" may speak of
        last_ = before;
        return i + 1;
    }
    if (t.text != "it" && t.text != "they" && t.text != "its" && t.text != "it's") return i + 1;
    const bool to_item = last_item_ != none && (t.text != "they" || items_[last_item_].plural);
    const Token& next = at(skip_adverbs(i + 1));
    // "They have a bag": the person; "They are black": the shoes.
    const bool of_person = t.text == "they" && (!next.is(be) || at(skip_adverbs(i + 2)).is(wear | carry | verb));
    const std::size_t item = last_item_;
    new_clause();
    fresh_subject_ = true;
    subject_ = to_item && !of_person ? Subject::item : Subject::person;
    if (subject_ == Subject::item) subjects_.assign(1, item);
    fired(subject_ == Subject::item ? Rule::pronoun_item : Rule::pronoun_person, i);
    return i + 1;
}

std::size_t Grammar::preposition_at(std::size_t i) {
    const Token& t = at(i);
    if (negation_used_) negated_ = false;
    prep_ = t.is(with) ? Prep::with : t.is(in) ? Prep::in : t.is(of) ? Prep::of : t.is(on) ? Prep::on : Prep::loc;
    last_prep_ = i;
    return i + 1;
}

void Grammar::set_governor(Governor g) {
    if (negation_used_) negated_ = negation_used_ = false;
    governor_ = g;
    prep_ = Prep::none;
    waits_for_head_ = false;
}

// "... that says SECURITY": what is written is no attribute.
std::size_t Grammar::skip_quotation(std::size_t i) const {
    while (at(i).word && !at(i).is(conj | preposition)) ++i;
    return i;
}

std::size_t Grammar::verb_at(std::size_t i) {
    const Token& t = at(i);
    if (t.text == "made" && at(i + 1).is(of)) return made_of(i + 2);
    if ((t.text == "reads" || t.text == "reading") && subject_ == Subject::item) return fired(Rule::quotation, i), skip_quotation(i + 1);
    if (t.is(have)) {
        fired(Rule::have_verb, i);
        resolve_subject(i);
        set_governor(Governor::have);
        const std::size_t next = skip_adverbs(i + 1);
        if (at(next).text == "on") return governor_ = Governor::wear, next + 1;  // "has on a tan jacket"
        return i + 1;
    }
    if (t.is(wear)) {
        fired(Rule::wear_verb, i);
        set_governor(Governor::wear);
        subject_ = Subject::person;
    } else if (t.is(carry)) {
        fired(Rule::carry_verb, i);
        set_governor(Governor::carry);
        carries_ = true;
        subject_ = Subject::person;
    } else {
        const bool says = t.text == "says" || t.text == "saying" || t.text == "spells";
        const bool seems = (t.text == "look" || t.text == "looks" || t.text == "remain" || t.text == "remains") && at(i + 1).is(modifier | degree) && !at(i + 1).is(preposition);
        if (seems) return be_at(i);  // "his shoes look polished"
        if (says) return fired(Rule::quotation, i), skip_quotation(i + 1);
        fired(Rule::other_verb, i);
        const bool sees = t.text == "see" || t.text == "seen" || t.text == "tell" || t.text == "make";
        if (negated_ && !negation_used_ && sees) unseen_ = true;
        const bool auxiliary = negated_ && !negation_used_;  // "doesn't have": the negation goes on
        set_governor(auxiliary ? governor_ : Governor::verb);
    }
    fresh_subject_ = false;
    link_ = Link::none;
    return i + 1;
}

}  // namespace scvd::sd
