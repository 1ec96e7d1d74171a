// What a run shows: heat maps, curves and the search page.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

#include "engine/error.h"
#include "train/curves.h"
#include "train/heatmap.h"
#include "train/html.h"

using namespace scvd;

namespace {

int count(const std::string& text, const std::string& what) {
    int n = 0;
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) ++n;
    return n;
}

// The tag whose '<' is at `at`: up to the '>' outside of quotes.
std::string tag_at(const std::string& page, std::size_t at) {
    bool quoted = false;
    for (std::size_t i = at + 1; i < page.size(); ++i) {
        if (page[i] == '"') quoted = !quoted;
        if (!quoted && page[i] == '<') break;
        if (!quoted && page[i] == '>') return page.substr(at + 1, i - at - 1);
    }
    return "";
}

// Every tag that opens closes, in order, but for the elements that never have content; no stray '<'.
::testing::AssertionResult well_formed(const std::string& page, const std::vector<std::string>& empty_elements) {
    std::vector<std::string> open;
    for (auto at = page.find('<'); at != std::string::npos; at = page.find('<', at)) {
        const std::string tag = tag_at(page, at);
        if (tag.empty()) return ::testing::AssertionFailure() << "stray < before " << page.substr(at, 40);
        at += tag.size() + 2;
        const std::string name = tag.substr(0, tag.find_first_of(" \n"));
        if (name == "!doctype" || tag.back() == '/') continue;
        if (std::count(empty_elements.begin(), empty_elements.end(), name)) continue;
        if (name[0] != '/') open.push_back(name);
        else if (open.empty() || "/" + open.back() != name) return ::testing::AssertionFailure() << "<" << name << ">";
        else open.pop_back();
    }
    if (!open.empty()) return ::testing::AssertionFailure() << "<" << open.back() << "> is left open";
    return ::testing::AssertionSuccess();
}

TEST(WellFormed, SeesMistakes) {
    EXPECT_TRUE(well_formed("<a b=\"<>\"><i/><img></a>", {"img"}));
    EXPECT_FALSE(well_formed("<a><b></a></b>", {}));
    EXPECT_FALSE(well_formed("<a>", {}));
    EXPECT_FALSE(well_formed("<a> 1 < 2 </a>", {}));
}

// ---- heat maps

double lightness(const std::array<float, 3>& rgb) {  // CIE L* under D65
    const double weights[] = {0.2126, 0.7152, 0.0722};
    double y = 0;
    for (std::size_t k = 0; k < 3; ++k) {
        const double c = rgb[k] / 255;
        y += weights[k] * (c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4));
    }
    return y > 216.0 / 24389 ? 116 * std::cbrt(y) - 16 : 24389.0 / 27 * y;
}

TEST(Heatmap, LightnessRisesEvenly) {
    const double from = lightness(heat_colour(0)), to = lightness(heat_colour(1));
    EXPECT_LT(from, 10);
    EXPECT_GT(to, 90);
    // Stops are rounded to whole levels: one level is at most 0.6 of L* (green in the dark). Between stops the sRGB
    // line bends away by less than a fifth of a step of 7.2.
    for (int i = 0; i <= 120; ++i)
        EXPECT_NEAR(lightness(heat_colour(float(i) / 120)), from + (to - from) * i / 120, 1.5) << i;
    EXPECT_EQ(heat_colour(-3), heat_colour(0));
    EXPECT_EQ(heat_colour(7), heat_colour(1));
}

TEST(Heatmap, FollowsTheFormula) {
    const std::vector<std::uint8_t> grey(2 * 2 * 3, 100);
    const float map[] = {-1, 3, 1, 1};
    const auto out = blend_heatmap(grey.data(), 2, 2, map, 2, 2, 0.6f);  // pixel centres are cell centres
    const float stretched[] = {0, 1, 0.5f, 0.5f};
    for (std::size_t p = 0; p < 4; ++p) {
        const auto c = heat_colour(stretched[p]);
        const float cover = 0.6f * (1 + 2 * stretched[p]) / 3;
        for (std::size_t k = 0; k < 3; ++k) EXPECT_NEAR(out[p * 3 + k], 100 + cover * (c[k] - 100), 0.501) << p;
    }
    EXPECT_EQ(blend_heatmap(grey.data(), 2, 2, map, 2, 2, 0), grey);
}

TEST(Heatmap, IsBilinearAndNotTransposed) {
    const std::vector<std::uint8_t> black(40 * 20 * 3, 0);  // h 40, w 20
    const float down[] = {0, 0, 1, 1, 2, 2};                // gh 3, gw 2: rises from top to bottom
    const auto out = blend_heatmap(black.data(), 20, 40, down, 3, 2, 1);
    const auto at = [&](int y, int x, std::size_t k) { return int(out[std::size_t(y * 20 + x) * 3 + k]); };
    for (int y = 0; y < 40; ++y)
        for (int x = 1; x < 20; ++x) EXPECT_EQ(at(y, x, 0), at(y, 0, 0));
    for (int y = 1; y < 40; ++y) EXPECT_GE(at(y, 0, 1) + at(y, 0, 0), at(y - 1, 0, 1) + at(y - 1, 0, 0));
    // Row y lies at cell (y + 0.5) * 3 / 40 - 0.5, held to 0..2; the map's value there is that number, halved.
    for (const int y : {0, 5, 12, 19, 30, 39}) {
        const float v = std::clamp((float(y) + 0.5f) * 3 / 40 - 0.5f, 0.f, 2.f) / 2;
        EXPECT_NEAR(at(y, 3, 0), heat_colour(v)[0] * (1 + 2 * v) / 3, 0.51) << y;
    }
}

