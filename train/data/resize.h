#pragma once
// Resizing that equals Pillow's Image.resize on 8-bit RGB, bit for bit. CLIP and everything trained on it saw pictures
// through that filter, and its antialiasing on the way down is what other resizers get wrong. The width is filtered
// first, then the height, as in every Pillow up to 12.1. From 12.2 on Pillow swaps the passes for some pictures that
// get wider and much lower, which rounds differently; people stretched to a model's input are not among them.
#include <cstdint>
#include <span>

#include "train/data/image.h"

namespace scvd {

enum class Filter { bilinear, bicubic };  // triangle; Keys' cubic with a = -0.5

// The picture at width x height (both >= 1; the aspect ratio is the caller's business). Error when either picture is
// empty.
Image resize(const Image& image, int width, int height, Filter filter = Filter::bilinear);

// The same between buffers: `in` holds in_width * in_height * 3 bytes, `out` out_width * out_height * 3.
void resize(std::span<const uint8_t> in, int in_width, int in_height, std::span<uint8_t> out, int out_width,
            int out_height, Filter filter = Filter::bilinear);

}  // namespace scvd
