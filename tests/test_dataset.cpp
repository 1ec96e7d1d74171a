// Pictures in every encoding that a data set may hold, and the native layout with everything that can be wrong with it.
// The files under tests/data/images come from scripts/golden_images.py.
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>

#include "engine/error.h"
#include "engine/io/file.h"
#include "tests/errors.h"
#include "train/data/dataset.h"
#include "train/data/image.h"

namespace {

using eng::test::error_of;

namespace fs = std::filesystem;
using namespace scvd;

const fs::path images = fs::path(SCVD_TEST_DATA) / "images";
constexpr int width = 24, height = 16;

// ---- pictures

template <class Pixel>
void expect_pixels(const Image& image, Pixel pixel) {
    ASSERT_EQ(image.width, width);
    ASSERT_EQ(image.height, height);
    ASSERT_EQ(image.rgb.size(), size_t(3) * width * height);
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
            for (int c = 0; c < 3; ++c)
                ASSERT_EQ(image.rgb[(y * width + x) * 3 + c], pixel(x, y, c)) << x << "," << y << "," << c;
}

int pixel(int x, int y, int c) { return (x * 9 + y * 5 + c * 40) % 256; }

TEST(Image, LosslessFilesAreReadExactly) {
    for (const char* name : {"rgb.png", "rgb.bmp", "alpha.png"}) {  // alpha is dropped, not blended
        SCOPED_TRACE(name);
        expect_pixels(load_image(images / name), pixel);
    }
    for (const char* name : {"grey.png", "grey16.png"}) {
        SCOPED_TRACE(name);
        expect_pixels(load_image(images / name), [](int x, int y, int) { return pixel(x, y, 0); });
    }
    expect_pixels(load_image(images / "palette.png"), [](int x, int y, int c) {
        const int i = pixel(x, y, 0) / 32;
        return c == 0 ? i * 30 : c == 1 ? 255 - i * 30 : i * 7;
    });
}

// Pillow decodes with the same library: the same bits, CMYK's conversion included.
TEST(Image, JpegsEqualPillows) {
    for (const std::string name : {"baseline", "progressive", "grey", "cmyk", "thumbnail"})
        EXPECT_EQ(load_image(images / (name + ".jpg")).rgb, load_image(images / (name + "_decoded.png")).rgb) << name;
}

// Found by fuzzing: shorter than the place where its size would be.
TEST(Image, APngOfNothingButItsEndIsAnError) {
    const std::string png = eng::read_file(images / "rgb.png"), end = png.substr(0, 8) + png.substr(png.size() - 12);
    const std::vector<char> exact(end.begin(), end.end());  // no byte behind it that a string would have
    EXPECT_MENTIONS(error_of([&] { decode_image(std::as_bytes(std::span(exact)), "x.png"); }), "x.png: not a picture");
}

// Found by fuzzing: a Huffman table of more codes than there are, which makes one popular decoder write beyond it.
TEST(Image, AJpegWithTooManyCodesIsAnError) {
    EXPECT_MENTIONS(error_of([] { load_image(images / "too_many_codes.jpg"); }), "too_many_codes.jpg: not a picture that can be decoded");
}

// The scene is smooth: turning it before or after the 8x8 transforms of JPEG moves a level by a few.
TEST(Image, ExifOrientationIsFollowed) {
    const Image want = load_image(images / "turned1.jpg");
    for (int orientation = 2; orientation <= 8; ++orientation) {
        const Image got = load_image(images / ("turned" + std::to_string(orientation) + ".jpg"));
        ASSERT_EQ(got.width, want.width) << orientation;
        ASSERT_EQ(got.height, want.height) << orientation;
        int worst = 0;
        for (size_t i = 0; i < got.rgb.size(); ++i) worst = std::max(worst, std::abs(got.rgb[i] - want.rgb[i]));
        EXPECT_LT(worst, 8) << orientation;
    }
}

// 1.6 billion pixels in a kilobyte: refused by what the header says, before any of them is allocated.
TEST(Image, AHugePngIsRefusedUnread) {
    std::string png = eng::read_file(images / "rgb.png");
    const std::string size("\x00\x00\x9c\x40\x00\x00\x9c\x40", 8);  // 40,000 x 40,000
    png.replace(16, 8, size);
    const auto crc = static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(png.data()) + 12, 17));
    for (int i = 0; i < 4; ++i) png[static_cast<size_t>(29 + i)] = static_cast<char>(crc >> (24 - 8 * i));
    EXPECT_EQ(error_of([&] { decode_image(std::as_bytes(std::span(png)), "huge.png"); }), "image: huge.png: not a picture that can be decoded: it claims 40000x40000 pixels");
}

