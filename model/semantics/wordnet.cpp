#include "model/semantics/wordnet.h"

#include <array>

namespace scvd::sd {
namespace {

#include "wordnet_tables.inc"

constexpr std::size_t count = sizeof tags / sizeof *tags - 1;

constexpr std::array<Classes, 31> noun_classes = {
    0, upper, lower, full, foot, headwear, accessory, bag, generic, hair, style, facial, body, bodypart, part, colour, mod, container | carried,
    carried, held, screen, ridden, pushed, animal, person, man, woman, boy, girl, child, sd::place};

// Binary search; -1 where the word is not in the table.
int find(std::string_view word) {
    std::size_t low = 0, high = count;
    while (low < high) {
        const std::size_t mid = (low + high) / 2;
        const int order = std::string_view(text + starts[mid], starts[mid + 1] - starts[mid]).compare(word);
        if (order == 0) return tags[mid];
        if (order < 0) low = mid + 1;
        else high = mid;
    }
    return -1;
}

// The tag of the word without its last `cut` letters and with `add` behind it.
int find_base(std::string_view word, std::size_t cut, std::string_view add = "") {
    std::array<char, 32> base;
    if (word.size() < cut + 3 || word.size() - cut + add.size() > base.size()) return -1;
    std::size_t n = word.substr(0, word.size() - cut).copy(base.data(), base.size());
    n += add.copy(base.data() + n, add.size());
    return find({base.data(), n});
}

int noun_of(int tag) { return tag < 0 ? 0 : tag & wordnet_noun; }
bool is_verb(int tag) { return tag >= 0 && (tag & (wordnet_verb | wordnet_wear | wordnet_carry)); }

Classes verb_class(int tag) { return tag & wordnet_wear ? wear : tag & wordnet_carry ? carry : verb; }

WordNetEntry as_found(int tag) {
    WordNetEntry e{true, noun_classes[static_cast<std::size_t>(noun_of(tag))], tag & wordnet_plural ? std::uint32_t{f_plural} : 0};
    if (tag & wordnet_colour) e.classes |= colour;
    if (tag & wordnet_adjective) e.classes |= mod;
    if (tag & wordnet_person) e.classes |= mod | padj;
    if (is_verb(tag)) e.classes |= tag & wordnet_participle ? (verb_class(tag) & ~verb) | mod | participle : verb_class(tag);
    if (e.classes == 0 && (tag & wordnet_adverb)) e.classes = adv;
    return e;
}

// boots, dresses, pansies
int plural_base(std::string_view w) {
    if (!w.ends_with("s") || w.ends_with("ss")) return -1;
    if (const int t = find_base(w, 1); noun_of(t)) return t;
    if (w.ends_with("ies"))
        if (const int t = find_base(w, 3, "y"); noun_of(t)) return t;
    if (w.ends_with("es"))
        if (const int t = find_base(w, 2); noun_of(t)) return t;
    return w.ends_with("ves") ? find_base(w, 3, "f") : -1;
}

// zipped, draped, carried / zipping, draping / zips, carries
int verb_base(std::string_view w, std::string_view ending) {
    const std::size_t n = ending.size();
    if (!w.ends_with(ending) || w.size() < n + 3) return -1;
    if (const int t = find_base(w, n); is_verb(t)) return t;
    if (ending != "s")
        if (const int t = find_base(w, n, "e"); is_verb(t)) return t;
    if (w.ends_with("ied") || w.ends_with("ies"))
        if (const int t = find_base(w, 3, "y"); is_verb(t)) return t;
    if (w[w.size() - n - 1] == w[w.size() - n - 2])
        if (const int t = find_base(w, n + 1); is_verb(t)) return t;
    return -1;
}

}  // namespace

bool has_wordnet() { return count > 0; }

// "shoes" is also a situation, "wearing" also a noun: the form of a visible thing or of a verb goes before.
WordNetEntry wordnet(std::string_view w) {
    if (w.size() < 3 || w.size() > 24) return {};
    const int whole = find(w), singular = plural_base(w);
    const auto own = static_cast<WordNetNoun>(noun_of(whole)), base = static_cast<WordNetNoun>(noun_of(singular));
    const bool plural = base != WordNetNoun::no && (whole < 0 || (own == WordNetNoun::other && base < WordNetNoun::other));
    if (plural) return {true, noun_classes[static_cast<std::size_t>(base)], f_plural};
    WordNetEntry e = whole >= 0 ? as_found(whole) : WordNetEntry{};
    if (own >= WordNetNoun::upper && own <= WordNetNoun::bag && w.ends_with("s") && !w.ends_with("ss")) e.flags |= f_plural;  // trousers
    if (const int t = verb_base(w, "ing"); t >= 0) return {true, (e.classes & ~sd::place) | verb_class(t), e.flags};
    if (whole >= 0) return e;
    if (const int t = verb_base(w, "ed"); t >= 0) return {true, (verb_class(t) & ~verb) | mod | participle, 0};
    if (const int t = verb_base(w, "s"); t >= 0) return {true, verb_class(t), 0};
    return {};
}

}  // namespace scvd::sd
