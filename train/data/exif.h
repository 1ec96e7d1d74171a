#pragma once
// The orientation that cameras write beside a picture: phones store the sensor's rows and say how the phone was held.
#include <cstddef>
#include <span>

#include "train/data/image.h"

namespace scvd {

// 1 (upright) .. 8, as the Exif standard numbers them; 1 when a JPEG does not say, or says nonsense.
int exif_orientation(std::span<const std::byte> jpeg);

// The picture turned and mirrored so that it is seen upright.
Image upright(Image image, int orientation);

}  // namespace scvd
