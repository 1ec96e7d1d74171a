#pragma once
// JPEG pictures to RGB through libjpeg-turbo, which is what Pillow decodes with: the same bits.
#include <cstddef>
#include <span>
#include <string>

#include "train/data/image.h"

namespace scvd {

// Grey is repeated; CMYK and YCCK are taken to be inverted, as Photoshop writes them, and converted as Pillow does. Errors
// as decode_image's; the Exif orientation is left alone.
Image decode_jpeg(std::span<const std::byte> bytes, const std::string& name, std::int64_t pixel_limit);

}  // namespace scvd
