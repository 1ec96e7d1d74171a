#pragma once
// Text cleaning before the byte-pair tokenizer, as CLIP was trained: repair of well-formed but untidy Unicode,
// HTML entities, white space, lower case.
//
// Text decoded with the wrong code page is decoded again (model/mojibake.h); typographic quotes -> straight, Latin
// ligatures, full- and half-width forms, C1 controls as Windows-1252, control characters, terminal escapes, line
// breaks, NFC; every named entity of HTML 5 and every numeric one, twice; runs of white space -> one blank; Unicode
// lower case (with final sigma). Characters are what utf8proc's version of Unicode says they are.
#include <string>
#include <string_view>
#include <vector>

namespace scvd {

// UTF-8 -> code points. Throws eng::Error that names the byte offset of the first ill-formed sequence.
std::u32string decode_utf8(std::string_view utf8);

void append_utf8(std::string& out, char32_t c);

// The whole cleaning; the result is lower case, with single blanks and none at the ends.
std::u32string clean_text(std::string_view utf8);

}  // namespace scvd
