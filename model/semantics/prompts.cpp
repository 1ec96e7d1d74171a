// Phrases -> the sentences that the text encoder reads, in a fixed number of slots.
#include <algorithm>
#include <array>

#include "engine/error.h"
#include "model/semantics/deconstructor.h"

namespace scvd {
namespace {

struct Row {
    const char* name;
    const char* pattern;
    int rank;  // what is kept first when there are more phrases than slots
};

constexpr std::array<Row, category_count> rows = {{
    {"person", "a photo of {a} {phrase}", 0},
    {"garment_upper", "a photo of a {person} wearing {a} {phrase}", 1},
    {"garment_lower", "a photo of a {person} wearing {a} {phrase}", 2},
    {"garment_full", "a photo of a {person} wearing {a} {phrase}", 1},
    {"footwear", "a photo of a {person} wearing {a} {phrase}", 4},
    {"headwear", "a photo of a {person} wearing {a} {phrase}", 5},
    {"accessory", "a photo of a {person} wearing {a} {phrase}", 7},
    {"bag", "a photo of a {person} carrying {a} {phrase}", 3},
    {"carried", "a photo of a {person} carrying {a} {phrase}", 6},
    {"held", "a photo of a {person} holding {a} {phrase}", 6},
    {"pushed", "a photo of a {person} pushing {a} {phrase}", 6},
    {"ridden", "a photo of a {person} riding {a} {phrase}", 6},
    {"hair", "a photo of a {person} with {a} {phrase}", 5},
    {"body", "a photo of a {person} with {a} {phrase}", 7},
}};

const Row& row(Category c) { return rows[static_cast<std::size_t>(c)]; }

// The head noun: the last word before "with", "of", or the participle of a hair phrase.
std::string_view head_of(std::string_view phrase) {
    std::size_t end = phrase.size();
    for (const std::string_view stop : {" with ", " of ", " tied ", " pulled ", " in "})
        end = std::min(end, phrase.find(stop));
    const std::string_view front = phrase.substr(0, end);
    return front.substr(front.find_last_of(' ') == front.npos ? 0 : front.find_last_of(' ') + 1);
}

std::string article(std::string_view phrase) {
    if (phrase.empty()) return "";
    const std::string_view head = head_of(phrase);
    for (const std::string_view mass : {"hair", "clothing", "clothes", "luggage", "jewelry", "denim", "skin", "makeup",
                                        "attire", "bangs", "facial", "footwear", "paper", "stubble", "underwear"})
        if (head == mass) return "";
    const bool plural = head.size() > 3 && head.back() == 's' && !head.ends_with("ss") && !head.ends_with("us");
    const std::string_view first = phrase.substr(0, phrase.find_first_of(" -"));
    for (const std::string_view number : {"two", "three", "four", "five", "six", "several", "many", "2", "3", "4"})
        if (first == number) return "";
    if (plural) return "";
    for (const std::string_view consonant : {"uni", "use", "one", "eur"})
        if (first.starts_with(consonant)) return "a";
    return std::string_view("aeiou").find(phrase[0]) == std::string_view::npos ? "a" : "an";
}

std::string fill(std::string_view pattern, std::string_view person, std::string_view phrase) {
    std::string out;
    for (std::size_t i = 0; i < pattern.size();) {
        const auto takes = [&](std::string_view key, std::string_view value) {
            if (!pattern.substr(i).starts_with(key)) return false;
            out += value;
            i += key.size();
            if (value.empty() && i < pattern.size() && pattern[i] == ' ') ++i;
            return true;
        };
        if (takes("{person}", person) || takes("{phrase}", phrase) || takes("{a}", article(phrase))) continue;
        out += pattern[i++];
    }
    return out;
}

std::string render(const PromptOptions& options, Category c, std::string_view person, std::string_view phrase) {
    if (!options.use_templates) return std::string(phrase);
    const auto own = options.templates.find(c);
    return fill(own == options.templates.end() ? std::string_view(row(c).pattern) : own->second, person, phrase);
}

// Indices of the phrases that get a slot, in the order of the text.
std::vector<int> choose(const std::vector<Phrase>& phrases, std::size_t room) {
    std::vector<int> order;
    for (std::size_t i = 0; i < phrases.size(); ++i)
        if (phrases[i].category != Category::person) order.push_back(static_cast<int>(i));
    if (order.size() <= room) return order;
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
        const Phrase &x = phrases[static_cast<std::size_t>(a)], &y = phrases[static_cast<std::size_t>(b)];
        if (row(x.category).rank != row(y.category).rank) return row(x.category).rank < row(y.category).rank;
        return x.has_colour > y.has_colour;
    });
    order.resize(room);
    std::sort(order.begin(), order.end());
    return order;
}

void check(const PromptOptions& options) {
    ENG_CHECK(options.slots >= (options.whole_description ? 2 : 1), "prompts", "slots = ", options.slots,
              options.whole_description ? " leaves no room for the person and the whole description"
                                        : " leaves no room for the person");
    for (const auto& [category, pattern] : options.templates)
        ENG_CHECK(pattern.find("{phrase}") != pattern.npos, "prompts", "the template of ", row(category).name,
                  " has no {phrase}: \"", pattern, "\"");
}

}  // namespace

const char* category_name(Category c) { return row(c).name; }

std::string default_template(Category c) { return row(c).pattern; }

std::array<std::string, category_count> default_templates() {
    std::array<std::string, category_count> all;
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = rows[i].pattern;
    return all;
}

PromptOptions unlimited(PromptOptions o, const Deconstruction& d) {
    o.slots = static_cast<int>(d.phrases.size()) + 2;
    return o;
}

Prompts make_prompts(const Deconstruction& d, const PromptOptions& options, std::string_view description) {
    check(options);
    const auto slots = static_cast<std::size_t>(options.slots);
    Prompts p{std::vector<std::string>(slots), std::vector<int>(slots, no_prompt), std::vector<std::uint8_t>(slots, 0)};
    std::size_t used = 0;
    const auto add = [&](std::string text, int phrase) {
        p.text[used] = std::move(text);
        p.phrase[used] = phrase;
        p.mask[used++] = 1;
    };
    const std::string_view who = options.neutral ? std::string_view("person") : std::string_view(d.person);
    const auto person = std::find_if(d.phrases.begin(), d.phrases.end(),
                                     [](const Phrase& ph) { return ph.category == Category::person; });
    const bool described = person != d.phrases.end() && !options.neutral;
    add(render(options, Category::person, who, described ? std::string_view(person->text) : who), person_prompt);
    if (options.whole_description) add(std::string(description), description_prompt);
    for (const int i : choose(d.phrases, slots - used)) {
        const Phrase& phrase = d.phrases[static_cast<std::size_t>(i)];
        add(render(options, phrase.category, who, phrase.text), i);
    }
    return p;
}

}  // namespace scvd
