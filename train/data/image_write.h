#pragma once
// Pictures out: 8-bit RGB, rows top to bottom, pixels interleaved, to the bytes of a file.
#include <cstdint>
#include <vector>

namespace scvd {

// quality 1..100; up to 90 the chroma is halved in both directions (4:2:0). Errors on sizes below 1.
std::vector<std::uint8_t> encode_jpeg(int width, int height, const std::uint8_t* rgb, int quality);
std::vector<std::uint8_t> encode_png(int width, int height, const std::uint8_t* rgb);

}  // namespace scvd
