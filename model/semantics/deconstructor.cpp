// Glue: tokens -> grammar -> phrases in canonical form.
#include "model/semantics/deconstructor.h"

#include <algorithm>
#include <unordered_set>

#include "model/semantics/grammar.h"

namespace scvd {
namespace {

// A neutral or young noun takes its sex from the pronouns: "the pedestrian ... her" is a woman, "the child ... his" a boy.
const char* person_class(const sd::Described& who) {
    using namespace sd;
    const bool young = who.kind & (child | teen);
    if (who.gender & (boy | girl)) return who.gender & boy ? "boy" : "girl";
    if (who.gender) return young ? (who.gender & man ? "boy" : "girl") : (who.gender & man ? "man" : "woman");
    if (who.pronoun) return young ? (who.pronoun & man ? "boy" : "girl") : (who.pronoun & man ? "man" : "woman");
    return who.kind & child ? "child" : "person";
}

// Unmodified hair, clothes and the like say nothing.
bool is_empty(const sd::Item& item) {
    using namespace sd;
    if (!item.front.empty() || !item.details.empty() || !item.behind.empty()) return false;
    if (item.head_classes & generic) return true;
    return (item.head_classes & hair) && !item.absent;
}

// What is already in the list; `many` takes over where the list is long, so that time stays linear.
bool listed(const std::vector<Phrase>& list, std::unordered_set<std::string>& many, const std::string& text) {
    if (list.size() < 32) return std::any_of(list.begin(), list.end(), [&](const Phrase& p) { return p.text == text; });
    if (many.empty())
        for (const Phrase& p : list) many.insert(p.text);
    return !many.insert(text).second;
}

}  // namespace

Deconstructor::Deconstructor(const std::string& lexicon_file, Words words)
    : lexicon_(std::make_shared<const Lexicon>(Lexicon::load(lexicon_file, words))) {}

std::vector<std::string> Deconstructor::unknown_words(std::string_view description, int* words) const {
    sd::Sentence s;
    sd::tokenise(description, *lexicon_, s);
    std::vector<std::string> out;
    for (const sd::Token& t : s.tokens) {
        if (words && t.word) ++*words;
        if (sd::unknown(t) && !t.has(sd::f_known) && !sd::is_number(t.text)) out.emplace_back(t.text);
    }
    return out;
}

Deconstruction Deconstructor::operator()(std::string_view description) const {
    sd::Sentence s;
    sd::tokenise(description, *lexicon_, s);
    sd::classify(s.tokens);
    sd::Grammar grammar(s.tokens);
    grammar.run();

    Deconstruction d;
    const sd::Described& who = grammar.described();
    d.person = person_class(who);
    const bool by_pronoun = !who.known;
    d.person_begin = by_pronoun ? who.pronoun_begin : who.noun_begin;
    d.person_end = by_pronoun ? who.pronoun_end : who.noun_end;
    std::unordered_set<std::string> many, many_absent;
    for (std::size_t i = 0; i < grammar.items().size(); ++i) {
        const sd::Item& item = grammar.items()[i];
        if (item.gone || is_empty(item)) continue;
        const bool is_person = i == who.item;
        std::string text = sd::text_of(item);
        if (is_person && item.head.text.empty()) text += " " + d.person;
        auto& list = item.absent ? d.absent : d.phrases;
        if (listed(list, item.absent ? many_absent : many, text)) continue;
        const Category c = is_person ? Category::person : sd::category_of(item.head_classes);
        list.push_back({std::move(text), c, item.begin, item.end, sd::has_colour(item.front)});
    }
    return d;
}

// One line per token: bytes, text, classes, and the rules that decided it, first of the word, then of the grammar.
std::string Deconstructor::explain(std::string_view description) const {
    sd::Sentence s;
    sd::tokenise(description, *lexicon_, s);
    sd::classify(s.tokens);
    sd::Trace trace;
    sd::Grammar(s.tokens, &trace).run();
    std::string out;
    for (std::size_t i = 0; i < s.tokens.size(); ++i) {
        const sd::Token& t = s.tokens[i];
        out += std::to_string(t.begin) + "-" + std::to_string(t.end) + "\t" + std::string(t.text) + "\t";
        out += (t.word ? class_list(t.classes) : std::string("punctuation")) + "\t";
        std::string rules = t.rule == sd::Rule::none ? "" : sd::rule_name(t.rule);
        for (const auto& [at, rule] : trace)
            if (at == i) (rules += rules.empty() ? "" : " ") += sd::rule_name(rule);
        out += (rules.empty() ? "-" : rules) + "\n";
    }
    return out;
}

namespace sd {

const char* rule_name(Rule r) {
    static constexpr const char* names[] = {"none",
#define RULE(name, meaning, example, phrases, absent) #name,
#include "model/semantics/rules.def"
#undef RULE
    };
    return names[static_cast<std::size_t>(r)];
}

}  // namespace sd
}  // namespace scvd