TEST(Image, EveryCutIsAnErrorThatNamesTheFile) {
    const char* names[] = {"rgb.png",  "palette.png",     "rgb.bmp",  "baseline.jpg",
                           "grey.jpg", "progressive.jpg", "cmyk.jpg", "thumbnail.jpg"};
    for (const std::string name : names) {
        const std::string whole = eng::read_file(images / name);
        for (size_t size = 0; size < whole.size(); ++size) {
            const auto bytes = std::as_bytes(std::span(whole.data(), size));
            const std::string error = error_of([&] { decode_image(bytes, "set/" + name); });
            ASSERT_NE(error.find("set/" + name + ": "), std::string::npos) << error;
            if (size > 30) {
                ASSERT_NE(error.find("the picture is cut short"), std::string::npos) << size << " " << error;
            }
        }
    }
}

// Tools that repair a cut JPEG append an end marker, so that the container looks whole.
TEST(Image, AJpegWhoseDataEndEarlyIsNoticedBehindAnEndMarker) {
    for (const std::string name : {"baseline", "grey", "cmyk", "thumbnail", "progressive"}) {
        const std::string whole = eng::read_file(images / (name + ".jpg"));
        const size_t scan = whole.rfind("\xff\xda");  // of the last scan: 6 bytes, 2 a component; then data
        const size_t data = scan + 2 + static_cast<size_t>(whole[scan + 3]);
        for (size_t size = data; size + 4 < whole.size(); ++size) {
            if (whole[size - 1] == '\xff') continue;  // the cut makes a marker of its own
            const std::string cut = whole.substr(0, size) + "\xff\xd9";
            const std::string error = error_of([&] { decode_image(std::as_bytes(std::span(cut)), "x.jpg"); });
            // In a progressive refinement made-up bits can also be an error of their own.
            const std::string reason = name == "progressive" ? "" : "the picture is cut short: the JPEG's data end";
            EXPECT_MENTIONS(error, "x.jpg: " + reason) << " " << name << " " << size;
        }
    }
}

TEST(Image, WhatFollowsTheEndOfAJpegDoesNotMatter) {
    const std::string bytes =
        eng::read_file(images / "baseline.jpg") + std::string(100, '\0') + "a trailer of some phone";
    EXPECT_EQ(decode_image(std::as_bytes(std::span(bytes)), "x").rgb, load_image(images / "baseline.jpg").rgb);
}

TEST(Image, AFlippedBitInAPngIsNoticed) {
    std::string bytes = eng::read_file(images / "rgb.png");
    bytes[bytes.size() - 20] ^= 4;
    EXPECT_MENTIONS(error_of([&] { decode_image(std::as_bytes(std::span(bytes)), "x.png"); }),
                    "x.png: the picture is damaged");
}

TEST(Image, OtherFilesAreNamedForWhatTheyAre) {
    const auto error = [](const std::string& bytes) {
        return error_of([&] { decode_image(std::as_bytes(std::span(bytes)), "x.jpg"); });
    };
    EXPECT_EQ(error(""), "image: x.jpg: not a picture that can be decoded: the file is empty");
    EXPECT_MENTIONS(error("<!DOCTYPE html>"), "x.jpg: not a picture that can be decoded: ");
    EXPECT_MENTIONS(error(eng::read_file(images / "picture.webp")), "it is a WebP picture");
    EXPECT_MENTIONS(error("GIF89a......"), "it is a GIF picture");
    EXPECT_MENTIONS(error_of([] { load_image(images / "absent.png"); }), "absent.png");
}

// A header may claim any size; memory must not be asked for before the pixels are there.
TEST(Image, AForgedSizeIsAnError) {
    std::string bytes = eng::read_file(images / "rgb.bmp");
    for (const int offset : {18, 22}) bytes.replace(offset, 4, std::string("\xff\xff\xff\x00", 4));
    EXPECT_MENTIONS(error_of([&] { decode_image(std::as_bytes(std::span(bytes)), "x.bmp"); }), "x.bmp: the picture is cut short: the BMP claims 16777215x16777215 pixels");
    bytes.replace(22, 4, std::string("\xd6\xff\xff\xff", 4));  // 42 rows, the top one first: once decoded as black for 20 seconds
    EXPECT_MENTIONS(error_of([&] { decode_image(std::as_bytes(std::span(bytes)), "x.bmp"); }), "claims 16777215x42 pixels");
}

