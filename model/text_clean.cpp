#include "model/text_clean.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>

#include "engine/error.h"
#include "model/code_pages.h"
#include "model/html_entities.h"
#include "model/mojibake.h"

namespace scvd {
namespace {

bool is_space(char32_t c) {
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_control(char32_t c) {
    return c <= 8 || c == 11 || (c >= 14 && c < 32) || c == 127 || (c >= 0x206A && c <= 0x206F) || c == 0xFEFF ||
           (c >= 0xFFF9 && c <= 0xFFFC);
}

// The usual decompositions of Latin ligatures and digraphs; nullptr for every other character.
const char32_t* ligature(char32_t c) {
    switch (c) {
        case 0x0132: return U"IJ";
        case 0x0133: return U"ij";
        case 0x0149: return U"\u02BCn";
        case 0x01F1: return U"DZ";
        case 0x01F2: return U"Dz";
        case 0x01F3: return U"dz";
        case 0x01C4: return U"D\u017D";
        case 0x01C5: return U"D\u017E";
        case 0x01C6: return U"d\u017E";
        case 0x01C7: return U"LJ";
        case 0x01C8: return U"Lj";
        case 0x01C9: return U"lj";
        case 0x01CA: return U"NJ";
        case 0x01CB: return U"Nj";
        case 0x01CC: return U"nj";
        case 0xFB00: return U"ff";
        case 0xFB01: return U"fi";
        case 0xFB02: return U"fl";
        case 0xFB03: return U"ffi";
        case 0xFB04: return U"ffl";
        case 0xFB05: return U"\u017Ft";
        case 0xFB06: return U"st";
        default: return nullptr;
    }
}

std::u32string normalize(std::u32string_view in, int options) {
    std::string utf8;
    for (const char32_t c : in) append_utf8(utf8, c);
    utf8proc_uint8_t* mapped = nullptr;
    const auto flags = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | options);
    const auto n = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(utf8.data()),
                                static_cast<utf8proc_ssize_t>(utf8.size()), &mapped, flags);
    ENG_CHECK(n >= 0, "clean_text", "Unicode normalisation failed: ", utf8proc_errmsg(n));
    const std::u32string out = decode_utf8({reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(n)});
    std::free(mapped);
    return out;
}

void append_width(std::u32string& out, char32_t c) {
    if (c == 0x3000)
        out += U' ';
    else if (c > 0xFF00 && c < 0xFFF0)  // full- and half-width forms: their compatibility equivalents
        out += normalize({&c, 1}, UTF8PROC_COMPAT);
    else
        out += c;
}

bool is_digit(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_ND; }

std::u32string drop_terminal_escapes(const std::u32string& in) {
    std::u32string out;
    for (std::size_t i = 0; i < in.size(); ++i) {
        if (in[i] == 27 && i + 1 < in.size() && in[i + 1] == U'[') {
            std::size_t k = i + 2;
            while (k < in.size() && (is_digit(in[k]) || in[k] == U';')) ++k;
            if (k < in.size() && ((in[k] | 32) >= U'a' && (in[k] | 32) <= U'z')) {
                i = k;
                continue;
            }
        }
        out += in[i];
    }
    return out;
}

// One round of the repairs of single characters.
std::u32string repair_once(const std::u32string& in) {
    std::u32string out;
    for (char32_t c : in) {
        if (c >= 0x80 && c < 0xA0 && windows_for_control(c)) c = windows_for_control(c);
        if (const char32_t* parts = ligature(c))
            out += parts;
        else
            append_width(out, c);
    }
    for (std::size_t i = 0; (i = out.find(U"\r\n", i)) != out.npos;) out.erase(i, 1);
    for (char32_t& c : out) {
        if (c == 0x02BC || (c >= 0x2018 && c <= 0x201B)) c = U'\'';
        if (c >= 0x201C && c <= 0x201F) c = U'"';
        if (c == U'\r' || c == 0x2028 || c == 0x2029 || c == 0x85) c = U'\n';
    }
    out = drop_terminal_escapes(out);
    std::erase_if(out, is_control);
    return normalize(out, 0);
}

constexpr std::size_t longest_line = 1000000;  // longer ones are repaired in pieces

// Line by line; from the first '<' on, entities are taken for markup and left to the later passes.
std::u32string repair(const std::u32string& text) {
    std::u32string out;
    bool entities = true;
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = std::min({text.find(U'\n', begin), text.size() - 1, begin + longest_line - 1}) + 1;
        std::u32string line = text.substr(begin, end - begin);
        entities = entities && line.find(U'<') == line.npos;
        for (std::u32string before; before != line;) {
            before = line;
            if (entities) line = unescape_strict(line);
            line = repair_once(fix_encoding(line));
        }
        out += line;
        begin = end;
    }
    return out;
}

