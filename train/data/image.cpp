#include "train/data/image.h"

#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>

#include "engine/error.h"
#include "engine/io/file.h"
#include "train/data/exif.h"
#include "train/data/jpeg.h"

// The one translation unit that holds stb_image, with the decoders that check_whole can vouch for. JPEG is libjpeg's: stb_image
// writes beyond its tables when a file's Huffman code has too many symbols.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wsign-compare"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // fields that reading from memory does not use
#endif
#define STBI_FAILURE_USERMSG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace scvd {
namespace {

using Bytes = std::span<const std::byte>;

uint32_t byte_at(Bytes b, size_t i) { return std::to_integer<uint32_t>(b[i]); }
uint32_t big_endian(Bytes b, size_t i) {
    return byte_at(b, i) << 24 | byte_at(b, i + 1) << 16 | byte_at(b, i + 2) << 8 | byte_at(b, i + 3);
}

bool has_magic(Bytes bytes, std::string_view magic, size_t at = 0) {
    return bytes.size() >= at + magic.size() && std::memcmp(bytes.data() + at, magic.data(), magic.size()) == 0;
}

constexpr std::string_view jpeg_magic("\xff\xd8"), png_magic("\x89PNG\r\n\x1a\n"), bmp_magic("BM");

// Formats that folders of pictures hold and that are not read, so that the message can say so.
const char* foreign_format(Bytes bytes) {
    if (has_magic(bytes, "WEBP", 8)) return "it is a WebP picture; JPEG, PNG and BMP are read";
    if (has_magic(bytes, "GIF8")) return "it is a GIF picture; JPEG, PNG and BMP are read";
    if (has_magic(bytes, std::string_view("II*\0", 4)) || has_magic(bytes, std::string_view("MM\0*", 4)))
        return "it is a TIFF picture; JPEG, PNG and BMP are read";
    if (has_magic(bytes, "ftyp", 4)) return "it is a HEIC, AVIF or video file; JPEG, PNG and BMP are read";
    return nullptr;
}

// Offset of EOI, or nothing. Segments are skipped by their length (thumbnails in them have an EOI of their own), and in
// entropy-coded data FF only occurs as FF00 or as a restart marker. What follows EOI is nobody's business.
std::optional<size_t> jpeg_end(Bytes b) {
    for (size_t i = 2; i + 1 < b.size();) {
        const uint32_t marker = byte_at(b, i) == 0xFF ? byte_at(b, i + 1) : 0u;
        if (marker == 0xD9) return i;
        const bool bare = marker <= 0x01 || marker == 0xFF || (marker >= 0xD0 && marker <= 0xD8);
        if (bare) {
            ++i;
        } else {
            if (i + 3 >= b.size()) break;
            i += 2 + (byte_at(b, i + 2) << 8 | byte_at(b, i + 3));
        }
    }
    return {};
}

void check_jpeg(Bytes b, const std::string& name) {
    ENG_CHECK(jpeg_end(b), "image", name, ": the picture is cut short: the JPEG's ", b.size(),
              " bytes hold no end marker");
}

void check_png(Bytes b, const std::string& name) {
    for (size_t i = png_magic.size(); i + 12 <= b.size();) {
        const size_t length = big_endian(b, i), end = i + 12 + length;
        const std::string type(reinterpret_cast<const char*>(b.data()) + i + 4, 4);
        ENG_CHECK(end <= b.size(), "image", name, ": the picture is cut short: the PNG has ", b.size(),
                  " bytes, a chunk of it ends at ", end);
        const auto* checked = reinterpret_cast<const Bytef*>(b.data()) + i + 4;
        ENG_CHECK(crc32(0, checked, static_cast<uInt>(length + 4)) == big_endian(b, end - 4), "image", name,
                  ": the picture is damaged: the PNG's chunk at byte ", i, " has a wrong checksum");
        if (type == "IEND") return;
        i = end;
    }
    eng::fail("image", name, ": the picture is cut short: the PNG's ", b.size(), " bytes hold no end chunk");
}

template <class T> T little_endian(Bytes b, size_t i) {
    T v;
    std::memcpy(&v, b.data() + i, sizeof v);
    return v;
}

// stb_image takes what is missing for black, however much it is, so the rows are counted here. The size in the file's header
// is 0 in some writers' files; a negative height means that the top row comes first.
void check_bmp(Bytes b, const std::string& name) {
    const int64_t size = int64_t(b.size());
    const auto want = [&](int64_t bytes) {
        ENG_CHECK(size >= bytes, "image", name, ": the picture is cut short: the BMP wants ", bytes, " bytes, the file has ", size);
    };
    want(26);
    want(little_endian<uint32_t>(b, 2));
    const bool old = little_endian<uint32_t>(b, 14) == 12;
    if (!old) want(54);
    const int64_t width = old ? little_endian<uint16_t>(b, 18) : little_endian<int32_t>(b, 18), height = old ? little_endian<uint16_t>(b, 20) : little_endian<int32_t>(b, 22);
    const int64_t row = (width * little_endian<uint16_t>(b, old ? 24 : 28) + 31) / 32 * 4, first = little_endian<uint32_t>(b, 10);
    want(first);
    ENG_CHECK(row <= 0 || std::abs(height) <= (size - first) / row, "image", name, ": the picture is cut short: the BMP claims ", width, "x", std::abs(height),
              " pixels, which its ", size, " bytes have no room for");
}

using Pixels = std::unique_ptr<stbi_uc, void (*)(void*)>;

Pixels decode(Bytes bytes, int& width, int& height) {
    int channels = 0;
    const auto* data = reinterpret_cast<const stbi_uc*>(bytes.data());
    return {stbi_load_from_memory(data, static_cast<int>(bytes.size()), &width, &height, &channels, 3),
            stbi_image_free};
}

}  // namespace

