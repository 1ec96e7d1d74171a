// The one translation unit that holds stb_image_write. Its JPEG transform works in float: where pictures must have the
// same bytes on machines with and without fused multiply-add, this file is compiled with -ffp-contract=off.
#include "engine/error.h"
#include "train/data/image_write.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

namespace scvd {
namespace {

void append(void* context, void* data, int size) {
    auto& out = *static_cast<std::vector<std::uint8_t>*>(context);
    const auto* bytes = static_cast<const std::uint8_t*>(data);
    out.insert(out.end(), bytes, bytes + size);
}

}  // namespace

std::vector<std::uint8_t> encode_jpeg(int width, int height, const std::uint8_t* rgb, int quality) {
    ENG_CHECK(width > 0 && height > 0, "encode_jpeg", "a picture of ", width, "x", height, " pixels cannot be written");
    ENG_CHECK(quality >= 1 && quality <= 100, "encode_jpeg", "quality is ", quality, ", want 1 to 100");
    std::vector<std::uint8_t> out;
    out.reserve(std::size_t(width) * height / 2);
    ENG_CHECK(stbi_write_jpg_to_func(append, &out, width, height, 3, rgb, quality), "encode_jpeg", "out of memory");
    return out;
}

std::vector<std::uint8_t> encode_png(int width, int height, const std::uint8_t* rgb) {
    ENG_CHECK(width > 0 && height > 0, "encode_png", "a picture of ", width, "x", height, " pixels cannot be written");
    std::vector<std::uint8_t> out;
    ENG_CHECK(stbi_write_png_to_func(append, &out, width, height, 3, rgb, width * 3), "encode_png", "out of memory");
    return out;
}

}  // namespace scvd
