#include "train/synth/canvas.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "train/synth/figure.h"

namespace scvd::synth {

using Step = Path::Step;

Path open_line(const std::vector<Point>& p) {
    Path out;
    for (std::size_t i = 0; i < p.size(); ++i) out.steps.push_back({i ? Step::line : Step::move, p[i], {}, {}});
    return out;
}

Path polygon(const std::vector<Point>& p) {
    Path out = open_line(p);
    out.steps.push_back({Step::close, {}, {}, {}});
    return out;
}

Path smooth(const std::vector<Point>& p) {
    // A quadratic spline through the midpoints of the edges, each piece raised to a cubic.
    Path out;
    const std::size_t n = p.size();
    Point from = between(p[n - 1], p[0], 0.5);
    out.steps.push_back({Step::move, from, {}, {}});
    for (std::size_t i = 0; i < n; ++i) {
        const Point to = between(p[i], p[(i + 1) % n], 0.5);
        out.steps.push_back({Step::curve, between(from, p[i], 0.66), between(to, p[i], 0.66), to});
        from = to;
    }
    out.steps.push_back({Step::close, {}, {}, {}});
    return out;
}

Path ellipse(Point c, double rx, double ry) {
    const double k = 0.5523, x = rx * k, y = ry * k;
    const auto at = [&](double dx, double dy) { return Point{c.x + dx, c.y + dy}; };
    Path out;
    out.steps = {{Step::move, at(rx, 0), {}, {}},
                 {Step::curve, at(rx, y), at(x, ry), at(0, ry)},
                 {Step::curve, at(-x, ry), at(-rx, y), at(-rx, 0)},
                 {Step::curve, at(-rx, -y), at(-x, -ry), at(0, -ry)},
                 {Step::curve, at(x, -ry), at(rx, -y), at(rx, 0)},
                 {Step::close, {}, {}, {}}};
    return out;
}

Path box(double x, double y, double w, double h) { return polygon({{x, y}, {x + w, y}, {x + w, y + h}, {x, y + h}}); }

Path limb(Point a, double ra, Point b, double rb) {
    // All three pieces turn the same way, so that the non-zero rule unites them.
    const double length = std::max(1e-3, std::sqrt((b.x - a.x) * (b.x - a.x) + (b.y - a.y) * (b.y - a.y)));
    const Point n{(b.y - a.y) / length, -(b.x - a.x) / length};
    Path out = polygon({a + n * ra, b + n * rb, b + n * -rb, a + n * -ra});
    return out.add(ellipse(a, ra, ra)).add(ellipse(b, rb, rb));
}

Canvas::Canvas(int width, int height)
    : width_(width),
      height_(height),
      colour_surface_(cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height)),
      part_surface_(cairo_image_surface_create(CAIRO_FORMAT_A8, width, height)),
      colour_(cairo_create(colour_surface_)),
      part_(cairo_create(part_surface_)) {
    cairo_set_antialias(part_, CAIRO_ANTIALIAS_NONE);
    cairo_set_operator(part_, CAIRO_OPERATOR_SOURCE);
    cairo_set_line_cap(colour_, CAIRO_LINE_CAP_ROUND);
    cairo_set_line_cap(part_, CAIRO_LINE_CAP_ROUND);
}

Canvas::~Canvas() {
    cairo_destroy(colour_), cairo_destroy(part_);
    cairo_surface_destroy(colour_surface_), cairo_surface_destroy(part_surface_);
}

void Canvas::map(double scale, Point origin, bool mirror) { scale_ = scale, origin_ = origin, sign_ = mirror ? -1 : 1; }

Point Canvas::place(Point p) const {
    // Snapped to 1/16 pixel: the last bits of the geometry (libm, fused operations) must not reach the picture.
    const auto snap = [](double v) { return std::floor(v * 16 + 0.5) / 16; };
    return {snap(origin_.x + sign_ * p.x * scale_), snap(origin_.y + p.y * scale_)};
}

void Canvas::trace(cairo_t* to, const Path& path) const {
    cairo_new_path(to);
    for (const Step& s : path.steps) {
        const Point a = place(s.a), b = place(s.b), c = place(s.c);
        if (s.kind == Step::move) cairo_move_to(to, a.x, a.y);
        if (s.kind == Step::line) cairo_line_to(to, a.x, a.y);
        if (s.kind == Step::curve) cairo_curve_to(to, a.x, a.y, b.x, b.y, c.x, c.y);
        if (s.kind == Step::close) cairo_close_path(to);
    }
}

namespace {
void source(cairo_t* to, Rgb c, double alpha = 1) {
    cairo_set_source_rgba(to, c.r / 255.0, c.g / 255.0, c.b / 255.0, alpha);
}
}  // namespace

