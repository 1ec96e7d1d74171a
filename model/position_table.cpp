#include "model/position_table.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"

namespace scvd {
namespace {

// One output position along an axis: input first + k has weight weights[k].
struct Taps {
    int first = 0;
    std::vector<float> weights;
};

// Two neighbours, without regard to how many inputs an output covers. float throughout, as PyTorch computes it.
Taps bilinear_taps(int i, int in, int out) {
    const float scale = float(in) / float(out), at = std::max(0.f, scale * (float(i) + 0.5f) - 0.5f);
    const int first = std::min(int(at), in - 1);
    const float right = at - float(first);
    return first + 1 < in ? Taps{first, {1 - right, right}} : Taps{first, {1}};
}

double keys_cubic(double x) {  // a = -0.5
    x = std::fabs(x);
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

// Keys' cubic, stretched over all inputs that an output covers.
Taps antialias_taps(int i, int in, int out) {
    const double scale = double(in) / out, stretch = std::max(scale, 1.0), support = 2 * stretch, centre = scale * (i + 0.5);
    const int first = std::max(0, int(centre - support + 0.5)), last = std::min(in, int(centre + support + 0.5));
    std::vector<double> w;
    double sum = 0;
    for (int k = first; k < last; ++k) w.push_back(keys_cubic((k - centre + 0.5) / stretch)), sum += w.back();
    Taps t{first, {}};
    for (const double v : w) t.weights.push_back(float(v / sum));
    return t;
}

// Applies the taps along one axis of [outer, in, inner].
std::vector<float> along(const std::vector<float>& x, int outer, int in, int inner, int out, PositionResize how) {
    std::vector<float> y(std::size_t(outer) * out * inner, 0.f);
    for (int i = 0; i < out; ++i) {
        const Taps t = how == PositionResize::bilinear ? bilinear_taps(i, in, out) : antialias_taps(i, in, out);
        for (int o = 0; o < outer; ++o)
            for (std::size_t k = 0; k < t.weights.size(); ++k) {
                const float* from = x.data() + (std::size_t(o) * in + t.first + k) * inner;
                float* to = y.data() + (std::size_t(o) * out + i) * inner;
                for (int c = 0; c < inner; ++c) to[c] += t.weights[k] * from[c];
            }
    }
    return y;
}

}  // namespace

std::vector<float> resize_positions(const std::vector<float>& table, Grid from, Grid to, int dim, PositionResize how) {
    ENG_CHECK(table.size() == std::size_t(from.rows()) * dim && to.height > 0 && to.width > 0, "positions", table.size(), " values do not make ",
              from.height, "x", from.width, "+1 rows of ", dim);
    if (from == to) return table;
    const std::vector<float> patches(table.begin() + dim, table.end());
    const auto wide = along(patches, from.height, from.width, dim, to.width, how);           // width first
    const auto resized = along(wide, 1, from.height, to.width * dim, to.height, how);
    std::vector<float> result(table.begin(), table.begin() + dim);
    result.insert(result.end(), resized.begin(), resized.end());
    return result;
}

}  // namespace scvd
