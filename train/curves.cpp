#include "train/curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/error.h"
#include "train/html.h"

namespace scvd {
namespace {

constexpr double kWidth = 760, kPanel = 210, kLeft = 64, kRight = 24, kTop = 44, kBottom = 48, kGap = 34;
constexpr int kColours = 6;

// Hues that keep apart under the common kinds of colour blindness; lighter on dark paper.
const char* const kCurveStyle = R"css(<style>
svg{--paper:#fff;--ink:#1c1c22;--soft:#6b6b76;--grid:#e6e6ec;
--c0:#2f6db5;--c1:#d1495b;--c2:#2a8c5a;--c3:#b07a00;--c4:#7d4fb3;--c5:#0a8ea0}
@media(prefers-color-scheme:dark){svg{--paper:#17171b;--ink:#ececf1;--soft:#a2a2ae;--grid:#2d2d35;
--c0:#79aef0;--c1:#ff8896;--c2:#64cf98;--c3:#e6b450;--c4:#bb95ee;--c5:#58cbdc}}
text{font:12px system-ui,sans-serif;fill:var(--soft)}
.title{font-size:16px;font-weight:600;fill:var(--ink)}.name{fill:var(--ink)}
.grid{stroke:var(--grid)}.line{fill:none;stroke-width:1.8;stroke-linejoin:round}
</style>
)css";

struct Range {
    double lo = std::numeric_limits<double>::infinity(), hi = -lo;
    void add(double v) {
        if (std::isfinite(v)) lo = std::min(lo, v), hi = std::max(hi, v);
    }
    bool empty() const { return !(lo <= hi); }
};

struct Panel {
    std::string axis;
    std::vector<std::size_t> series;
};

// Value -> pixel along one axis; ticks say where the scale begins and ends.
struct Scale {
    std::vector<double> ticks;
    double from, to;
    double operator()(double v) const {
        return from + (to - from) * (v - ticks.front()) / (ticks.back() - ticks.front());
    }
};
Scale scale_over(Range r, int count, double from, double to) {
    if (r.empty()) r.lo = 0, r.hi = 1;
    return {nice_ticks(r.lo, r.hi, count), from, to};
}

std::string tick_label(double v, double step) {
    if (v != 0 && (std::fabs(v) >= 1e6 || step < 1e-5)) return fmt::format("{:.3g}", v);
    const int digits = std::max(0, int(std::ceil(-std::log10(step) - 1e-9)));
    return fmt::format("{:.{}f}", v == 0 ? 0.0 : v, digits);
}

std::vector<Panel> panels_of(const std::vector<Series>& all) {
    std::vector<Panel> panels;
    for (std::size_t i = 0; i < all.size(); ++i) {
        const auto same = [&](const Panel& p) { return !all[i].axis.empty() && p.axis == all[i].axis; };
        const auto found = std::find_if(panels.begin(), panels.end(), same);
        if (found != panels.end()) found->series.push_back(i);
        else panels.push_back({all[i].axis, {i}});
    }
    if (panels.empty()) panels.push_back({});
    return panels;
}

std::string draw_line(const Series& s, std::size_t number, const Scale& x, const Scale& y) {
    const std::string colour = fmt::format("var(--c{})", number % kColours);
    std::string svg, points;
    std::size_t run = 0;
    double cx = 0, cy = 0;
    const auto finish = [&] {  // a lone point would be invisible as a line
        if (run == 1) svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n", cx, cy, colour);
        if (run > 1) svg += fmt::format("<polyline class=\"line\" stroke=\"{}\" points=\"{}\"/>\n", colour, points);
        points.clear(), run = 0;
    };
    for (std::size_t i = 0; i < s.xs.size(); ++i) {
        if (!std::isfinite(s.xs[i]) || !std::isfinite(s.ys[i])) {
            finish();
            continue;
        }
        cx = x(s.xs[i]), cy = y(s.ys[i]);
        points += fmt::format("{}{:.1f},{:.1f}", run++ ? " " : "", cx, cy);
    }
    finish();
    return svg;
}

std::string draw_legend(const Panel& p, const std::vector<Series>& all, double top) {
    std::string svg;
    double x = kLeft;
    const auto put = [&](const std::string& name) {
        svg += fmt::format("<text class=\"name\" x=\"{:.0f}\" y=\"{:.0f}\">{}</text>\n", x, top - 8, html_escape(name));
        x += 7.0 * double(name.size()) + 18;  // about the width of the letters
    };
    if (!p.axis.empty()) put(p.axis + ":");
    for (const std::size_t i : p.series) {
        svg += fmt::format("<rect x=\"{:.0f}\" y=\"{:.0f}\" width=\"14\" height=\"4\" rx=\"2\" "
                           "fill=\"var(--c{})\"/>\n", x, top - 14, i % kColours);
        x += 19;
        put(all[i].name);
    }
    return svg;
}

std::string draw_panel(const Panel& p, const std::vector<Series>& all, const Scale& x, double top) {
    Range range;
    for (const std::size_t i : p.series)
        for (const double v : all[i].ys) range.add(v);
    const double bottom = top + kPanel;
    const Scale y = scale_over(range, 5, bottom, top);
    std::string svg;
    for (const double t : y.ticks)
        svg += fmt::format("<line class=\"grid\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
                           "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
                           x.from, x.to, y(t), y(t), x.from - 8, y(t) + 4, tick_label(t, y.ticks[1] - y.ticks[0]));
    for (const double t : x.ticks)
        svg += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>\n", x(t),
                           top, bottom);
    for (const std::size_t i : p.series) svg += draw_line(all[i], i, x, y);
    return svg + draw_legend(p, all, top);
}

}  // namespace

std::vector<double> nice_ticks(double lo, double hi, int count) {
    ENG_CHECK(std::isfinite(hi - lo) && lo <= hi && count > 0, "curves", "ticks for ", lo, "..", hi);
    // A constant gets room around it, and one too large for its own digits gets enough to be told apart.
    const double least = std::max(std::fabs(lo), std::fabs(hi)) * 1e-12;
    if (hi - lo <= least) {
        const double room = lo == 0 ? 1 : std::fabs(lo) * 0.5;
        lo -= room, hi += room;
    }
    const double rough = (hi - lo) / count, power = std::pow(10.0, std::floor(std::log10(rough)));
    const double part = rough / power, step = power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
    const double first = std::floor(lo / step + 1e-9), last = std::ceil(hi / step - 1e-9);
    std::vector<double> ticks;
    for (double k = first; k <= last; ++k) ticks.push_back(k * step);
    return ticks;
}

std::string line_chart_svg(const std::string& title, const std::string& x_label, const std::vector<Series>& all) {
    Range range;
    for (const Series& s : all) {
        ENG_CHECK(s.xs.size() == s.ys.size(), "curves", "series \"", s.name, "\" has ", s.xs.size(), " xs and ",
                  s.ys.size(), " ys");
        for (const double v : s.xs) range.add(v);
    }
    const std::vector<Panel> panels = panels_of(all);
    const Scale x = scale_over(range, 8, kLeft, kWidth - kRight);
    const double count = double(panels.size()), first = kTop + 26;
    const double bottom = first + count * kPanel + (count - 1) * kGap, height = bottom + kBottom;
    std::string svg = fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1:.0f}\" "
                                  "width=\"{0}\" height=\"{1:.0f}\" role=\"img\">\n<title>{2}</title>\n{3}",
                                  kWidth, height, html_escape(title), kCurveStyle);
    svg += fmt::format("<rect width=\"100%\" height=\"100%\" fill=\"var(--paper)\"/>\n"
                       "<text class=\"title\" x=\"{}\" y=\"28\">{}</text>\n", kLeft, html_escape(title));
    for (std::size_t i = 0; i < panels.size(); ++i)
        svg += draw_panel(panels[i], all, x, first + double(i) * (kPanel + kGap));
    for (const double t : x.ticks)
        svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", x(t), bottom + 18,
                           tick_label(t, x.ticks[1] - x.ticks[0]));
    return svg + fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n</svg>\n",
                             (x.from + x.to) / 2, bottom + 38, html_escape(x_label));
}

}  // namespace scvd
