#include "model/code_pages.h"

#include <algorithm>
#include <array>
#include <vector>

namespace scvd {
namespace {

constexpr char32_t upper_halves[][128] = {
#include "model/code_pages.inc"
};

struct Entry {
    char32_t character;
    unsigned char byte;
    bool operator<(const Entry& o) const { return character < o.character; }
};
using Table = std::vector<Entry>;  // of the bytes above ASCII, by character

Table make_table(CodePage page) {
    Table t;
    for (unsigned b = 0x80; b < 0x100; ++b) {
        const char32_t c = page == CodePage::latin1 ? b : upper_halves[int(page) - 1][b - 0x80];
        t.push_back({c ? c : char32_t(b), static_cast<unsigned char>(b)});
    }
    if (is_windows(page)) t.push_back({0xFFFD, 0x1A});
    std::sort(t.begin(), t.end());
    return t;
}

const Table& table(CodePage page) {
    static const auto all = [] {
        std::array<Table, code_page_count> tables;
        for (int p = 0; p < code_page_count; ++p) tables[std::size_t(p)] = make_table(CodePage(p));
        return tables;
    }();
    return all[std::size_t(page)];
}

}  // namespace

std::optional<std::string> encode(std::u32string_view text, CodePage page) {
    const Table& t = table(page);
    std::string bytes;
    for (const char32_t c : text) {
        if (c < 0x80 && !(c == 0x1A && is_windows(page))) {
            bytes += static_cast<char>(c);
            continue;
        }
        const auto at = std::lower_bound(t.begin(), t.end(), Entry{c, 0});
        if (at == t.end() || at->character != c) return std::nullopt;
        bytes += static_cast<char>(at->byte);
    }
    return bytes;
}

char32_t windows_for_control(char32_t c) { return upper_halves[int(CodePage::windows1252) - 1][c - 0x80]; }

}  // namespace scvd