void Canvas::fill(const Path& path, const Paint& paint, int part, double alpha) {
    trace(colour_, path);
    source(colour_, paint.base, alpha);
    if (paint.pattern || paint.volume) {
        cairo_fill_preserve(colour_);
        cairo_save(colour_);
        cairo_clip(colour_);
        if (paint.pattern) pattern(paint);
        if (paint.volume) volume();
        cairo_restore(colour_);
    } else {
        cairo_fill(colour_);
    }
    if (part < 0) return;  // shadows and the like belong to whatever is under them
    trace(part_, path);
    cairo_set_source_rgba(part_, 0, 0, 0, part / 255.0);
    cairo_fill(part_);
}

void Canvas::stroke(const Path& path, double width, Rgb c, int part) {
    const double pixels = std::floor(std::max(1.0, width * scale_) * 16 + 0.5) / 16;
    trace(colour_, path);
    source(colour_, c);
    cairo_set_line_width(colour_, pixels);
    cairo_stroke(colour_);
    if (part < 0) return;
    trace(part_, path);
    cairo_set_source_rgba(part_, 0, 0, 0, part / 255.0);
    cairo_set_line_width(part_, pixels);
    cairo_stroke(part_);
}

// In unit coordinates of the body, inside the current clip. Periods of 6 units stay visible at 96 pixels of height.
void Canvas::pattern(const Paint& paint) {
    const Thing t = thing(paint.pattern);
    const Rgb second = colour(t.colour).rgb;
    Path lines;
    if (t.kind == striped || t.kind == plaid)
        for (double y = 14; y < 90; y += 6) lines.add(box(-30, y, 60, t.kind == plaid ? 2.2 : 3));
    if (t.kind == plaid)
        for (double x = -30; x < 30; x += 6) lines.add(box(x - 1.1, 10, 2.2, 80));
    if (t.kind == dotted)
        for (int row = 0; row < 14; ++row)
            for (int i = -5; i <= 5; ++i) lines.add(ellipse({i * 5.6 + (row % 2) * 2.8, 16 + row * 4.6}, 1.5, 1.5));
    if (t.kind == logo) lines.add(box(-5, 24, 10, 8));
    trace(colour_, lines);
    source(colour_, second, t.kind == plaid ? 0.85 : 1);
    cairo_fill(colour_);
}

void Canvas::volume() {
    double x0, y0, x1, y1;
    cairo_clip_extents(colour_, &x0, &y0, &x1, &y1);
    cairo_pattern_t* g = cairo_pattern_create_linear(x0, 0, x1, 0);
    cairo_pattern_add_color_stop_rgba(g, 0, 0, 0, 0, 0.26);
    cairo_pattern_add_color_stop_rgba(g, 0.3, 0, 0, 0, 0.0);
    cairo_pattern_add_color_stop_rgba(g, 0.5, 1, 1, 1, 0.08);
    cairo_pattern_add_color_stop_rgba(g, 0.75, 0, 0, 0, 0.0);
    cairo_pattern_add_color_stop_rgba(g, 1, 0, 0, 0, 0.3);
    cairo_set_source(colour_, g);
    cairo_paint(colour_);
    cairo_pattern_destroy(g);
}

std::vector<std::uint8_t> Canvas::rgb() const {
    cairo_surface_flush(colour_surface_);
    ENG_CHECK(
        cairo_surface_status(colour_surface_) == CAIRO_STATUS_SUCCESS && cairo_status(colour_) == CAIRO_STATUS_SUCCESS,
        "synth", "cairo: ", cairo_status_to_string(cairo_status(colour_)));
    std::vector<std::uint8_t> out(std::size_t(width_) * height_ * 3);
    const std::uint8_t* data = cairo_image_surface_get_data(colour_surface_);
    const int stride = cairo_image_surface_get_stride(colour_surface_);
    for (int y = 0; y < height_; ++y)
        for (int x = 0; x < width_; ++x) {
            const std::uint32_t v = *reinterpret_cast<const std::uint32_t*>(data + std::size_t(y) * stride + x * 4);
            std::uint8_t* p = &out[(std::size_t(y) * width_ + x) * 3];
            p[0] = std::uint8_t(v >> 16), p[1] = std::uint8_t(v >> 8), p[2] = std::uint8_t(v);
        }
    return out;
}

std::vector<std::uint8_t> Canvas::parts() const {
    cairo_surface_flush(part_surface_);
    std::vector<std::uint8_t> out(std::size_t(width_) * height_);
    const std::uint8_t* data = cairo_image_surface_get_data(part_surface_);
    const int stride = cairo_image_surface_get_stride(part_surface_);
    for (int y = 0; y < height_; ++y)
        std::copy_n(data + std::size_t(y) * stride, width_, out.data() + std::size_t(y) * width_);
    return out;
}

}  // namespace scvd::synth
