#pragma once
// Pictures in memory and from disk.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace scvd {

// 8-bit RGB, rows top to bottom, pixels interleaved: rgb[(y * width + x) * 3 + channel].
struct Image {
    int width = 0;
    int height = 0;
    std::vector<uint8_t> rgb;
};

// Decodes JPEG (baseline, progressive, grey, CMYK), PNG (any depth, palette, alpha) or BMP into RGB. Grey is repeated,
// alpha is dropped (not blended), of 16 bits the upper 8 are kept: what CLIP's pipelines do. A JPEG's Exif orientation is
// followed, so that people stand upright (published sets have none).
// Errors are "NAME: not a picture that can be decoded: REASON", those of check_whole, and "NAME: the picture is cut
// short: REASON" for a JPEG whose data end early although an end marker follows.
// Pictures that claim more than `pixel_limit` pixels are refused before memory is asked for: far above any photograph, far
// below what would exhaust memory.
Image decode_image(std::span<const std::byte> bytes, const std::string& name, std::int64_t pixel_limit = std::int64_t{1} << 28);

// The same from a file; an error when it cannot be read.
Image load_image(const std::filesystem::path& path);

// Error "NAME: the picture is cut short: REASON" when a JPEG, PNG or BMP ends before its format says so, and "NAME: the
// picture is damaged: REASON" when a PNG's checksums do not fit. Decoders fill what is missing with grey and say
// nothing. Reads the container only, at memory speed; of other formats nothing is checked.
void check_whole(std::span<const std::byte> bytes, const std::string& name);

// Whether a file's extension is one that load_image can read: ".jpg", ".jpeg", ".png", ".bmp", in any case.
bool has_image_extension(const std::filesystem::path& path);

// All pictures in a folder and below, by extension, sorted. Error when there is none.
std::vector<std::string> pictures_below(const std::string& folder);

}  // namespace scvd