bool is_cased(char32_t c) {
    const auto k = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT || c == 0xAA || c == 0xBA ||
           (c >= 0x2160 && c <= 0x217F) || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||  // ordinals, numerals,
           (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);                                 // letters in frames
}

bool is_case_ignorable(char32_t c) {
    const auto k = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF ||
           k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_SK ||
           std::u32string_view(U"'.:\u00B7\u0387\u055F\u05F4\u2018\u2019\u2024\u2027\uFE13\uFE52\uFE55\uFF07\uFF0E\uFF1A").find(c) !=
               std::u32string_view::npos;
}

// A capital sigma ends a word when a cased letter stands before it and none after it.
bool is_final_sigma(const std::u32string& s, std::size_t i) {
    std::size_t before = i, after = i + 1;
    while (before > 0 && is_case_ignorable(s[before - 1])) --before;
    while (after < s.size() && is_case_ignorable(s[after])) ++after;
    return before > 0 && is_cased(s[before - 1]) && !(after < s.size() && is_cased(s[after]));
}

std::u32string lower(const std::u32string& in) {
    std::u32string out;
    out.reserve(in.size());
    for (std::size_t i = 0; i < in.size(); ++i) {
        const char32_t c = in[i];
        if (c < 128)
            out += (c >= U'A' && c <= U'Z') ? c + 32 : c;
        else if (c == 0x0130)  // capital I with dot keeps its dot as a combining mark
            out += U"i\u0307";
        else if (c == 0x03A3)
            out += is_final_sigma(in, i) ? char32_t{0x03C2} : char32_t{0x03C3};
        else
            out += static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
    }
    return out;
}

std::u32string collapse_space(const std::u32string& in) {
    std::u32string out;
    out.reserve(in.size());
    for (const char32_t c : in) {
        if (!is_space(c))
            out += c;
        else if (!out.empty() && out.back() != U' ')
            out += U' ';
    }
    if (!out.empty() && out.back() == U' ') out.pop_back();
    return out;
}

}  // namespace

std::u32string decode_utf8(std::string_view utf8) {
    std::u32string out;
    out.reserve(utf8.size());
    const auto* p = reinterpret_cast<const utf8proc_uint8_t*>(utf8.data());
    for (std::size_t i = 0; i < utf8.size();) {
        if (p[i] < 128) {
            out += p[i++];
            continue;
        }
        utf8proc_int32_t c = -1;
        const auto n = utf8proc_iterate(p + i, static_cast<utf8proc_ssize_t>(utf8.size() - i), &c);
        ENG_CHECK(n > 0 && c >= 0, "text", "not UTF-8: byte 0x", "0123456789abcdef"[p[i] >> 4],
                  "0123456789abcdef"[p[i] & 15], " at byte offset ", i, " of ", utf8.size(),
                  " starts no valid character; save the text as UTF-8");
        out += static_cast<char32_t>(c);
        i += static_cast<std::size_t>(n);
    }
    return out;
}

void append_utf8(std::string& out, char32_t c) {
    utf8proc_uint8_t bytes[4];
    const auto n = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
    out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(n));
}

std::u32string clean_text(std::string_view utf8) {
    // Captions are nearly always plain ASCII without entities: nothing to repair then.
    const bool plain = std::all_of(utf8.begin(), utf8.end(), [](unsigned char c) {
        return (c >= 32 && c < 127 && c != '&') || c == '\n' || c == '\t';
    });
    std::u32string text = decode_utf8(utf8);
    if (!plain) text = unescape_html(unescape_html(repair(text)));
    return lower(collapse_space(text));
}

}  // namespace scvd
