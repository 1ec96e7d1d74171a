#include "model/html_entities.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace scvd {
namespace {

constexpr std::string_view table_text =
#include "model/html_entities.inc"
    ;

struct Entity {
    std::string_view name;
    char32_t text[2];  // the second is 0 where there is one character
    bool legacy;       // may stand without a semicolon
};

Entity parse_entity(std::string_view row) {
    const std::size_t cut = row.find_first_of("=!");
    Entity e{row.substr(0, cut), {0, 0}, row[cut] == '!'};
    int slot = 0;
    for (const char c : row.substr(cut + 1)) {
        if (c == ',')
            ++slot;
        else
            e.text[slot] = e.text[slot] * 16 + static_cast<char32_t>(c <= '9' ? c - '0' : c - 'A' + 10);
    }
    return e;
}

const std::vector<Entity>& entities() {
    static const std::vector<Entity> all = [] {
        std::vector<Entity> v;
        for (std::size_t i = 0; i < table_text.size();) {
            const std::size_t end = std::min(table_text.find_first_of(" \n", i), table_text.size());
            if (end > i) v.push_back(parse_entity(table_text.substr(i, end - i)));
            i = end + 1;
        }
        std::sort(v.begin(), v.end(), [](const Entity& a, const Entity& b) { return a.name < b.name; });
        return v;
    }();
    return all;
}

const Entity* find_entity(std::string_view name) {
    const auto& all = entities();
    const auto at = std::lower_bound(all.begin(), all.end(), name,
                                     [](const Entity& e, std::string_view n) { return e.name < n; });
    return at != all.end() && at->name == name ? &*at : nullptr;
}

// The longest legacy name that starts `name` and is no longer than `most`; nullptr if there is none.
const Entity* find_legacy_prefix(std::string_view name, std::size_t most) {
    for (std::size_t n = std::min(name.size(), most); n >= 2; --n)
        if (const Entity* e = find_entity(name.substr(0, n)); e && e->legacy) return e;
    return nullptr;
}

void append(std::u32string& out, const Entity& e) {
    out += e.text[0];
    if (e.text[1]) out += e.text[1];
}

bool is_alnum(char32_t c) {
    return (c >= U'0' && c <= U'9') || (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z');
}

int digit_value(char32_t c, int base) {
    int v = 99;
    if (c >= U'0' && c <= U'9') v = static_cast<int>(c - U'0');
    if ((c | 32) >= U'a' && (c | 32) <= U'f') v = static_cast<int>((c | 32) - U'a') + 10;
    return v < base ? v : -1;
}

// Numbers mean code points, except that 0x80..0x9F mean Windows-1252 and that some numbers mean nothing at all.
void append_number(std::u32string& out, std::uint32_t n) {
    constexpr char32_t windows[32] = {0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                      0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D,   0x017D, 0x8F,
                                      0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                      0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};
    if (n >= 0x80 && n < 0xA0)
        out += windows[n - 0x80];
    else if (n == 0 || (n >= 0xD800 && n < 0xE000) || n > 0x10FFFF)
        out += char32_t{0xFFFD};
    else if (!((n < 32 && n != 9 && n != 10 && n != 12 && n != 13) || n == 127 || (n >= 0xFDD0 && n < 0xFDF0) ||
               (n & 0xFFFE) == 0xFFFE))
        out += static_cast<char32_t>(n);
}

struct Number {
    std::size_t end = 0;  // 0: no number here
    std::uint32_t value = 0;
    bool closed = false;  // with a semicolon
};

// The numeric reference at text[at] == '&'.
Number read_number(std::u32string_view text, std::size_t at) {
    std::size_t i = at + 1;
    if (i >= text.size() || text[i] != U'#') return {};
    ++i;
    const int base = i < text.size() && (text[i] | 32) == U'x' ? 16 : 10;
    if (base == 16) ++i;
    const std::size_t first = i;
    std::uint64_t n = 0;
    for (; i < text.size() && digit_value(text[i], base) >= 0; ++i)
        n = std::min<std::uint64_t>(n * static_cast<unsigned>(base) + static_cast<unsigned>(digit_value(text[i], base)),
                                    0x110000);
    if (i == first) return {};
    const bool closed = i < text.size() && text[i] == U';';
    return {i + closed, static_cast<std::uint32_t>(n), closed};
}

// The ASCII letters and digits behind text[at] == '&', at most 32.
std::string read_name(std::u32string_view text, std::size_t at) {
    std::string name;
    for (std::size_t i = at + 1; i < text.size() && name.size() < 32 && is_alnum(text[i]); ++i)
        name += static_cast<char>(text[i]);
    return name;
}

// "EACUTE" for "eacute": only where no capital spelling exists, so that "&LT;" keeps its own meaning.
bool append_capitals(std::u32string& out, const std::string& name) {
    std::string small = name;
    for (char& c : small) c = (c >= 'A' && c <= 'Z') ? static_cast<char>(c + 32) : c;
    const bool all_capitals = std::none_of(name.begin(), name.end(), [](char c) { return c >= 'a' && c <= 'z'; });
    const Entity* e = find_entity(small);
    if (!all_capitals || !e || find_legacy_prefix(name, name.size())) return false;
    for (const char32_t c : e->text) {
        if (c == 0xDF)
            out += U"SS";
        else if (c)
            out += static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
    }
    return true;
}

}  // namespace

std::u32string unescape_html(std::u32string_view text) {
    std::u32string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size();) {
        if (text[i] != U'&') {
            out += text[i++];
            continue;
        }
        if (const Number n = read_number(text, i); n.end) {
            append_number(out, n.value);
            i = n.end;
            continue;
        }
        const std::string name = read_name(text, i);
        const std::size_t end = i + 1 + name.size();
        const bool closed = end < text.size() && text[end] == U';' && name.size() < 32;
        if (const Entity* e = closed ? find_entity(name) : nullptr) {
            append(out, *e);
            i = end + 1;
        } else if (const Entity* prefix = find_legacy_prefix(name, name.size())) {
            append(out, *prefix);
            i += 1 + prefix->name.size();
        } else {
            out += text[i++];
        }
    }
    return out;
}

std::u32string unescape_strict(std::u32string_view text) {
    std::u32string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size();) {
        if (text[i] == U'&') {
            const Number n = read_number(text, i);
            if (n.closed && n.value != U';' && n.end - i <= 27) {
                append_number(out, n.value);
                i = n.end;
                continue;
            }
            const std::string name = n.end ? std::string() : read_name(text, i);
            const std::size_t end = i + 1 + name.size();
            const bool closed = !name.empty() && name.size() <= 24 && end < text.size() && text[end] == U';';
            const Entity* e = closed ? find_entity(name) : nullptr;
            if (e) append(out, *e);
            if (e || (closed && append_capitals(out, name))) {
                i = end + 1;
                continue;
            }
        }
        out += text[i++];
    }
    return out;
}

}  // namespace scvd
