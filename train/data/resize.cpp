#include "train/data/resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/error.h"

namespace scvd {
namespace {

// Weights are fixed-point: 8 bits of pixel, 2 bits of room for the cubic's overshoot, the rest of an int for the
// fraction.
constexpr int fraction_bits = 32 - 8 - 2;
constexpr int half = 1 << (fraction_bits - 1);

// Pillow is built without fused multiply-add; fusing here would move some weights by one unit, and pixels with them.
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif

double triangle(double x) { return std::max(0.0, 1.0 - std::abs(x)); }

double cubic(double x) {
    constexpr double a = -0.5;
    x = std::abs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

// For every output position along one axis: the first input position and `taps` weights (zero padded).
struct Weights {
    int taps = 0;
    std::vector<int> first;
    std::vector<int> count;
    std::vector<int> weight;  // [output][taps]
};

// Downscaling stretches the filter over all the input that an output pixel covers (that is the antialiasing);
// upscaling keeps it at its natural width. At the borders the window is cut and the weights normalised again.
Weights make_weights(int in, int out, Filter filter) {
    const double scale = static_cast<double>(in) / out, stretch = std::max(scale, 1.0);
    const double support = (filter == Filter::bilinear ? 1.0 : 2.0) * stretch, inverse = 1.0 / stretch;
    const auto kernel = filter == Filter::bilinear ? triangle : cubic;
    Weights w;
    w.taps = static_cast<int>(std::ceil(support)) * 2 + 1;
    w.first.resize(out);
    w.count.resize(out);
    w.weight.assign(static_cast<size_t>(out) * w.taps, 0);
    std::vector<double> exact(w.taps);
    for (int i = 0; i < out; ++i) {
        const double center = (i + 0.5) * scale;
        const int first = std::max(0, static_cast<int>(center - support + 0.5));
        const int count = std::min(in, static_cast<int>(center + support + 0.5)) - first;
        double sum = 0.0;
        for (int t = 0; t < count; ++t) sum += exact[t] = kernel((t + first - center + 0.5) * inverse);
        for (int t = 0; t < count; ++t) {
            const double value = (sum != 0.0 ? exact[t] / sum : exact[t]) * (1 << fraction_bits);
            w.weight[static_cast<size_t>(i) * w.taps + t] = static_cast<int>(value < 0 ? value - 0.5 : value + 0.5);
        }
        w.first[i] = first;
        w.count[i] = count;
    }
    return w;
}

#ifndef __clang__
#pragma GCC pop_options
#endif

uint8_t to_byte(int sum) { return static_cast<uint8_t>(std::clamp(sum >> fraction_bits, 0, 255)); }

void horizontal(const uint8_t* in, int in_width, int rows, uint8_t* out, int out_width, const Weights& w) {
    for (int y = 0; y < rows; ++y, in += in_width * 3) {
        for (int x = 0; x < out_width; ++x, out += 3) {
            const int* weight = &w.weight[static_cast<size_t>(x) * w.taps];
            const uint8_t* pixel = in + w.first[x] * 3;
            int r = half, g = half, b = half;
            for (int t = 0; t < w.count[x]; ++t, pixel += 3) {
                r += pixel[0] * weight[t];
                g += pixel[1] * weight[t];
                b += pixel[2] * weight[t];
            }
            out[0] = to_byte(r);
            out[1] = to_byte(g);
            out[2] = to_byte(b);
        }
    }
}

// A whole row at a time, so that the compiler vectorises over the row.
void vertical(const uint8_t* in, int row_bytes, uint8_t* out, int out_height, const Weights& w) {
    std::vector<int> sum(row_bytes);
    for (int y = 0; y < out_height; ++y, out += row_bytes) {
        std::fill(sum.begin(), sum.end(), half);
        for (int t = 0; t < w.count[y]; ++t) {
            const uint8_t* row = in + static_cast<size_t>(w.first[y] + t) * row_bytes;
            const int weight = w.weight[static_cast<size_t>(y) * w.taps + t];
            for (int i = 0; i < row_bytes; ++i) sum[i] += row[i] * weight;
        }
        for (int i = 0; i < row_bytes; ++i) out[i] = to_byte(sum[i]);
    }
}

}  // namespace

void resize(std::span<const uint8_t> in, int in_width, int in_height, std::span<uint8_t> out, int out_width,
            int out_height, Filter filter) {
    ENG_CHECK(in_width > 0 && in_height > 0 && out_width > 0 && out_height > 0, "resize", "from ", in_width, "x",
              in_height, " to ", out_width, "x", out_height, ": every side must be at least 1");
    ENG_CHECK(in.size() == size_t(3) * in_width * in_height && out.size() == size_t(3) * out_width * out_height,
              "resize", "buffers of ", in.size(), " and ", out.size(), " bytes do not hold RGB of ", in_width, "x",
              in_height, " and ", out_width, "x", out_height);
    // Two passes with 8-bit rounding in between; an axis that keeps its size is not filtered at all.
    std::vector<uint8_t> narrowed;
    if (in_width != out_width) {
        const bool last = in_height == out_height;
        narrowed.resize(last ? 0 : size_t(3) * out_width * in_height);
        horizontal(in.data(), in_width, in_height, last ? out.data() : narrowed.data(), out_width,
                   make_weights(in_width, out_width, filter));
        if (last) return;
        in = narrowed;
    }
    if (in_height != out_height)
        vertical(in.data(), out_width * 3, out.data(), out_height, make_weights(in_height, out_height, filter));
    else
        std::copy(in.begin(), in.end(), out.begin());
}

Image resize(const Image& image, int width, int height, Filter filter) {
    Image out{width, height, std::vector<uint8_t>(size_t(3) * std::max(width, 0) * std::max(height, 0))};
    resize(image.rgb, image.width, image.height, out.rgb, width, height, filter);
    return out;
}

}  // namespace scvd
