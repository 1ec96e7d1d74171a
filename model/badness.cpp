#include "model/badness.h"

#include <utf8proc.h>

#include <cstdint>
#include <initializer_list>
#include <vector>

namespace scvd {
namespace {

enum Class : std::uint32_t {  // bits: a character is in several
    common = 1, c1 = 1 << 1, bad = 1 << 2, law = 1 << 3, currency = 1 << 4, start_punctuation = 1 << 5, end_punctuation = 1 << 6,
    numeric = 1 << 7, kaomoji = 1 << 8, upper_accented = 1 << 9, lower_accented = 1 << 10, upper_common = 1 << 11,
    lower_common = 1 << 12, box = 1 << 13,
    // The leading and the following bytes of UTF-8 as code pages show them; "strict" leaves out what also stands for itself.
    first_of_2 = 1 << 14, first_of_3 = 1 << 15, first_of_4 = 1 << 16, continuation = 1 << 17, continuation_strict = 1 << 18,
    ascii_lower = 1 << 19, ascii_upper = 1 << 20, no_ascii_letter = 1 << 21, blank = 1 << 22, word = 1 << 23, no_line_end = 1 << 24,
};

struct ClassRanges {
    Class name;
    struct Range { char32_t first, last; };
    std::vector<Range> ranges;
};
const ClassRanges tables[] = {
#include "model/mojibake_classes.inc"
};

bool is_word(char32_t c) {
    const auto k = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    return c == U'_' || (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) || (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO);
}
bool is_blank(char32_t c) {
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}
std::uint32_t general_classes(char32_t c) {
    const bool lower = c >= U'a' && c <= U'z', upper = c >= U'A' && c <= U'Z';
    return (lower ? ascii_lower : upper ? ascii_upper : no_ascii_letter) | (is_blank(c) ? blank : 0u) | (is_word(c) ? word : 0u) |
           (c != U'\n' ? no_line_end : 0u);
}

// All members of the tables lie in the first plane.
std::uint32_t classes_of(char32_t c) {
    static const std::vector<std::uint32_t> plane = [] {
        std::vector<std::uint32_t> p(0x10000);
        for (char32_t i = 0; i < p.size(); ++i) p[i] = general_classes(i);
        for (const ClassRanges& t : tables)
            for (const auto& r : t.ranges)
                for (char32_t i = r.first; i <= r.last; ++i) p[i] |= t.name;
        return p;
    }();
    return c < plane.size() ? plane[c] : general_classes(c);
}

// One character of a pattern: any of the classes, or one of the others.
struct Atom {
    std::uint32_t classes;
    std::u32string_view others = U"";
    bool holds(char32_t c) const { return (classes_of(c) & classes) || others.find(c) != others.npos; }
};
constexpr Atom one(std::u32string_view of) { return {0, of}; }
using Pattern = std::vector<Atom>;

constexpr std::uint32_t accented = lower_accented | upper_accented, letter = ascii_lower | ascii_upper, quotes = start_punctuation | end_punctuation;

const Pattern patterns[] = {
    {{c1}},
    {{bad | accented | box | quotes | currency | numeric | law}, {bad}},
    {{letter}, {lower_common | upper_common}, {bad}},
    {{bad}, {accented | box | quotes | currency | numeric | law}},
    {{lower_accented | lower_common | box | end_punctuation | currency | numeric}, {upper_accented}},
    {{box | end_punctuation | currency | numeric}, {lower_accented}},
    {{lower_accented | box | end_punctuation}, {currency}},
    {{blank}, {upper_accented}, {currency}},
    {{upper_accented | box}, {numeric | law}},
    {{accented | box | currency | end_punctuation}, {start_punctuation}, {numeric}},
    {{accented | currency | numeric | box | law}, {end_punctuation}, {start_punctuation}},
    {{currency | numeric | box}, {start_punctuation}},
    {{ascii_lower}, {upper_accented}, {start_punctuation | currency}},
    {{box}, {kaomoji}},
    {{accented | currency | numeric | quotes | law}, {box}},
    {{box}, {end_punctuation}},
    {{accented}, {quotes}, {word}},
    {one(U"Œœ"), {no_ascii_letter}},
    {{upper_accented}, one(U"°")},
    // Windows-1252: pairs that the classes miss; Arabic, of which four characters are asked for; Indian scripts.
    {one(U"ÂÃÎÐ"), {quotes, U"€œŠš¢£Ÿž\u00A0\u00AD®©°·»–—´"}},
    {one(U"×"), one(U"²³")},
    {one(U"ØÙ"), {common | currency | bad | numeric | start_punctuation, U"ŸŠ®°µ»"}, one(U"ØÙ"),
     {common | currency | bad | numeric | start_punctuation, U"ŸŠ®°µ»"}},
    {one(U"à"), one(U"²µ¹¼½¾")},
    // MacRoman.
    {one(U"√"), one(U"±∂†≠®™´≤≥¥µø")},
    {one(U"≈"), one(U"°¢")},
    {one(U"‚"), one(U"Ä"), one(U"ìîïòôúùû†°¢π")},
    {one(U"‚"), one(U"âó"), one(U"àä°ê")},
    // Windows-1251: punctuation; Latin-1 or Cyrillic, three characters; Windows-1252 on top of it.
    {one(U"в"), one(U"Ђ")},
    {one(U"ВГРС"), {c1 | bad | quotes | currency, U"°µ"}, one(U"ВГРС")},
    {one(U"Г"), one(U"ў"), one(U"В"), one(U"Ђ"), one(U"В"), {no_line_end}, {letter, U" "}},
    // Windows-1252's à, á and no-break space, with its other half or with a blank that came of it.
    {one(U"Ã"), one(U"\u00A0¡")},
    {{ascii_lower}, one(U"ÃÂ"), one(U" ")},
    {{ascii_lower}, {blank}, one(U"ÃÂ"), one(U" ")},
    {{ascii_lower | end_punctuation, U".,?!"}, one(U"Â"), {quotes, U" "}},
    // Windows-1253: punctuation; Latin-1 or Greek. Windows-1257: punctuation.
    {one(U"β"), one(U"€"), one(U"™\u00A0Ά\u00AD®°")},
    {one(U"ΒΓΞΟ"), {c1 | bad | quotes | currency, U"°"}, one(U"ΒΓΞΟ")},
    {one(U"ā"), one(U"€")},
};

bool matches(const Pattern& p, std::u32string_view text, std::size_t at) {
    if (text.size() - at < p.size()) return false;
    for (std::size_t i = 0; i < p.size(); ++i)
        if (!p[i].holds(text[at + i])) return false;
    return true;
}

// Length of the sequence at `at`: a first character of n, and the others that continue it.
std::size_t utf8_sequence(std::u32string_view text, std::size_t at) {
    std::size_t n = 2;
    for (const Class first : {first_of_2, first_of_3, first_of_4}) {
        bool whole = text.size() - at >= n && (classes_of(text[at]) & first);
        for (std::size_t i = 1; whole && i < n; ++i) whole = classes_of(text[at + i]) & continuation;
        if (whole) return n;
        ++n;
    }
    return 0;
}

}  // namespace

bool is_bad(std::u32string_view text) {
    if (text.size() >= 2 && (text[0] == U'Ã' || text[0] == U'Â') && text[1] == U' ') return true;
    for (std::size_t at = 0; at < text.size(); ++at)
        for (const Pattern& p : patterns)
            if (matches(p, text, at)) return true;
    return false;
}

std::size_t utf8_run(std::u32string_view text, std::size_t at) {
    if (at > 0 && (classes_of(text[at - 1]) & continuation_strict)) return 0;
    std::size_t end = at;
    while (end < text.size()) {
        const std::size_t n = utf8_sequence(text, end);
        if (n == 0) break;
        end += n;
    }
    return end - at;
}

}  // namespace scvd
