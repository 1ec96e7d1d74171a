// Ambiguous words are decided by their neighbours. Each rule has an example; tests/test_semantics_rules.cpp has more.
#include <algorithm>

#include "model/semantics/token.h"

namespace scvd::sd {
namespace {

const Token boundary{".", 0, 0, 0, 0, false, false, Rule::none};

struct View {
    std::vector<Token>& t;
    std::size_t i;
    Token& now() const { return t[i]; }
    void fired(Rule r) const { t[i].rule = r; }
    const Token& at(int k) const {
        const auto j = static_cast<std::ptrdiff_t>(i) + k;
        return j < 0 || j >= static_cast<std::ptrdiff_t>(t.size()) ? boundary : t[static_cast<std::size_t>(j)];
    }
};

bool starts_phrase(const Token& t) { return t.is(noun | modifier | suffix | side | degree | num) || (t.word && !t.classes); }

bool subject_like(const Token& t) { return t.is(he | she | rel | people) || t.text == "they" || t.text == "it"; }

void keep(Token& t, Classes c) { t.classes &= c; }
void drop(Token& t, Classes c) { t.classes &= ~c; }

// "her hat" / "behind her": a possessive needs something to possess.
void possessives(View v) {
    Token& t = v.now();
    if (!t.is(poss) || !t.is(pronoun)) return;
    v.fired(Rule::possessive);
    if (starts_phrase(v.at(1)) && !v.at(1).is(preposition & ~loc)) return;
    if (t.text == "her" || t.text == "his") keep(t, pronoun);
}

// "the man's shirt": 's makes a determiner; "she's wearing", "there's a hat": a verb.
void clitics(View v) {
    Token& t = v.now();
    if (t.text != "'s") return;
    v.fired(Rule::clitic);
    const Token &before = v.at(-1), &after = v.at(1);
    if (after.is(be | wear | carry | verb) && !after.is(scope)) {
        t.classes = be;
    } else if (after.text == "got") {
        t.classes = have;
    } else if (before.is(noun) || (before.word && !before.classes)) {
        t.classes = before.is(pronoun) ? be : poss;
    } else {
        t.classes = be;
    }
}

// "the man that is" / "that jacket": a relative pronoun is followed by a verb or a subject.
void relatives(View v) {
    Token& t = v.now();
    if (!t.is(rel) || !t.is(defdet)) return;
    v.fired(Rule::relative_that);
    const Token& next = v.at(1);
    const bool relative = (next.is(verbs | pronoun | adv | neg | hedge) && !next.is(noun)) ||
                          (next.is(verbs) && v.at(-1).is(noun)) || (next.is(determiner) && v.at(-1).is(noun));
    if (relative)
        keep(t, rel);
    else
        keep(t, defdet);
}

// "with trekking poles": a form in -ing that only WordNet knows describes, between a preposition or modifier and a noun.
void guessed_modifier(View v) {
    Token& t = v.now();
    if (!t.has(f_guessed) || !t.is(verbs) || t.is(noun | modifier) || !t.text.ends_with("ing")) return;
    const bool inside = v.at(-1).is(determiner | with | in | colour | shade | num) || (v.at(-1).is(mod) && !v.at(-1).is(noun));
    const bool listed = v.at(-1).is(conj) && v.at(1).is(worn | bag);  // "pants and trekking shoes"
    if ((inside || listed) && v.at(1).is(noun) && !v.at(1).is(determiner)) t.classes = mod;
}

// "a person dress in black": the participle without its ending.
void dress_verb(View v) {
    if (v.now().text == "dress" && v.at(-1).is(people | pronoun) && v.at(1).text == "in") v.now().classes = wear, v.fired(Rule::dress_verb);
}

// "using a walker" / "the walker wears": the thing behind a verb of carrying or with, else the person.
void person_or_thing(View v) {
    Token& t = v.now();
    if (!t.is(people) || !t.is(handled)) return;
    const bool thing = v.at(-1).is(carry | with) || (v.at(-1).is(determiner | modifier) && v.at(-2).is(carry | with));
    drop(t, thing ? people : handled);
    v.fired(Rule::person_or_thing);
}

// A word that is a verb as well as a noun or an adjective: "he sports a beard" / "sports shoes", "the watch".
void verb_or_noun(View v) {
    Token& t = v.now();
    if (!t.is(verbs | participle) || !t.is(noun | modifier | side | suffix)) return;
    v.fired(Rule::verb_or_noun);
    const Token &before = v.at(-1), &after = v.at(1);
    const bool ends_ing = t.text.ends_with("ing");
    if (before.is(be) && t.is(modifier) && !ends_ing && !t.is(participle)) return drop(t, verbs);  // "is open"
    if (before.is(determiner | num | modifier | side | of) || (before.is(preposition) && !before.is(adv) && !ends_ing)) {
        if (t.is(modifier) && !t.is(noun) && !starts_phrase(after) && !t.is(participle)) return keep(t, verbs | participle);
        return drop(t, after.is(adv) ? verbs : verbs | participle);  // "with rolled up sleeves"
    }
    if (subject_like(before) && !t.is(participle)) return keep(t, verbs);
    if (before.is(noun) && t.is(sd::place) && !t.is(scope | modifier | part)) return keep(t, verbs);  // "in a dress walks away"
    if (after.is(determiner) && !after.is(rel) && !t.is(participle)) return keep(t, verbs);
    if (t.is(participle)) {
        // "braided hair" is an adjective, "hair braided back" stays open for the grammar.
        if (starts_phrase(after) && !after.is(preposition) && !before.is(noun | be)) t.classes = (t.classes & ~(verbs | participle)) | mod;
        return;
    }
    // "a shirt open over a top"
    const bool behind = before.is(noun) && t.is(modifier) && !ends_ing && (after.is(preposition) || !after.word);
    if (starts_phrase(after) || !t.is(modifier) || behind) drop(t, verbs);
}

// "his back" / "pulled back": a body part has a determiner or a preposition in front.
void back_and_head(View v) {
    Token& t = v.now();
    if (!t.is(bodypart) || !t.is(adv | side)) return;
    v.fired(Rule::back_adverb);
    if (v.at(-1).is(participle | be | verb) && !v.at(-1).is(determiner)) drop(t, bodypart | side);
}

// "can", "may", "like": words that a noun class would spoil.
void can_is_a_verb(View v) {
    Token& t = v.now();
    if (t.text == "can" && v.at(1).text != "of" && !v.at(-1).is(determiner | modifier)) t.classes = verb, v.fired(Rule::can_verb);
}

// "very short hair": a degree word that is also an adjective ("pretty", "light") steps back before an adjective.
void degrees(View v) {
    Token& t = v.now();
    if (!t.is(degree) || !t.is(modifier)) return;
    v.fired(Rule::degree_word);
    if (v.at(1).is(modifier) && !v.at(1).is(noun))
        drop(t, modifier);
    else
        drop(t, degree);
}

// "up" and "down" are adverbs behind a participle or a noun, a preposition before a determiner.
void particles(View v) {
    Token& t = v.now();
    if (!t.is(on | of) || !t.is(adv)) return;
    v.fired(Rule::particle);
    if (v.at(1).is(determiner) || v.at(1).is(bodypart | place))
        drop(t, adv | mod | suffix | participle);
    else
        drop(t, on | of);
}

// "long brown hair" / "long sleeve shirt" / "a long sleeve": noun and modifier readings of one word.
void noun_or_modifier(View v) {
    Token& t = v.now();
    if (!t.is(noun) || !t.is(modifier | suffix)) return;
    const Token& after = v.at(1);
    if (t.is(colour) && !t.is(scope & ~handled)) {  // "a rose", "cup of coffee", but "rose dress"
        v.fired(Rule::colour_or_thing);
        if (after.is(noun | modifier) || !v.at(-1).is(determiner | of | carry | colour | num))
            drop(t, noun);
        else
            drop(t, modifier);
    }
    if (t.is(place | measure) && t.is(modifier) && !after.is(of)) drop(t, place | measure);
}

void numbers(View v) {
    Token& t = v.now();
    if (t.classes == 0 && is_number(t.text)) t.classes = num;
}

}  // namespace

bool is_number(std::string_view s) {
    return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
}

void classify(std::vector<Token>& tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        const View v{tokens, i};
        if (!tokens[i].word) continue;
        numbers(v);
        clitics(v);
        possessives(v);
        relatives(v);
        can_is_a_verb(v);
        particles(v);
        back_and_head(v);
        person_or_thing(v);
        guessed_modifier(v);
        dress_verb(v);
        verb_or_noun(v);
        degrees(v);
        noun_or_modifier(v);
    }
}

}  // namespace scvd::sd
