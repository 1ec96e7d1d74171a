#include "model/semantics/lexicon.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "engine/error.h"
#include "engine/io/file.h"

namespace scvd {
namespace {

constexpr std::string_view built_in =
#include "model/semantics/lexicon.txt"
    ;
constexpr std::string_view function_words =
#include "model/semantics/function_words.txt"
    ;
constexpr std::string_view known_words =
#include "model/semantics/known_words.txt"
    ;

// Section names in the order of sd::Bit; behind them the flags.
constexpr std::array<std::string_view, sd::bit_count> class_names = {
    "man",     "woman", "boy",       "girl",    "child", "teen",   "person",  "upper",     "lower",     "full",   "foot",
    "headwear", "accessory", "bag",  "carried", "held",  "screen", "pushed",  "ridden",    "animal",    "hair",   "style",
    "facial",  "body",  "bodypart",  "part",    "generic", "thing", "place",  "measure",   "container", "hue",    "colour",
    "shade",   "mod",   "padj",      "bodyadj", "suffix", "degree", "det",    "defdet",    "poss",      "num",    "side",
    "be",      "have",  "wear",      "carry",   "verb",  "participle", "hedge", "neg",     "with",      "in",     "of",
    "on",      "loc",   "and",       "but",     "he",    "she",    "they",    "rel",       "adv"};
constexpr std::array<std::string_view, 11> flag_names = {"@plural", "@mass",  "@noshare", "@visible",
                                                        "@hidden", "@other", "@there",   "@known",  "@common", "@modified", "@confused"};

std::string_view trim(std::string_view s) {
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t' || s.front() == '\r')) s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '\r')) s.remove_suffix(1);
    return s;
}

// The tokeniser splits "'s" and hyphens off, so the lexicon's keys are split likewise.
std::string key_of(std::string_view words) {
    std::string key;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const bool clitic = words[i] == '\'' && i > 0 && words.substr(i).starts_with("'s") &&
                            (i + 2 == words.size() || words[i + 2] == ' ');
        if (clitic) key += ' ';
        key += words[i] == '-' ? ' ' : words[i];
    }
    return key;
}

int count_words(std::string_view key) { return static_cast<int>(std::count(key.begin(), key.end(), ' ')) + 1; }

int section_of(std::string_view name) {
    const auto c = std::find(class_names.begin(), class_names.end(), name);
    if (c != class_names.end()) return static_cast<int>(c - class_names.begin());
    const auto f = std::find(flag_names.begin(), flag_names.end(), name);
    return f == flag_names.end() ? -1 : sd::bit_count + static_cast<int>(f - flag_names.begin());
}

}  // namespace

std::string class_list(sd::Classes classes) {
    std::string out;
    for (int b = 0; b < sd::bit_count; ++b)
        if (classes & sd::bit(static_cast<sd::Bit>(b)))
            (out += out.empty() ? "" : " ") += class_names[static_cast<std::size_t>(b)];
    return out.empty() ? "unknown" : out;
}

std::string plural_of(std::string_view n) {
    const std::string s(n);
    const auto vowel = [](char c) { return std::string_view("aeiou").find(c) != std::string_view::npos; };
    if (s.ends_with("s") || s.ends_with("x") || s.ends_with("ch") || s.ends_with("sh")) return s + "es";
    if (s.ends_with("y") && s.size() > 1 && !vowel(s[s.size() - 2])) return s.substr(0, s.size() - 1) + "ies";
    if (s.ends_with("scarf")) return s.substr(0, s.size() - 1) + "ves";
    if (s.ends_with("knife")) return s.substr(0, s.size() - 2) + "ves";
    return s + "s";
}

std::string_view stem_of(std::string_view w) {
    if (const auto blank = w.rfind(' '); blank != w.npos) w.remove_prefix(blank + 1);
    if (w.ends_with("ches") || w.ends_with("shes") || w.ends_with("sses") || w.ends_with("xes"))
        return w.substr(0, w.size() - 2);
    if (w == "scarves" || w == "knives") return w.substr(0, w.size() - 3);
    if (w == "scarf" || w == "knife") return w.substr(0, w.find_last_of('f'));
    if (w.size() > 3 && w.ends_with("s") && !w.ends_with("ss") && !w.ends_with("us")) w.remove_suffix(1);
    return w;
}

