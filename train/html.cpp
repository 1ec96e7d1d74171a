#include "train/html.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace scvd {
namespace {

constexpr std::size_t kOpenResults = 3;  // whose heat maps show without a click

const char* const kStyle = R"css(
:root{color-scheme:light dark;--bg:#f6f6f8;--card:#fff;--ink:#1b1b21;--soft:#666672;--line:#e2e2e9;--accent:#3b5bdb}
@media(prefers-color-scheme:dark){
:root{--bg:#131317;--card:#1d1d23;--ink:#ececf1;--soft:#a0a0ac;--line:#33333d;--accent:#8ea6ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:68rem;margin:0 auto;padding:2rem 1rem 4rem}
h1{font-size:1.5rem;line-height:1.3;margin:0 0 .8rem;overflow-wrap:anywhere}
.soft{color:var(--soft)}
.chips{display:flex;flex-wrap:wrap;gap:.4rem;margin:0 0 .6rem;padding:0;list-style:none}
.chips li{border:1px solid var(--line);border-radius:1rem;padding:.1rem .75rem;background:var(--card);
overflow-wrap:anywhere}
.chips .who{border-color:var(--accent);font-weight:600}
.chips .no{border-style:dashed;color:var(--soft)}
.hit{display:grid;grid-template-columns:8.5rem 1fr;gap:1.2rem;background:var(--card);border:1px solid var(--line);
border-radius:.8rem;padding:1rem;margin:1rem 0}
.hit>img{width:100%;border-radius:.4rem;display:block}
.hit>div{min-width:0}
h2{font-size:1.05rem;margin:0;font-variant-numeric:tabular-nums}
h2 b{display:inline-block;min-width:1.8rem;color:var(--accent)}
p{margin:.2rem 0}
code{font:.82rem ui-monospace,monospace;color:var(--soft);overflow-wrap:anywhere}
table{border-collapse:collapse;margin:.6rem 0;width:100%;max-width:36rem;font-size:.9rem;
font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:500;color:var(--soft);font-size:.8rem}
td,th{padding:.12rem .8rem .12rem 0;vertical-align:middle}td:first-child{overflow-wrap:anywhere}
.n{text-align:right}
.bar{width:30%;min-width:5rem}
.bar i{display:block;height:.45rem;border-radius:.25rem;background:var(--accent);min-width:2px}
details{margin-top:.5rem}
summary{cursor:pointer;color:var(--accent);font-size:.9rem}
.maps{display:grid;grid-template-columns:repeat(auto-fill,minmax(6.2rem,1fr));gap:.7rem;margin-top:.6rem}
figure{margin:0}
figure img{width:100%;border-radius:.3rem;display:block}
figcaption{font-size:.78rem;line-height:1.3;margin-top:.25rem;overflow-wrap:anywhere}
@media(max-width:34rem){.hit{grid-template-columns:1fr}.hit>img{width:8.5rem}}
)css";

std::string data_uri(const char* type, std::span<const std::uint8_t> bytes) {
    return fmt::format("data:{};base64,{}", type, base64(bytes));
}

std::string chip(const char* kind, std::string_view before, std::string_view text) {
    return fmt::format("<li{}>{}{}</li>\n", kind, before, html_escape(text));
}

std::string head(const SearchPage& page) {
    std::string h = fmt::format("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                                "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                                "<title>{0} - scvd search</title>\n<style>{1}</style>\n</head>\n<body>\n<main>\n"
                                "<h1>{0}</h1>\n<ul class=\"chips\">\n",
                                html_escape(page.query), kStyle);
    if (!page.person.empty()) h += chip(" class=\"who\"", "", page.person);
    for (const auto& p : page.phrases) h += chip("", "", p);
    for (const auto& p : page.absent) h += chip(" class=\"no\"", "absent: ", p);
    h += "</ul>\n";
    if (!page.note.empty()) h += fmt::format("<p class=\"soft\">{}</p>\n", html_escape(page.note));
    return h;
}

// Bars are relative to the heaviest phrase of the result: weights of many phrases are all small.
std::string phrase_table(const std::vector<PhraseView>& phrases) {
    float most = 0;
    for (const auto& p : phrases)
        if (std::isfinite(p.weight)) most = std::max(most, p.weight);
    std::string h = "<table><tr><th>phrase</th><th class=\"n\">its score</th><th class=\"n\">weight</th><th></th>"
                    "</tr>\n";
    for (const auto& p : phrases) {
        const float share = most > 0 && std::isfinite(p.weight) ? std::max(0.f, p.weight) / most : 0;
        h += fmt::format("<tr><td>{}</td><td class=\"n\">{:.3f}</td><td class=\"n\">{:.3f}</td>"
                         "<td class=\"bar\"><i style=\"width:{:.0f}%\"></i></td></tr>\n",
                         html_escape(p.text), p.score, p.weight, 100 * share);
    }
    return h + "</table>\n";
}

std::string heat_maps(const std::vector<PhraseView>& phrases, bool open) {
    std::string figures;
    for (const auto& p : phrases)
        if (!p.heat_png.empty())
            figures += fmt::format("<figure><img alt=\"where &quot;{0}&quot; was found\" src=\"{1}\">"
                                   "<figcaption>{0}</figcaption></figure>\n",
                                   html_escape(p.text), data_uri("image/png", p.heat_png));
    if (figures.empty()) return "";
    return fmt::format("<details{}><summary>Where each phrase looks</summary>\n"
                       "<div class=\"maps\">\n{}</div></details>\n",
                       open ? " open" : "", figures);
}

std::string result(const ResultView& r, std::size_t rank) {
    std::string h = fmt::format("<section class=\"hit\">\n<img alt=\"result {}\" src=\"{}\">\n<div>\n", rank,
                                r.jpeg.empty() ? "data:," : data_uri("image/jpeg", r.jpeg));
    h += fmt::format("<h2><b>{}</b> {:.3f}</h2>\n<p class=\"soft\">global {:.3f}, pair {:.3f}</p>\n"
                     "<p><code>{}</code></p>\n",
                     rank, r.score, r.global_score, r.pair_score, html_escape(r.path));
    if (!r.phrases.empty()) h += phrase_table(r.phrases) + heat_maps(r.phrases, rank <= kOpenResults);
    return h + "</div>\n</section>\n";
}

// The code point at the front of `s` and its length in bytes; length 0 when the bytes are no UTF-8 (overlong forms,
// surrogates and values above U+10FFFF included).
struct CodePoint {
    std::uint32_t value;
    std::size_t length;
};
CodePoint decode(std::string_view s) {
    const auto byte = [&](std::size_t i) { return std::uint32_t(static_cast<unsigned char>(s[i])); };
    const std::uint32_t lead = byte(0);
    if (lead < 0x80) return {lead, 1};
    const std::size_t n = lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    if (n == 0 || s.size() < n) return {0, 0};
    std::uint32_t v = lead & (0x7fu >> n);
    for (std::size_t i = 1; i < n; ++i) {
        if (byte(i) >> 6 != 2) return {0, 0};
        v = v << 6 | (byte(i) & 63);
    }
    const std::uint32_t least = n == 2 ? 0x80 : n == 3 ? 0x800 : 0x10000;
    if (v < least || v > 0x10ffff || (v >= 0xd800 && v < 0xe000)) return {0, 0};
    return {v, n};
}

bool unwanted(std::uint32_t v) {
    const bool control = (v < 32 && v != '\t' && v != '\n') || (v >= 127 && v < 160) || v == 0xfffe || v == 0xffff;
    const bool turns_text = (v >= 0x202a && v <= 0x202e) || (v >= 0x2066 && v <= 0x2069);
    return control || turns_text;
}

}  // namespace

std::string html_escape(std::string_view s) {
    std::string out;
    while (!s.empty()) {
        const CodePoint c = decode(s);
        if (c.length == 0 || unwanted(c.value)) out += "\xef\xbf\xbd";
        else if (c.value == '&') out += "&amp;";
        else if (c.value == '<') out += "&lt;";
        else if (c.value == '>') out += "&gt;";
        else if (c.value == '"') out += "&quot;";
        else if (c.value == '\'') out += "&#39;";
        else out += s.substr(0, c.length);
        s.remove_prefix(std::max<std::size_t>(1, c.length));
    }
    return out;
}

std::string base64(std::span<const std::uint8_t> b) {
    constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    out.reserve((b.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < b.size(); i += 3) {
        const std::size_t n = std::min<std::size_t>(3, b.size() - i);
        std::uint32_t v = 0;
        for (std::size_t k = 0; k < 3; ++k) v = v << 8 | (k < n ? b[i + k] : 0u);
        for (std::size_t k = 0; k < 4; ++k) out += k <= n ? digits[v >> (18 - 6 * k) & 63] : '=';
    }
    return out;
}

std::string render_search_page(const SearchPage& page) {
    std::string h = head(page);
    if (page.results.empty()) h += "<p>No results.</p>\n";
    for (std::size_t i = 0; i < page.results.size(); ++i) h += result(page.results[i], i + 1);
    return h + "</main>\n</body>\n</html>\n";
}

}  // namespace scvd
