#pragma once
// Line charts as self-contained SVG that follows the reader's light or dark scheme.
#include <string>
#include <vector>

namespace scvd {

struct Series {
    std::string name;
    std::vector<double> xs, ys;  // as many of each; a point that is not finite breaks the line
    std::string axis{};          // series of one axis share a panel and its scale; none: a panel of its own
};

// One panel per axis, stacked over a common x axis: a loss and a rate each keep a scale of their own, and no scale is
// hidden. Round ticks, a legend, names escaped. Errors when a series has more xs than ys or the reverse.
std::string line_chart_svg(const std::string& title, const std::string& x_label, const std::vector<Series>&);

// Ticks at 1, 2 or 5 times a power of ten, about `count` of them, the first and last at or outside of lo and hi.
std::vector<double> nice_ticks(double lo, double hi, int count);

}  // namespace scvd
