// Resizing equals Pillow bit for bit (tests/data/images/resize_golden.txt, written by scripts/golden_resize.py).
#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>
#include <sstream>

#include "engine/error.h"
#include "train/data/resize.h"

namespace {

using scvd::Filter;
using scvd::Image;

// The picture that the script computes too.
Image picture(int width, int height) {
    Image image{width, height, {}};
    auto state = static_cast<uint32_t>(width * 31 + height);
    for (int i = 0; i < width * height * 3; ++i) {
        state = state * 1664525u + 1013904223u;
        const int stripe = i / 12 % 5;
        image.rgb.push_back(stripe == 0 ? 0 : stripe == 1 ? 255 : static_cast<uint8_t>(state >> 24));
    }
    return image;
}

std::string hex(const std::vector<uint8_t>& bytes) {
    std::string text;
    for (const uint8_t b : bytes) text += {"0123456789abcdef"[b >> 4], "0123456789abcdef"[b & 15]};
    return text;
}

TEST(Resize, EqualsPillowBitForBit) {
    std::ifstream golden(SCVD_TEST_DATA "/images/resize_golden.txt");
    int cases = 0;
    for (std::string line; std::getline(golden, line); ++cases) {
        std::istringstream fields(line);
        std::string filter, crc, bytes;
        int w = 0, h = 0, ow = 0, oh = 0;
        ASSERT_TRUE(fields >> filter >> w >> h >> ow >> oh >> crc >> bytes) << line;
        const Image out =
            scvd::resize(picture(w, h), ow, oh, filter == "bilinear" ? Filter::bilinear : Filter::bicubic);
        EXPECT_EQ(out.width, ow);
        EXPECT_EQ(out.height, oh);
        const auto got = crc32(0, out.rgb.data(), static_cast<uInt>(out.rgb.size()));
        EXPECT_EQ(got, std::stoul(crc, nullptr, 16)) << filter << " " << w << "x" << h << " -> " << ow << "x" << oh;
        if (bytes != "-") { EXPECT_EQ(hex(out.rgb), bytes) << line; }
    }
    EXPECT_EQ(cases, 38);
}

TEST(Resize, TheSameSizeIsACopy) {
    const Image in = picture(13, 7);
    EXPECT_EQ(scvd::resize(in, 13, 7).rgb, in.rgb);
}

TEST(Resize, AFlatPictureStaysFlat) {
    for (const uint8_t value : {0, 1, 127, 254, 255})
        for (const Filter filter : {Filter::bilinear, Filter::bicubic}) {
            const Image flat{31, 17, std::vector<uint8_t>(31 * 17 * 3, value)};
            EXPECT_EQ(scvd::resize(flat, 12, 40, filter).rgb, std::vector<uint8_t>(12 * 40 * 3, value));
        }
}

TEST(Resize, ImpossibleSizesAreErrors) {
    const Image in = picture(4, 4);
    EXPECT_THROW(scvd::resize(in, 0, 4), eng::Error);
    EXPECT_THROW(scvd::resize(in, 4, -1), eng::Error);
    EXPECT_THROW(scvd::resize(Image{}, 4, 4), eng::Error);
    EXPECT_THROW(scvd::resize(Image{4, 4, {1, 2, 3}}, 2, 2), eng::Error);
}

}  // namespace
