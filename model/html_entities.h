#pragma once
// HTML 5 character references. The names are in html_entities.inc: NAME=HEX[,HEX] each; NAME!HEX where old pages may
// leave the semicolon out.
#include <string>
#include <string_view>

namespace scvd {

// What a browser does: "&amp;", the legacy "&amp", "&ampersand" -> "&ersand", "&#39;", "&#x27".
std::u32string unescape_html(std::u32string_view text);

// Only references that are complete ("&eacute;"), and their all-capitals misspelling ("&EACUTE;").
std::u32string unescape_strict(std::u32string_view text);

}  // namespace scvd