void check_whole(Bytes bytes, const std::string& name) {
    if (has_magic(bytes, jpeg_magic)) check_jpeg(bytes, name);
    if (has_magic(bytes, png_magic)) check_png(bytes, name);
    if (has_magic(bytes, bmp_magic)) check_bmp(bytes, name);
}

Image decode_image(Bytes bytes, const std::string& name, int64_t pixel_limit) {
    const auto undecodable = [&](const auto&... reason) {
        eng::fail("image", name, ": not a picture that can be decoded: ", reason...);
    };
    if (bytes.empty()) undecodable("the file is empty");
    if (const char* format = foreign_format(bytes)) undecodable(format);
    if (bytes.size() > size_t(std::numeric_limits<int>::max())) undecodable("it has ", bytes.size(), " bytes");
    check_whole(bytes, name);
    if (has_magic(bytes, jpeg_magic)) return upright(decode_jpeg(bytes, name, pixel_limit), exif_orientation(bytes));

    const auto* data = reinterpret_cast<const stbi_uc*>(bytes.data());
    const int size = static_cast<int>(bytes.size());
    int width = 0, height = 0, channels = 0;
    if (has_magic(bytes, png_magic) && bytes.size() >= 24)  // stb_image has no words of its own for this
        if (const int64_t w = big_endian(bytes, 16), h = big_endian(bytes, 20); w * h > pixel_limit) undecodable("it claims ", w, "x", h, " pixels");
    if (!stbi_info_from_memory(data, size, &width, &height, &channels)) undecodable(stbi_failure_reason());
    if (int64_t{width} * std::abs(int64_t{height}) > pixel_limit) undecodable("it claims ", width, "x", height, " pixels");
    const Pixels pixels = decode(bytes, width, height);
    if (!pixels) undecodable(stbi_failure_reason());
    return {width, height, {pixels.get(), pixels.get() + size_t(3) * width * height}};
}

Image load_image(const std::filesystem::path& path) {
    const std::string bytes = eng::read_file(path);
    return decode_image(std::as_bytes(std::span(bytes)), path.string());
}

bool has_image_extension(const std::filesystem::path& path) {
    std::string extension = path.extension().string();
    for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return extension == ".jpg" || extension == ".jpeg" || extension == ".png" || extension == ".bmp";
}

std::vector<std::string> pictures_below(const std::string& folder) {
    ENG_CHECK(std::filesystem::is_directory(folder), "pictures", folder, " is not a folder");
    std::vector<std::string> files;
    for (const auto& e : std::filesystem::recursive_directory_iterator(folder, std::filesystem::directory_options::skip_permission_denied))
        if (e.is_regular_file() && has_image_extension(e.path())) files.push_back(e.path().string());
    ENG_CHECK(!files.empty(), "pictures", folder, " holds no pictures (jpg, png, bmp)");
    std::sort(files.begin(), files.end());
    return files;
}

}  // namespace scvd
