#pragma once
// Pictures that were decoded and resized once, as raw bytes in a memory-mapped file: epochs after the first never touch a
// JPEG, and the next run begins where this one ended. The system keeps what is used in memory and drops the rest.
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace scvd {

class PictureCache {
public:
    // `rows` pictures of `row_bytes` each. The file is made, or used again when it was made for the same pictures: their
    // paths, sizes and times of change decide. Error when it cannot be made.
    PictureCache(const std::filesystem::path& file, const std::vector<std::string>& pictures, std::size_t row_bytes);
    ~PictureCache();
    PictureCache(const PictureCache&) = delete;
    PictureCache& operator=(const PictureCache&) = delete;

    // Copies row i; false when it is not there yet, or was half written when a machine went down (its checksum is stored
    // behind it, and looked at when this object reads the row for the first time). Several threads and processes may read and
    // write: they write the same bytes.
    bool read(int i, std::uint8_t* out) const;
    void write(int i, const std::uint8_t* row);

private:
    std::uint32_t* checksum(int i) const;
    std::uint8_t* row(int i) const;

    std::size_t row_bytes_, size_ = 0;
    std::uint8_t* map_ = nullptr;
    std::unique_ptr<std::atomic<bool>[]> right_;  // rows whose checksum was right
};

}  // namespace scvd
