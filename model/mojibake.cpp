#include "model/mojibake.h"

#include <utf8proc.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "model/badness.h"
#include "model/code_pages.h"

namespace scvd {
namespace {

// A byte of a string, or -1 behind its end.
struct Bytes {
    std::string_view s;
    int operator[](std::size_t i) const { return i < s.size() ? static_cast<unsigned char>(s[i]) : -1; }
};
constexpr bool in(int b, int first, int last) { return b >= first && b <= last; }
constexpr bool continues(int b) { return in(b, 0x80, 0xBF); }
constexpr int lost = 0x1A;  // a byte that became U+FFFD; a question mark may be one too

// UTF-8, strictly; with `variants` also surrogates as pairs of three bytes (CESU-8) and zero as C0 80 (Java). At the end of a
// line the line feed passes for the last byte of either, which is how the original reads them.
std::optional<std::u32string> decode(std::string_view text, bool variants) {
    std::u32string out;
    for (std::size_t i = 0; i < text.size();) {
        const Bytes b{text.substr(i)};
        const auto last = [&](std::size_t k) { return continues(b[k]) || (b[k] == '\n' && b[k + 1] < 0); };
        if (variants && b[0] == 0xC0 && (b[1] == 0x80 || (b[1] == '\n' && b[2] < 0))) {
            out += U'\0', i += 2;
        } else if (variants && b[0] == 0xED && in(b[1], 0xA0, 0xAF) && continues(b[2]) && b[3] == 0xED && in(b[4], 0xB0, 0xBF) && last(5)) {
            out += char32_t(0x10000 + ((b[1] & 15) << 16) + ((b[2] & 63) << 10) + ((b[4] & 15) << 6) + (b[5] & 63)), i += 6;
        } else {
            utf8proc_int32_t c = -1;
            const auto n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + i), static_cast<utf8proc_ssize_t>(text.size() - i), &c);
            if (n <= 0 || c < 0) return std::nullopt;
            out += static_cast<char32_t>(c), i += static_cast<std::size_t>(n);
        }
    }
    return out;
}

// Replaces every stretch that `length` finds.
std::string replace(std::string_view text, const std::function<std::size_t(Bytes)>& length, const std::function<std::string(std::string_view)>& by) {
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t n = length({text.substr(i)});
        out += n ? by(text.substr(i, n)) : std::string(1, text[i]);
        i += std::max<std::size_t>(n, 1);
    }
    return out;
}

// UTF-8 in which a blank stands for byte A0; the first bytes are those with which that makes likely characters.
std::size_t blank_sequence(Bytes b) {
    const auto inner = [](int c) { return continues(c) && c != 0x85 && c != 0xA0; };
    const int c = b[0];
    if ((c == 0xC2 || c == 0xC3 || c == 0xC5 || c == 0xCE || c == 0xD0 || c == 0xD9) && b[1] == ' ') return 2;
    if ((c == 0xE2 || c == 0xE3) && b[1] == ' ' && inner(b[2])) return 3;
    if (in(c, 0xE0, 0xE3) && inner(b[1]) && b[2] == ' ') return 3;
    const int blanks = (b[1] == ' ') + (b[2] == ' ') + (b[3] == ' ');
    const int others = continues(b[1]) + continues(b[2]) + continues(b[3]);
    return c == 0xF0 && blanks == 1 && others == 2 ? 4 : 0;
}

// A lone à is nearly always a word: its blank stays, but for the Portuguese words that begin with it.
std::size_t lone_a_grave(Bytes b) {
    if (b[0] != 0xC3 || b[1] != ' ') return 0;
    for (const std::string_view tail : {" ", "quele", "quela", "quilo", "s "})
        if (b.s.substr(2).starts_with(tail)) return 0;
    return 2;
}

std::string restore_no_break_spaces(std::string text) {
    bool any = false;
    for (std::size_t i = 0; i < text.size() && !any; ++i) any = blank_sequence({std::string_view(text).substr(i)});
    if (!any) return text;
    text = replace(text, lone_a_grave, [](std::string_view) { return std::string("\xC3\xA0 "); });
    return replace(text, blank_sequence, [](std::string_view s) {
        std::string whole(s);
        std::replace(whole.begin(), whole.end(), ' ', '\xA0');
        return whole;
    });
}

// UTF-8 or CESU-8 of which bytes were lost.
std::size_t lossy_sequence(Bytes b) {
    const auto gone = [&](std::size_t k) { return b[k] == lost || b[k] == '?'; };
    const auto there = [&](std::size_t k) { return b[k] == lost || continues(b[k]); };
    const int c = b[0];
    if ((in(c, 0xC2, 0xDF) && b[1] == lost) || (in(c, 0xC2, 0xC3) && b[1] == '?')) return 2;
    if (c == 0xED && in(b[1], 0xA0, 0xAF) && b[3] == 0xED && in(b[4], 0xB0, 0xBF) && (gone(2) || gone(5)) && (gone(2) || continues(b[2])) &&
        (gone(5) || continues(b[5])))
        return 6;
    if (in(c, 0xE0, 0xEF) && ((gone(1) && there(2)) || (there(1) && gone(2)))) return 3;
    if (in(c, 0xF0, 0xF4) && ((gone(1) && there(2) && there(3)) || (there(1) && gone(2) && there(3)) || (there(1) && there(2) && gone(3)))) return 4;
    return c == lost ? 1 : 0;
}

std::optional<std::u32string> decoded_again(std::string bytes, CodePage page) {
    if (page != CodePage::macroman) bytes = restore_no_break_spaces(std::move(bytes));  // there it would be a dash and a blank
    if (is_windows(page)) bytes = replace(bytes, lossy_sequence, [](std::string_view) { return std::string("\xEF\xBF\xBD"); });
    return decode(bytes, bytes.find_first_of("\xED\xC0") != bytes.npos);
}

// Where no code page explains the whole text, its parts are looked at alone.
std::u32string fix_runs(const std::u32string& text) {
    std::u32string out;
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t n = utf8_run(text, i);
        const std::u32string run = text.substr(i, std::max<std::size_t>(n, 1));
        out += n > 0 && n < text.size() && is_bad(run) ? fix_encoding(run) : run;
        i += run.size();
    }
    return out;
}

// C1 controls were meant for Windows-1252: all of them, or (`holes`) all that have a meaning there.
std::optional<std::u32string> controls_as_windows(std::u32string text, bool holes) {
    for (char32_t& c : text) {
        if (c < 0x80 || c >= 0xA0) continue;
        const char32_t meant = windows_for_control(c);
        if (!meant && !holes) return std::nullopt;
        if (meant) c = meant;
    }
    return text;
}

std::u32string fix_once(const std::u32string& text) {
    if (std::all_of(text.begin(), text.end(), [](char32_t c) { return c < 0x80; }) || !is_bad(text)) return text;
    bool latin1 = false;
    for (int p = 0; p < code_page_count; ++p) {
        const auto bytes = encode(text, CodePage(p));
        if (!bytes) continue;
        latin1 = latin1 || CodePage(p) == CodePage::latin1;
        if (auto fixed = decoded_again(*bytes, CodePage(p))) return *fixed;
    }
    if (auto fixed = fix_runs(text); fixed != text) return fixed;
    if (latin1)
        if (auto fixed = controls_as_windows(text, false)) return *fixed;
    return *controls_as_windows(text, true);
}

}  // namespace

std::u32string fix_encoding(std::u32string text) {
    for (;;) {
        std::u32string fixed = fix_once(text);
        if (fixed == text) return text;
        text = std::move(fixed);
    }
}

}  // namespace scvd
