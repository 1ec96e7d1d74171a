#pragma once
// The search page: one self-contained file, no JavaScript, pictures as data URIs, readable in light and dark.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace scvd {

struct PhraseView {
    std::string text;
    float weight = 0, score = 0;         // DFA's weight in this pair; pair score of the phrase alone
    std::vector<std::uint8_t> heat_png;  // may be empty: no picture
};
struct ResultView {
    std::string path;
    std::vector<std::uint8_t> jpeg;
    float score = 0, global_score = 0, pair_score = 0;
    std::vector<PhraseView> phrases;
};
struct SearchPage {
    std::string query, person;
    std::vector<std::string> phrases, absent;  // what the description names, and what it says is not there
    std::vector<ResultView> results;           // best first
    std::string note;
};

std::string render_search_page(const SearchPage&);

// Text for element content and quoted attributes, of HTML or SVG. Bytes that are not UTF-8 (file names may hold any)
// and control characters other than tab and new line become U+FFFD; so do code points that reverse the reading
// direction.
std::string html_escape(std::string_view);
std::string base64(std::span<const std::uint8_t>);

}  // namespace scvd