TEST(Image, ABmpMayHaveItsTopRowFirst) {
    std::string bytes = eng::read_file(images / "rgb.bmp");
    const Image up = decode_image(std::as_bytes(std::span(bytes)), "x.bmp");
    const std::int32_t height = -up.height;
    bytes.replace(22, 4, std::string(reinterpret_cast<const char*>(&height), 4));
    const Image down = decode_image(std::as_bytes(std::span(bytes)), "x.bmp");
    ASSERT_EQ(down.height, up.height);
    for (int y = 0; y < up.height; ++y)
        EXPECT_TRUE(std::equal(up.rgb.begin() + 3 * up.width * y, up.rgb.begin() + 3 * up.width * (y + 1), down.rgb.begin() + 3 * up.width * (up.height - 1 - y))) << y;
    EXPECT_MENTIONS(error_of([&] { decode_image(std::as_bytes(std::span(bytes)), "x.bmp", 100); }), "claims 24x");
}

TEST(Image, ExtensionsInAnyCase) {
    for (const char* yes : {"a.jpg", "a.JPEG", "b/c.PnG", "a.bmp"}) EXPECT_TRUE(has_image_extension(yes)) << yes;
    for (const char* no : {"jpg", "a.txt", "a.jpg.part", "a"}) EXPECT_FALSE(has_image_extension(no)) << no;
}

TEST(Utf8, FindsTheFirstBadByte) {
    EXPECT_EQ(find_bad_utf8("plain, ä, 你, 😀"), std::string::npos);
    EXPECT_EQ(find_bad_utf8("\xf4\x8f\xbf\xbf"), std::string::npos);  // the last code point
    const std::string bad[] = {"\xff",
                               "\x80",
                               "\xc0\xaf",
                               "\xc3",
                               "\xe0\x9f\x80",
                               "\xed\xa0\x80",
                               "\xe4\xbd",
                               "\xf0\x8f\xbf\xbf",
                               "\xf4\x90\x80\x80",
                               "\xc3("};
    for (const std::string& b : bad) EXPECT_EQ(find_bad_utf8("ab" + b + "x"), 2u) << testing::PrintToString(b);
    EXPECT_EQ(find_bad_utf8("\xff"
                            "ab\xff",
                            1),
              3u);
}

// ---- the layout

struct Layout : testing::Test {
    fs::path root = fs::temp_directory_path() / ("scvd_dataset_" + std::to_string(::getpid()));
    void SetUp() override {
        fs::remove_all(root);
        fs::create_directories(root / "imgs");
        for (const char* name : {"a.jpg", "b.jpg", "c.jpg", "d.jpg"})
            fs::copy_file(images / "baseline.jpg", root / "imgs" / name);
    }
    void TearDown() override { fs::remove_all(root); }

    void write(const std::string& json) const { eng::write_file(root / "data_captions.json", json); }
    std::string error(const std::string& json, OnBad on_bad = OnBad::fatal) const {
        write(json);
        return error_of([&] { load_dataset(root.string(), on_bad); });
    }
};

std::string record(const std::string& id, const std::string& picture, const std::string& split,
                   const std::string& captions = R"(["a man"])") {
    return R"({"id": )" + id + R"(, "img_path": ")" + picture + R"(", "captions": )" + captions + R"(, "split": ")" +
           split + R"("})";
}

TEST_F(Layout, ReadsRecordsPairsAndLabels) {
    write("[" + record("70", "a.jpg", "train", R"(["one", "two"])") + "," + record("5", "b.jpg", "test") + "," +
          record("9", "c.jpg", "train") + "," + record("70", "d.jpg", "train") + "]");
    for (const fs::path& given : {root, root / "data_captions.json"}) {
        const Dataset d = load_dataset(given.string());
        EXPECT_EQ(d.records, 4);
        EXPECT_TRUE(d.skipped.empty());
        EXPECT_EQ(d.train.name, "train");
        EXPECT_EQ(d.train.identities, 2);
        EXPECT_EQ(d.val.identities, 0);
        ASSERT_EQ(d.train.images.size(), 3u);
        EXPECT_EQ(d.train.images[0].path, (root / "imgs/a.jpg").string());
        EXPECT_EQ(d.train.images[0].captions, (std::vector<std::string>{"one", "two"}));
        std::vector<int> labels, ids, pairs;
        for (const Record& r : d.train.images) labels.push_back(r.label), ids.push_back(r.id);
        for (const Split::Pair& p : d.train.pairs) pairs.push_back(p.image * 10 + p.caption);
        EXPECT_EQ(labels, (std::vector<int>{0, 1, 0}));
        EXPECT_EQ(ids, (std::vector<int>{70, 9, 70}));
        EXPECT_EQ(pairs, (std::vector<int>{0, 1, 10, 20}));
        EXPECT_EQ(d.test.images[0].label, 0);
    }
}

