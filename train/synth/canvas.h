#pragma once
// A drawing with two layers of the same shapes: colour, and which part of the scene each pixel belongs to. What is
// drawn later covers what was drawn before in both, so that the part layer is the visible segmentation.
#include <cairo/cairo.h>

#include <cstdint>
#include <vector>

#include "train/synth/palette.h"

namespace scvd::synth {

struct Point {
    double x = 0, y = 0;
};
inline Point operator+(Point a, Point b) { return {a.x + b.x, a.y + b.y}; }
inline Point operator*(Point a, double k) { return {a.x * k, a.y * k}; }
inline Point between(Point a, Point b, double t) { return {a.x + (b.x - a.x) * t, a.y + (b.y - a.y) * t}; }

struct Path {
    struct Step {
        enum Kind { move, line, curve, close } kind;
        Point a, b, c;
    };
    std::vector<Step> steps;
    Path& add(const Path& other) { return steps.insert(steps.end(), other.steps.begin(), other.steps.end()), *this; }
};

Path polygon(const std::vector<Point>&);
Path open_line(const std::vector<Point>&);
Path smooth(const std::vector<Point>&);  // closed, rounded: the points are the corners of its control polygon
Path ellipse(Point centre, double rx, double ry);
Path box(double x, double y, double w, double h);
Path limb(Point a, double ra, Point b, double rb);  // a cone with round ends

struct Paint {
    Rgb base;
    int pattern = 0;      // as the attribute top_pattern: 0 plain, else kind and second colour
    bool volume = false;  // darker towards one side
};

class Canvas {
public:
    Canvas(int width, int height);
    ~Canvas();
    Canvas(const Canvas&) = delete;
    Canvas& operator=(const Canvas&) = delete;

    // Unit coordinates (x, y) fall on pixel (origin.x +- x * scale, origin.y + y * scale).
    void map(double scale, Point origin, bool mirror = false);
    void fill(const Path&, const Paint&, int part, double alpha = 1);
    void stroke(const Path&, double width, Rgb, int part);

    int width() const { return width_; }
    int height() const { return height_; }
    std::vector<std::uint8_t> rgb() const;    // [height, width, 3]
    std::vector<std::uint8_t> parts() const;  // [height, width]

private:
    void trace(cairo_t*, const Path&) const;
    Point place(Point) const;
    void pattern(const Paint&);
    void volume();

    int width_, height_;
    double scale_ = 1;
    Point origin_;
    double sign_ = 1;
    cairo_surface_t *colour_surface_, *part_surface_;
    cairo_t *colour_, *part_;
};

}  // namespace scvd::synth
