#pragma once
// TensorBoard event files: TFRecord framing around protobuf Event messages. Two message types need no protobuf library.
#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

namespace scvd {

// One new file per writer in `folder`, which must exist. Steps are what TensorBoard shows on the x axis.
class EventWriter {
public:
    // `resumed_at` > 0: the first step that this writer will log. It tells TensorBoard to drop what an earlier, killed
    // run wrote from that step on, so that no step is drawn twice.
    explicit EventWriter(const std::string& folder, std::int64_t resumed_at = 0);

    void scalar(const std::string& tag, float value, std::int64_t step);
    // An encoded PNG of width w and height h pixels, RGB.
    void image(const std::string& tag, std::span<const std::uint8_t> png, int w, int h, std::int64_t step);
    void flush();  // Error when the bytes cannot be written
    const std::string& path() const { return path_; }

private:
    void summary(const std::string& value, std::int64_t step);
    void record(const std::string& event);

    std::string path_;
    std::ofstream out_;
};

std::uint32_t crc32c(std::string_view bytes);         // Castagnoli's polynomial
std::uint32_t masked_crc32c(std::string_view bytes);  // rotated and offset: TFRecord's checksum

}  // namespace scvd
