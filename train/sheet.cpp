#include "train/sheet.h"

#include <cairo/cairo.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <span>

#include "engine/error.h"
#include "train/data/image.h"
#include "train/data/image_write.h"

namespace scvd {
namespace {

constexpr int kTile = 128, kPicture = 256, kGap = 12, kTitle = 40, kLabel = 38;  // pixels

struct Free {
    void operator()(cairo_surface_t* s) const { cairo_surface_destroy(s); }
    void operator()(cairo_t* c) const { cairo_destroy(c); }
};
using Surface = std::unique_ptr<cairo_surface_t, Free>;
using Context = std::unique_ptr<cairo_t, Free>;

// cairo's RGB24 is one 32-bit word per pixel, 0x00RRGGBB.
void paint(cairo_t* c, const Image& image, double x, double y) {
    const Surface s(cairo_image_surface_create(CAIRO_FORMAT_RGB24, image.width, image.height));
    auto* words = reinterpret_cast<std::uint32_t*>(cairo_image_surface_get_data(s.get()));
    const int pitch = cairo_image_surface_get_stride(s.get()) / 4;
    for (int row = 0; row < image.height; ++row)
        for (int col = 0; col < image.width; ++col) {
            const auto* p = image.rgb.data() + (std::size_t(row) * image.width + col) * 3;
            words[row * pitch + col] = std::uint32_t(p[0]) << 16 | std::uint32_t(p[1]) << 8 | p[2];
        }
    cairo_surface_mark_dirty(s.get());
    cairo_set_source_surface(c, s.get(), x, y);
    cairo_paint(c);
}

// One line, cut with an ellipsis to the width that there is.
void write(cairo_t* c, double x, double y, double size, double grey, double width, std::string text) {
    cairo_select_font_face(c, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(c, size);
    cairo_set_source_rgb(c, grey, grey, grey);
    cairo_text_extents_t e;
    std::string shown = text;
    for (cairo_text_extents(c, shown.c_str(), &e); e.x_advance > width && !text.empty(); cairo_text_extents(c, shown.c_str(), &e)) {
        do text.pop_back();
        while (!text.empty() && (text.back() & 0xC0) == 0x80);  // never through a UTF-8 sequence
        shown = text + "…";
    }
    cairo_move_to(c, x, y);
    cairo_show_text(c, shown.c_str());
}

Image decoded(const std::vector<std::uint8_t>& bytes, const char* what) { return decode_image(std::as_bytes(std::span(bytes)), what); }

void draw_result(cairo_t* c, const ResultView& r, int rank, double top) {
    double x = kGap;
    const auto tile = [&](const Image& image, const std::string& first, const std::string& second) {
        paint(c, image, x + (kTile - image.width) / 2.0, top);
        write(c, x, top + kPicture + 15, 12, 0.1, kTile, first);
        write(c, x, top + kPicture + 31, 11, 0.45, kTile, second);
        x += kTile + kGap;
    };
    tile(decoded(r.jpeg, "result"), fmt::format("{}.  {:.3f}", rank, r.score), fmt::format("global {:.2f}  pair {:.2f}", r.global_score, r.pair_score));
    for (const PhraseView& p : r.phrases) tile(decoded(p.heat_png, "heat map"), p.text, fmt::format("w {:.2f}  alone {:.2f}", p.weight, p.score));
}

}  // namespace

std::vector<std::uint8_t> render_sheet(const SearchPage& page, int results) {
    const int rows = std::min(results, int(page.results.size()));
    ENG_CHECK(rows > 0, "sheet", "there are no results to draw");
    std::size_t columns = 1;
    for (int r = 0; r < rows; ++r) columns = std::max(columns, 1 + page.results[r].phrases.size());
    const int width = int(columns) * (kTile + kGap) + kGap, height = kTitle + rows * (kPicture + kLabel + kGap);
    const Surface surface(cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height));
    const Context c(cairo_create(surface.get()));
    cairo_set_source_rgb(c.get(), 1, 1, 1);
    cairo_paint(c.get());
    write(c.get(), kGap, 26, 16, 0.1, width - 2 * kGap, "“" + page.query + "”");
    for (int r = 0; r < rows; ++r) draw_result(c.get(), page.results[r], r + 1, kTitle + r * (kPicture + kLabel + kGap));
    cairo_surface_flush(surface.get());
    ENG_CHECK(cairo_surface_status(surface.get()) == CAIRO_STATUS_SUCCESS, "sheet", "a picture of ", width, "x", height, " could not be drawn");
    std::vector<std::uint8_t> rgb;
    const auto* words = reinterpret_cast<const std::uint32_t*>(cairo_image_surface_get_data(surface.get()));
    const int pitch = cairo_image_surface_get_stride(surface.get()) / 4;
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
            for (const int shift : {16, 8, 0}) rgb.push_back(std::uint8_t(words[y * pitch + x] >> shift));
    return encode_png(width, height, rgb.data());
}

}  // namespace scvd
