#include "train/data/exif.h"

#include <cstdint>
#include <cstring>

namespace scvd {
namespace {

using Bytes = std::span<const std::byte>;

// Numbers of either byte order; 0 beyond the end, which no field of interest ever is.
struct Tiff {
    Bytes bytes;
    bool little;
    std::uint32_t number(std::size_t at, std::size_t size) const {
        if (at > bytes.size() || size > bytes.size() - at) return 0;
        std::uint32_t v = 0;
        for (std::size_t i = 0; i < size; ++i) v |= std::to_integer<std::uint32_t>(bytes[at + i]) << 8 * (little ? i : size - 1 - i);
        return v;
    }
};

int orientation_of(Bytes tiff) {
    if (tiff.size() < 8) return 1;
    const Tiff t{tiff, tiff[0] == std::byte{'I'}};
    if (t.number(2, 2) != 42) return 1;
    const std::size_t directory = t.number(4, 4), entries = t.number(directory, 2);
    for (std::size_t i = 0; i < entries; ++i) {
        const std::size_t at = directory + 2 + 12 * i;
        if (at + 12 > tiff.size()) break;
        constexpr std::uint32_t orientation_tag = 0x0112;
        if (t.number(at, 2) != orientation_tag) continue;
        const auto value = t.number(at + 8, 2);
        return value >= 1 && value <= 8 ? int(value) : 1;
    }
    return 1;
}

}  // namespace

int exif_orientation(Bytes b) {
    const auto at = [&](std::size_t i) { return std::to_integer<unsigned>(b[i]); };
    for (std::size_t i = 2; i + 4 <= b.size() && at(i) == 0xFF && at(i + 1) != 0xDA;) {  // segments up to the scan
        const std::size_t length = at(i + 2) << 8 | at(i + 3), begin = i + 4;
        if (length < 2 || length - 2 > b.size() - begin) break;
        const Bytes body = b.subspan(begin, length - 2);
        if (at(i + 1) == 0xE1 && body.size() > 6 && std::memcmp(body.data(), "Exif\0\0", 6) == 0) return orientation_of(body.subspan(6));
        i += 2 + length;
    }
    return 1;
}

Image upright(Image image, int orientation) {
    if (orientation == 1) return image;
    // Where the stored pixel (x, y) is seen: 2-4 keep rows, 5-8 swap rows and columns.
    const bool swap = orientation >= 5, right = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7,
               bottom = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
    Image out{swap ? image.height : image.width, swap ? image.width : image.height, std::vector<std::uint8_t>(image.rgb.size())};
    for (int y = 0; y < image.height; ++y)
        for (int x = 0; x < image.width; ++x) {
            int to_x = swap ? y : x, to_y = swap ? x : y;
            if (right) to_x = out.width - 1 - to_x;
            if (bottom) to_y = out.height - 1 - to_y;
            std::memcpy(&out.rgb[(std::size_t(to_y) * out.width + to_x) * 3], &image.rgb[(std::size_t(y) * image.width + x) * 3], 3);
        }
    return out;
}

}  // namespace scvd