TEST_F(Layout, EveryFaultOfARecordIsNamed) {
    const std::string good = record("1", "a.jpg", "train");
    struct Bad {
        std::string json, mention;
    };
    const Bad bad[] = {
        {"7", "record 1 should be an object, got number"},
        {"{}", "record 1 has no \"id\""},
        {R"({"id":2,"img_pth":"b.jpg","captions":["a"],"split":"train"})",
         "record 1 has no \"img_path\"; the nearest key is \"img_pth\""},
        {R"({"id":2,"img_path":"b.jpg","caption":["a"],"split":"train"})", "the nearest key is \"caption\""},
        {record("\"2\"", "b.jpg", "train"), "\"id\" should be a whole number, got string"},
        {record("2.0", "b.jpg", "train"), "\"id\" should be a whole number, got number"},
        {record("9999999999", "b.jpg", "train"), "\"id\" is 9999999999, which 32 bits do not hold"},
        {record("18446744073709551615", "b.jpg", "train"), "which 32 bits do not hold"},
        {record("2", "b.jpg", "training"), "\"split\" is \"training\", want train | val | test"},
        {record("2", "b.jpg", "train", "[]"), "at least one string, got an empty list"},
        {record("2", "b.jpg", "train", "\"a man\""), "at least one string, got string"},
        {record("2", "b.jpg", "train", R"(["a", 3])"), "record 1 (b.jpg): caption 1 should be a string, got number"},
        {record("2", "b.jpg", "train", R"(["a", " \n"])"), "record 1 (b.jpg): caption 1 is empty"},
        {record("2", "gone.jpg", "train"), "imgs/gone.jpg is not there"},
        {record("2", std::string(5000, 'n'), "train"), "is not there"},
        {record("2", "", "train"), "is not there"},
        {record("2", "b.jpg", "train", "[\"{a} [b \\\" \xff\"]"), "record 1 is not UTF-8: byte 0xff at offset "},
        {record("1", "a.jpg", "test"), "record 1 (a.jpg): the picture is in split train and in test"},
        {record("1", "b.jpg", "test"), "record 1 (b.jpg): identity 1 is in split test, but record 0 has it in train"},
    };
    for (const Bad& b : bad) {
        EXPECT_MENTIONS(error("[" + good + ", " + b.json + "]"), b.mention);
        const Dataset d = load_dataset(root.string(), OnBad::skip);  // the same fault, left out
        ASSERT_EQ(d.skipped.size(), 1u);
        EXPECT_MENTIONS(d.skipped[0], b.mention);
        EXPECT_EQ(d.train.images.size(), 1u);
    }
}

TEST_F(Layout, FaultsOfTheFileAreNamed) {
    EXPECT_MENTIONS(error(""), "data_captions.json is not JSON: the file is empty");
    EXPECT_MENTIONS(error("[{\n\"id\": }]"), "data_captions.json is not JSON: parse error at line 2, column 7");
    EXPECT_MENTIONS(error("{}"), "should be a list of records, got object");
    EXPECT_MENTIONS(error("[]"), "is an empty list");
    EXPECT_MENTIONS(error("[1, 2]", OnBad::skip), "every record is bad; the first: ");
    fs::remove_all(root / "imgs");
    EXPECT_MENTIONS(error("[]"), "imgs is not a folder");
    fs::remove(root / "data_captions.json");
    EXPECT_MENTIONS(error_of([&] { load_dataset(root.string()); }), "holds no data_captions.json");
    EXPECT_EQ(error_of([&] { load_dataset("/no/such"); }), "data: /no/such is not a folder");
}

TEST_F(Layout, BadPicturesAreFatalOrLeftOut) {
    const std::string whole = eng::read_file(root / "imgs/b.jpg");
    eng::write_file(root / "imgs/b.jpg", whole.substr(0, whole.size() / 2));
    const std::string json = "[" + record("1", "a.jpg", "train") + "," + record("2", "b.jpg", "train") + "," +
                             record("3", "c.jpg", "train") + "]";
    const std::string fatal = error(json);
    EXPECT_MENTIONS(fatal,
                    "data_captions.json record 1: " + (root / "imgs/b.jpg").string() + ": the picture is cut short");
    eng::write_file(root / "imgs/c.jpg", "not a picture");  // seen only by decoding
    const Dataset d = load_dataset(root.string(), OnBad::skip);
    EXPECT_EQ(d.train.images.size(), 1u);
    EXPECT_EQ(d.train.identities, 1);
    ASSERT_EQ(d.skipped.size(), 2u);
    EXPECT_MENTIONS(d.skipped[1], "record 2: " + (root / "imgs/c.jpg").string() + ": not a picture");
    const std::string report = describe_skipped(d, 1);
    EXPECT_MENTIONS(report, "2 of 3 records left out:\n  data: ");
    EXPECT_MENTIONS(report, "and 1 more\n");
    EXPECT_EQ(describe_skipped(Dataset{}), "");
}

}  // namespace