TEST(Heatmap, OddMaps) {
    const std::vector<std::uint8_t> white(5 * 3 * 3, 255);
    const std::vector<float> flat(6, 0.25f), broken{0, NAN};
    const auto out = blend_heatmap(white.data(), 5, 3, flat.data(), 2, 3);
    for (std::size_t i = 3; i < out.size(); ++i) EXPECT_EQ(out[i], out[i % 3]);
    EXPECT_EQ(blend_heatmap(white.data(), 5, 3, flat.data(), 1, 1), out);
    EXPECT_THROW(blend_heatmap(white.data(), 5, 3, broken.data(), 1, 2), eng::Error);
    EXPECT_THROW(blend_heatmap(white.data(), 0, 3, flat.data(), 1, 1), eng::Error);
    EXPECT_THROW(blend_heatmap(white.data(), 5, 3, flat.data(), 1, 1, 1.5f), eng::Error);
}

// ---- curves

TEST(Curves, TicksAreRoundAndCover) {
    EXPECT_EQ(nice_ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
    const std::vector<std::pair<double, double>> ranges{{0, 640}, {-3.2, 0.001}, {1e-9, 3e-9},      {5, 5},
                                                        {0, 0},   {-7, -7},      {1e12, 1e12 + 10}};
    for (const auto& [lo, hi] : ranges) {
        const auto t = nice_ticks(lo, hi, 5);
        ASSERT_GE(t.size(), 2u);
        EXPECT_LE(t.size(), 9u);
        const double step = t[1] - t[0], digits = step / std::pow(10, std::floor(std::log10(step) + 1e-6));
        EXPECT_LE(t.front(), lo + 1e-6 * step);
        EXPECT_GE(t.back(), hi - 1e-6 * step);
        EXPECT_LT(std::min({std::fabs(digits - 1), std::fabs(digits - 2), std::fabs(digits - 5)}), 1e-3) << step;
    }
    EXPECT_THROW(nice_ticks(0, INFINITY, 5), eng::Error);
    EXPECT_THROW(nice_ticks(2, 1, 5), eng::Error);
}

TEST(Curves, DrawsEverySeriesOnItsScale) {
    const Series loss{"loss", {0, 5, 10}, {0, 5, 10}};
    const Series r1{"R@1", {0, 10}, {0.2, 0.4}, "rate"}, map{"mAP", {10}, {0.3}, "rate"};
    const std::string svg = line_chart_svg("Loss & <rates>", "update", {loss, r1, map});
    EXPECT_TRUE(well_formed(svg, {}));
    EXPECT_EQ(svg.rfind("<svg xmlns=\"http://www.w3.org/2000/svg\"", 0), 0u);
    EXPECT_EQ(count(svg, "<polyline"), 2);
    EXPECT_EQ(count(svg, "<circle"), 1) << "a single value shows as a dot";
    EXPECT_NE(svg.find("Loss &amp; &lt;rates&gt;"), std::string::npos);
    EXPECT_NE(svg.find("prefers-color-scheme:dark"), std::string::npos);
    for (const char* label : {">loss<", ">R@1<", ">mAP<", ">rate:<", ">update<"})
        EXPECT_NE(svg.find(label), std::string::npos) << label;
    // 0..10 fills the first panel from corner to corner: its points are the ends and the middle of the frame.
    double x[3], y[3];
    const auto points = svg.find("points=\"");
    ASSERT_NE(points, std::string::npos);
    const char* form = "points=\"%lf,%lf %lf,%lf %lf,%lf\"";
    ASSERT_EQ(std::sscanf(svg.c_str() + points, form, x, y, x + 1, y + 1, x + 2, y + 2), 6);
    EXPECT_NEAR(x[1], (x[0] + x[2]) / 2, 0.11);  // written to a tenth of a pixel
    EXPECT_NEAR(y[1], (y[0] + y[2]) / 2, 0.11);
    EXPECT_LT(y[2], y[0]) << "larger values are higher up";
}

TEST(Curves, GapsAndNothing) {
    const std::string svg = line_chart_svg("t", "x", {{"a", {0, 1, 2, 3, 4}, {1, 2, NAN, 3, INFINITY}}});
    EXPECT_EQ(count(svg, "<polyline"), 1);
    EXPECT_EQ(count(svg, "<circle"), 1);
    EXPECT_EQ(svg.find("nan"), std::string::npos);
    EXPECT_EQ(svg.find("inf"), std::string::npos);
    EXPECT_TRUE(well_formed(line_chart_svg("t", "x", {}), {}));
    EXPECT_TRUE(well_formed(line_chart_svg("t", "x", {{"none", {}, {}}}), {}));
    EXPECT_THROW(line_chart_svg("t", "x", {{"a", {0, 1}, {1}}}), eng::Error);
}

// ---- the search page

TEST(Html, Base64HasItsPublishedValues) {  // RFC 4648, section 10
    const std::vector<std::pair<std::string, std::string>> known{
        {"", ""},           {"f", "Zg=="},         {"fo", "Zm8="},        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
    for (const auto& [plain, coded] : known)
        EXPECT_EQ(base64(std::vector<std::uint8_t>(plain.begin(), plain.end())), coded);
    EXPECT_EQ(base64(std::vector<std::uint8_t>{0xfb, 0xff, 0xfe}), "+//+");
}

TEST(Html, EscapesWhatCouldHarm) {
    const std::string bad = "\xef\xbf\xbd";
    EXPECT_EQ(html_escape("<a href=\"x\" b='y'>&amp;"), "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;amp;");
    const std::string fine = "caf\xc3\xa9 \xe6\xbc\xa2 \xf0\x9f\x91\x95\t\n";
    EXPECT_EQ(html_escape(fine), fine);
    EXPECT_EQ(html_escape(std::string_view("a\0b\x1b\x7f", 5)), "a" + bad + "b" + bad + bad);
    EXPECT_EQ(html_escape("\xff"), bad);
    EXPECT_EQ(html_escape("\xe6\xbc"), bad + bad) << "cut short at the end";
    EXPECT_EQ(html_escape("\xe6<"), bad + "&lt;") << "a broken sequence must not swallow the next character";
    EXPECT_EQ(html_escape("\xc0\xbc"), bad + bad) << "an overlong <";
    EXPECT_EQ(html_escape("\xed\xa0\x80"), bad + bad + bad) << "a surrogate";
    EXPECT_EQ(html_escape("\xe2\x80\xaegnp.exe"), bad + "gnp.exe") << "reversed reading";
}

SearchPage a_page(const std::string& text) {
    SearchPage p;
    p.query = text, p.person = text, p.note = text, p.phrases = {text, "blue jeans"}, p.absent = {text};
    for (int i = 0; i < 5; ++i) {
        ResultView r{text, {0xff, 0xd8, 1, 2}, 0.9f, 0.8f, 0.7f, {}};
        r.phrases = {{text, 0.4f, 0.5f, {0x89, 'P', 'N', 'G'}}, {"blue jeans", 0.1f, NAN, {0x89, 'P'}}};
        p.results.push_back(r);
    }
    return p;
}
const std::vector<std::string> kVoid{"meta", "img"};

TEST(Html, PageHoldsEverythingAndNeedsNothing) {
    const std::string h = render_search_page(a_page("a man in red"));
    EXPECT_TRUE(well_formed(h, kVoid));
    EXPECT_EQ(count(h, "<section"), 5);
    EXPECT_EQ(count(h, "src=\"data:image/jpeg;base64,/9gBAg==\""), 5);
    EXPECT_EQ(count(h, "src=\"data:image/png;base64,iVBORw==\""), 5);
    EXPECT_EQ(count(h, "src="), 5 + 10);
    EXPECT_EQ(count(h, "<details"), 5);
    EXPECT_EQ(count(h, "<details open"), 3);
    EXPECT_EQ(count(h, "width:100%\"></i>"), 5) << "the heaviest phrase has the full bar";
    EXPECT_EQ(count(h, "width:25%\"></i>"), 5);
    EXPECT_EQ(count(h, "<script"), 0);
    EXPECT_EQ(count(h, "http"), 0) << "nothing is fetched from anywhere";
    EXPECT_NE(h.find("absent: a man in red"), std::string::npos);
    EXPECT_NE(h.find("0.900"), std::string::npos);
    EXPECT_NE(h.find("global 0.800, pair 0.700"), std::string::npos);
}

TEST(Html, HostileTextStaysText) {
    const std::string hostile = "\"><script>alert('x')</script><img src=x onerror=alert(1)></style></title>\xff{}{0}";
    const std::string h = render_search_page(a_page(hostile));
    EXPECT_TRUE(well_formed(h, kVoid));
    EXPECT_EQ(count(h, "<script"), 0);
    EXPECT_EQ(count(h, "<img"), 15);
    EXPECT_EQ(count(h, "</style"), 1);
    EXPECT_EQ(count(h, "\xff"), 0);
    EXPECT_GT(count(h, "{}{0}"), 10) << "braces are text";
}

TEST(Html, SmallPages) {
    EXPECT_NE(render_search_page({}).find("No results."), std::string::npos);
    SearchPage p = a_page("x");
    for (auto& r : p.results) r.phrases.clear(), r.jpeg.clear();
    const std::string h = render_search_page(p);
    EXPECT_TRUE(well_formed(h, kVoid));
    EXPECT_EQ(count(h, "<details"), 0);
    p.results.resize(1);
    p.results[0].phrases = {{"none", 0, 0, {}}, {"odd", -1, 0, {}}, {"broken", NAN, 0, {}}};
    EXPECT_EQ(count(render_search_page(p), "width:0%"), 3);
}

}  // namespace
