// The described person and other people.
#include <algorithm>

#include "model/semantics/grammar.h"

namespace scvd::sd {
namespace {

constexpr Classes gendered = man | woman | boy | girl;

}  // namespace

// "female student": a gendered noun anywhere in the phrase.
Classes Grammar::gender_of(const NounPhrase& np) const {
    if (np.head_classes & gendered) return np.head_classes & gendered;
    for (const std::uint32_t i : np.mods.all())
        if (at(i).is(gendered)) return at(i).classes & gendered;
    return 0;
}

// A second person noun behind a preposition or a verb is someone else; so is "another girl".
bool Grammar::is_someone_else(const NounPhrase& np, Classes gender) const {
    if (!who_.known) return np.other && prep_ != Prep::none;  // "next to another person"
    if (np.other || np.many) return true;
    const bool conflict = gender && who_.gender && gender != who_.gender &&
                          ((gender & (man | boy)) != 0) != ((who_.gender & (man | boy)) != 0);
    const bool governed = prep_ != Prep::none || governor_ == Governor::verb || governor_ == Governor::carry ||
                          governor_ == Governor::there;
    if (conflict) return true;
    return !np.definite && governed;
}

// "with a baby strapped to her chest", "with a toddler in his arms"
bool Grammar::carries_child(const NounPhrase& np) const {
    if (!who_.known || !(np.head_classes & child) || np.definite || negated_) return false;
    const Token &next = at(np.end), &after = at(np.end + 1);
    const bool in_a_sling = next.is(in | on) && after.is(det) && at(np.end + 2).is(bag | pushed | carried);
    return next.is(participle) || (next.is(in | on) && after.is(poss)) || in_a_sling;
}

std::size_t Grammar::mention_carried_person(NounPhrase np) {
    fired(Rule::carried_person, np.head);
    np.head_classes = child;
    return mention_item(np);
}

std::size_t Grammar::mention_person(const NounPhrase& np) {
    const Token& head = at(np.head);
    const Classes gender = gender_of(np);
    const bool taken = governor_ == Governor::carry && prep_ == Prep::none && np.head_classes & (child | boy | girl | animal);
    if (who_.known && taken && !negated_ && !np.definite) return mention_carried_person(np);
    if (carries_child(np)) return carries_ = true, mention_carried_person(np);
    // "men's shoes", "in a man's coat": the noun only says whose kind of thing it is
    if (at(np.end).text == "'s" && who_.known && !np.definite) return fired(Rule::kind_for_people, np.head), finish(np, Last::other), np.end + 1;
    if (np.begin > 0 && (at(np.begin - 1).text == "like" || at(np.begin - 1).text == "as")) return finish(np, Last::other), np.end;
    if (is_someone_else(np, gender)) {
        closed_ = true;
        fired(Rule::other_person, np.head);
        return finish(np, Last::other), np.end;
    }
    fired(Rule::person_noun, np.head);
    if (!who_.known) {
        who_.known = true;
        who_.noun_begin = head.begin;
        who_.noun_end = head.end;
        who_.surface = head.text;
    }
    if (!who_.kind) who_.kind = np.head_classes & (child | teen | person);
    if (!who_.gender && gender) {
        who_.gender = gender;
        who_.noun_begin = head.begin;
        who_.noun_end = head.end;
        if (who_.item == none) who_.surface = head.text;
    }
    describe_person(np);
    subject_ = Subject::person;
    finish(np, Last::person);
    prep_ = Prep::none;
    if (governor_ != Governor::wear) governor_ = Governor::none;
    return np.end;
}

// Keeps what describes a person: "young", "tall and thin", "dark haired"; not "lone", "first".
void Grammar::describe_person(const NounPhrase& np) {
    Pieces kept;
    const Pieces all = modifier_pieces(t_, np);
    for (std::size_t i = 0; i < all.size(); ++i) {
        const bool before_suffix = i + 1 < all.size() && (all[i + 1].classes & suffix) && !(all[i + 1].classes & padj);
        const bool is_suffix = i > 0 && (all[i].classes & suffix) && !(all[i].classes & padj);
        if ((all[i].classes & (padj | conj | body)) || before_suffix || is_suffix) kept.push_back(all[i]);
    }
    while (!kept.empty() && (kept.front().classes & conj)) kept.erase(kept.begin());
    while (!kept.empty() && (kept.back().classes & conj)) kept.pop_back();
    if (kept.empty() || negated_) return;
    if (who_.item == none) {
        NounPhrase as = np;
        if (np.head == none) as.head = np.mods.at[np.mods.size - 1];
        as.content.size = 0;
        who_.item = new_item(as, {});
        Item& item = items_[who_.item];
        item.head_classes = person;
        const std::string_view noun = np.head != none ? at(np.head).text : who_.surface;
        item.head = {noun, false, person};
        add_front(item, kept);
        return;
    }
    add_front(items_[who_.item], kept);
}

}  // namespace scvd::sd
