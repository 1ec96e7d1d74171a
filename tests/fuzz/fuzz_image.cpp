// Pictures: container checks, Exif, decoding. Large ones are refused, since filling them would be all that the fuzzer does.
#include "tests/fuzz/fuzz.h"
#include "train/data/exif.h"
#include "train/data/image.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span(data, size));
    scvd::exif_orientation(bytes);
    try {
        const auto image = scvd::decode_image(bytes, "x", 1 << 22);
        if (image.rgb.size() != std::size_t(3) * image.width * image.height) __builtin_trap();
    } catch (const eng::Error&) {
    }
    return 0;
}
