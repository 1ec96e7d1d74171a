#pragma once
// One-byte encodings that UTF-8 text gets decoded with by mistake.
#include <optional>
#include <string>
#include <string_view>

namespace scvd {

// In the order in which they are tried.
enum class CodePage { latin1, windows1252, windows1251, windows1250, windows1253, windows1254, windows1257, latin2, macroman, cp437 };
inline constexpr int code_page_count = 10;

// Windows' pages have holes. Their bytes stand for the code points of the same number, and byte 0x1A for U+FFFD: text that has
// lost characters can be encoded too.
constexpr bool is_windows(CodePage p) { return p >= CodePage::windows1252 && p <= CodePage::windows1257; }

// The bytes that the page decodes to `text`, or nothing when it cannot have been the page.
std::optional<std::string> encode(std::u32string_view text, CodePage page);

// What Windows-1252 has in place of a C1 control (U+0080 to U+009F), or 0 where it has a hole.
char32_t windows_for_control(char32_t c);

}  // namespace scvd
