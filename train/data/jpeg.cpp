#include "train/data/jpeg.h"

#include <csetjmp>
#include <cstdint>
#include <cstdio>

#include <jpeglib.h>
#include <jerror.h>

#include "engine/error.h"

namespace scvd {
namespace {

// libjpeg reports through these functions. An error has to leave by longjmp, so nothing with a destructor may live between
// setjmp and the calls: the buffers belong to the caller.
struct Handler {
    jpeg_error_mgr base;
    std::jmp_buf leave;
    char message[JMSG_LENGTH_MAX];
    bool short_data, broken_data;
};
void on_error(j_common_ptr c) {
    auto* h = reinterpret_cast<Handler*>(c->err);
    h->base.format_message(c, h->message);
    std::longjmp(h->leave, 1);
}
// The decoder goes on after a warning, with pixels that it makes up.
void on_message(j_common_ptr c, int level) {
    auto* h = reinterpret_cast<Handler*>(c->err);
    if (level >= 0) return;  // chatter
    const int code = h->base.msg_code;
    if (code == JWRN_HIT_MARKER || code == JWRN_JPEG_EOF) h->short_data = true;
    if (code == JWRN_HUFF_BAD_CODE || code == JWRN_BOGUS_PROGRESSION || code == JWRN_ARITH_BAD_CODE) h->broken_data = true;
}

// Opens the picture and decodes its rows into `out`, 3 or 4 bytes a pixel; with an empty `out` reads the header only. False
// on an error, whose text is in the handler.
bool run(jpeg_decompress_struct& c, Handler& h, std::span<const std::byte> bytes, std::span<std::uint8_t> out) {
    if (setjmp(h.leave)) return false;
    jpeg_mem_src(&c, reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<unsigned long>(bytes.size()));
    jpeg_read_header(&c, TRUE);
    const bool inks = c.jpeg_color_space == JCS_CMYK || c.jpeg_color_space == JCS_YCCK;
    c.out_color_space = inks ? JCS_CMYK : JCS_RGB;
    if (out.empty()) return true;
    jpeg_start_decompress(&c);
    const std::size_t pitch = std::size_t(c.output_width) * std::size_t(c.output_components);
    while (c.output_scanline < c.output_height) {
        JSAMPROW row = out.data() + pitch * c.output_scanline;
        jpeg_read_scanlines(&c, &row, 1);
    }
    jpeg_finish_decompress(&c);
    return true;
}

struct Decoder {
    jpeg_decompress_struct c{};
    Handler h{};
    Decoder() {
        c.err = jpeg_std_error(&h.base);
        h.base.error_exit = on_error, h.base.emit_message = on_message;
        jpeg_create_decompress(&c);
        c.mem->max_memory_to_use = 1L << 30;  // beside the pixels: what a progressive picture keeps of all its scans
    }
    ~Decoder() { jpeg_destroy_decompress(&c); }
};

// a b / 255, rounded, as Pillow computes it.
int product(int a, int b) {
    const int t = a * b + 128;
    return ((t >> 8) + t) >> 8;
}

}  // namespace

Image decode_jpeg(std::span<const std::byte> bytes, const std::string& name, std::int64_t pixel_limit) {
    const auto undecodable = [&](const auto&... reason) { eng::fail("image", name, ": not a picture that can be decoded: ", reason...); };
    Decoder header;
    if (!run(header.c, header.h, bytes, {})) undecodable(header.h.message);
    const int width = int(header.c.image_width), height = int(header.c.image_height);
    if (std::int64_t{width} * height > pixel_limit) undecodable("it claims ", width, "x", height, " pixels");
    const bool inks = header.c.out_color_space == JCS_CMYK;
    std::vector<std::uint8_t> pixels(std::size_t(width) * height * (inks ? 4 : 3));
    Decoder d;
    if (!run(d.c, d.h, bytes, pixels)) undecodable(d.h.message);
    ENG_CHECK(!d.h.broken_data, "image", name, ": the picture is damaged: the JPEG's data hold codes that do not exist");
    ENG_CHECK(!d.h.short_data, "image", name, ": the picture is cut short: the JPEG's data end before its ", width, "x", height, " pixels do");
    if (!inks) return {width, height, std::move(pixels)};
    Image image{width, height, std::vector<std::uint8_t>(std::size_t(3) * width * height)};
    for (std::size_t i = 0; i < std::size_t(width) * height; ++i)
        for (int k = 0; k < 3; ++k) {
            const int white = pixels[4 * i + 3];  // what black ink leaves of it
            image.rgb[3 * i + std::size_t(k)] = std::uint8_t(std::max(0, white - product(255 - pixels[4 * i + std::size_t(k)], white)));
        }
    return image;
}

}  // namespace scvd