void Lexicon::add_word(const std::string& key, const std::string& text, sd::Classes c, std::uint32_t flags) {
    Entry& e = entries[key];
    e.text = text;
    e.classes |= c;
    e.flags |= flags;
    e.words = count_words(key);
    if (e.words > 1) {
        int& most = longest[key.substr(0, key.find(' '))];
        most = std::max(most, e.words);
    }
}

void Lexicon::add(std::string_view item, int section, const std::string& where) {
    const bool no_plural = item.ends_with("!");
    if (no_plural) item.remove_suffix(1);
    const std::size_t equals = item.find('=');
    const std::string word(trim(item.substr(0, equals)));
    const std::string text(equals == item.npos ? item : trim(item.substr(equals + 1)));
    ENG_CHECK(!word.empty() && !text.empty(), where.c_str(), "\"", item, "\" should be a word or \"alias = word\"");
    const std::string key = key_of(word);
    if (section >= sd::bit_count) {
        if (flag_names[static_cast<std::size_t>(section - sd::bit_count)] == "@confused") {
            confusions[key] = text;
            return;
        }
        const auto flag = std::uint32_t{1} << (section - sd::bit_count);
        const auto old = entries.find(key);
        add_word(key, old == entries.end() ? text : old->second.text, 0, flag);
        return;
    }
    const auto c = sd::bit(static_cast<sd::Bit>(section));
    const bool plural = word.ends_with("s") && !word.ends_with("ss") && !word.ends_with("us");
    const bool countable = !no_plural && (c & sd::noun & ~sd::hue) && !plural && !word.ends_with("men") && !text.ends_with("s");
    add_word(key, text, c, (c & sd::noun) && plural ? std::uint32_t{sd::f_plural} : 0);
    if (countable) add_word(plural_of(key), plural_of(text), c, sd::f_plural);
}

void Lexicon::parse(std::string_view text, const std::string& name) {
    int section = -1;
    std::size_t line_number = 0;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        const std::string_view line = trim(text.substr(at, end - at));
        at = end + 1;
        const std::string where = name + ":" + std::to_string(++line_number);
        // The first and last line make the file a C++ string literal; they say nothing here.
        if (line.empty() || line[0] == '#' || line.starts_with("R\"lexicon(") || line.starts_with(")lexicon\"")) continue;
        if (line[0] == '[') {
            section = line.back() == ']' ? section_of(line.substr(1, line.size() - 2)) : -1;
            ENG_CHECK(section >= 0, where.c_str(), "unknown section ", line, "; it should be a word class in brackets");
            continue;
        }
        ENG_CHECK(section >= 0, where.c_str(), "words before the first [section]");
        for (std::size_t i = 0; i < line.size();) {
            const std::size_t comma = std::min(line.find(',', i), line.size());
            if (const auto item = trim(line.substr(i, comma - i)); !item.empty()) add(item, section, where);
            i = comma + 1;
        }
    }
}

Lexicon Lexicon::load(const std::string& file, Words words) {
    Lexicon lexicon;
    lexicon.use_wordnet = words != Words::function;
    if (words != Words::all) {
        ENG_CHECK(file.empty(), "lexicon", "a lexicon is given, and left out");
    } else if (file.empty()) {
        lexicon.parse(built_in, "lexicon.txt");
    } else {
        lexicon.parse(eng::read_file(file), file);
    }
    lexicon.parse(function_words, "function_words.txt");
    std::istringstream known{std::string(known_words)};
    for (std::string w; known >> w;)
        if (Entry& e = lexicon.entries[w]; e.text.empty()) e = {w, 0, sd::f_known, 1};
    for (auto& [key, e] : lexicon.entries)
        if (e.words > 1 && (e.classes & sd::worn))
            if (const Entry* last = lexicon.find(std::string_view(key).substr(key.rfind(' ') + 1)); last && (last->classes & sd::worn)) e.flags |= sd::f_compound;
    lexicon.index_for_typos();
    return lexicon;
}

const Entry* Lexicon::find(std::string_view words) const {
    const auto at = entries.find(words);
    return at == entries.end() ? nullptr : &at->second;
}

}  // namespace scvd
