#pragma once
// SD, the Semantics Deconstructor: a description of a person -> the person's class, attribute phrases, prompts.
// Text only, no learnt part: a domain lexicon and a finite-state grammar (docs/semantics.md says what a phrase is).
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace scvd {

enum class Category : std::uint8_t {
    person,         // the person noun with an appearance modifier: "young woman"
    garment_upper,  // shirt, jacket
    garment_lower,  // trousers, skirt
    garment_full,   // dress, suit, uniform, "black clothes"
    footwear,       // shoes, socks
    headwear,       // hat, helmet
    accessory,      // glasses, scarf, belt, watch, mask
    bag,            // backpack, suitcase
    carried,        // box, child
    held,           // phone, cup, umbrella
    pushed,         // stroller, trolley
    ridden,         // bicycle, scooter
    hair,           // hair, ponytail, beard
    body,           // skin, build, tattoo, bare legs
};
inline constexpr int category_count = 14;
const char* category_name(Category);  // "garment_upper"

struct Phrase {
    std::string text;  // canonical: lower case, no determiners, typos corrected
    Category category{};
    std::size_t begin = 0, end = 0;  // byte span in the raw description, from the first to the last word of the item
    bool has_colour = false;
};

struct Deconstruction {
    std::string person = "person";  // man | woman | boy | girl | child | person
    std::size_t person_begin = 0, person_end = 0;  // byte span of the noun or pronoun that says so; empty if none does
    std::vector<Phrase> phrases, absent;           // in order of first mention; absent: what the text negates
};

struct Lexicon;

// Which words a Deconstructor knows: all; those of WordNet in place of the lexicon; or the function words of the grammar
// alone. The last two only serve to measure what the lexicon is worth.
enum class Words { all, wordnet, function };

// Safe to share between threads. Any text gives a valid result: empty, other languages, ill-formed UTF-8.
class Deconstructor {
public:
    // "" = the lexicon that is compiled in (model/semantics/lexicon.txt). Throws eng::Error naming file and line.
    explicit Deconstructor(const std::string& lexicon_file = "", Words words = Words::all);
    Deconstruction operator()(std::string_view description) const;
    std::string explain(std::string_view description) const;  // one line per token: bytes, text, classes, rules that fired
    // Words of the description that neither the lexicon nor WordNet knows and that are no typo, as they are written.
    std::vector<std::string> unknown_words(std::string_view description, int* words = nullptr) const;

private:
    std::shared_ptr<const Lexicon> lexicon_;
};

struct PromptOptions {
    int slots = 8;                              // >= 1; slot 0 is the person
    bool use_templates = true;                  // false: the bare phrase, cheaper to encode
    std::map<Category, std::string> templates;  // override the defaults; may use {person}, {phrase}, {a}
    bool neutral = false;                       // {person} is "person" whoever it is
    bool whole_description = false;             // the description itself takes one slot behind the person
};

// What a prompt says when it is no phrase, in place of an index into phrases.
constexpr int person_prompt = -1, description_prompt = -2, no_prompt = -3;

// All three have `slots` entries; the entries of an empty slot are "", no_prompt and 0.
struct Prompts {
    std::vector<std::string> text;
    std::vector<int> phrase;          // index into phrases, or one of the above
    std::vector<std::uint8_t> mask;   // 1 where there is a prompt; slot 0 always
};

// Absent things never become prompts. When there are more phrases than slots, clothes are kept before bags, shoes,
// hair, carried things and accessories, and among equals those with a colour; the order stays that of the text.
// `description` is only needed with whole_description. Throws eng::Error on options that cannot work.
Prompts make_prompts(const Deconstruction&, const PromptOptions& = {}, std::string_view description = "");

std::string default_template(Category);
std::array<std::string, category_count> default_templates();

// As many slots as the description can use.
PromptOptions unlimited(PromptOptions, const Deconstruction&);

// {"person", "phrases", "absent", "prompts", "mask", "category", "span"} on one line; an id comes first if given.
std::string to_json(const Deconstruction&, const Prompts&, std::string_view id = "");

}  // namespace scvd
