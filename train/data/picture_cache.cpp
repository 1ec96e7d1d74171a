#include "train/data/picture_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "engine/error.h"
#include "engine/rng.h"

namespace scvd {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t header_bytes = 4096;  // a page: rows begin on one
constexpr char magic[16] = "scvd pictures 1";

// What the rows depend on.
std::string fingerprint(const std::vector<std::string>& pictures, std::size_t row_bytes) {
    std::uint64_t h = eng::fnv1a("");
    for (const std::string& p : pictures) {
        struct stat info {};
        ::stat(p.c_str(), &info);
        const std::int64_t facts[] = {info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
        h = eng::fnv1a({p.c_str(), p.size() + 1}, h), h = eng::fnv1a({reinterpret_cast<const char*>(facts), sizeof facts}, h);
    }
    std::string text(magic, sizeof magic);
    for (const std::uint64_t v : {h, std::uint64_t(pictures.size()), std::uint64_t(row_bytes)}) text.append(reinterpret_cast<const char*>(&v), 8);
    return text;
}

std::size_t padded(std::size_t row_bytes) { return (row_bytes + 4 + 63) / 64 * 64; }  // checksum behind the row

}  // namespace

PictureCache::PictureCache(const fs::path& file, const std::vector<std::string>& pictures, std::size_t row_bytes) : row_bytes_(row_bytes) {
    const auto must = [&](bool ok, const char* what) { ENG_CHECK(ok, "picture cache", file.string(), ": ", what, ": ", std::generic_category().message(errno)); };
    const std::string wanted = fingerprint(pictures, row_bytes);
    size_ = header_bytes + padded(row_bytes) * pictures.size();
    const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    must(fd >= 0, "cannot be made");
    std::string found(wanted.size(), '\0');
    const bool same = ::pread(fd, found.data(), found.size(), 0) == ssize_t(found.size()) && found == wanted;
    // Cutting to nothing first makes every checksum zero again. All room is asked for at once: a disk that fills up later
    // would end the program at some memory access. File systems that cannot reserve get a sparse file.
    const bool cut = same || ::ftruncate(fd, 0) == 0, reserved = cut && ::fallocate(fd, 0, 0, off_t(size_)) == 0;
    const bool sized = reserved || (cut && errno == EOPNOTSUPP && ::ftruncate(fd, off_t(size_)) == 0);
    void* const address = sized ? ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    const int code = errno;
    ::close(fd);
    errno = code;
    if (address == MAP_FAILED && !same) ::unlink(file.c_str());
    must(address != MAP_FAILED, "cannot be mapped");
    map_ = static_cast<std::uint8_t*>(address);
    right_ = std::make_unique<std::atomic<bool>[]>(pictures.size());
    std::memcpy(map_, wanted.data(), wanted.size());
}

PictureCache::~PictureCache() {
    if (map_) ::munmap(map_, size_);
}

std::uint8_t* PictureCache::row(int i) const { return map_ + header_bytes + padded(row_bytes_) * std::size_t(i); }
std::uint32_t* PictureCache::checksum(int i) const { return reinterpret_cast<std::uint32_t*>(row(i) + padded(row_bytes_) - 4); }

bool PictureCache::read(int i, std::uint8_t* out) const {
    const std::uint32_t want = std::atomic_ref(*checksum(i)).load(std::memory_order_acquire);
    if (want == 0) return false;
    std::memcpy(out, row(i), row_bytes_);
    if (!right_[i]) right_[i] = (crc32(0, out, uInt(row_bytes_)) | 1u) == want;  // 0.08 ms, a third of a fast GPU's step for a batch of 128
    return right_[i];
}

void PictureCache::write(int i, const std::uint8_t* from) {
    std::memcpy(row(i), from, row_bytes_);
    std::atomic_ref(*checksum(i)).store(std::uint32_t(crc32(0, from, uInt(row_bytes_))) | 1u, std::memory_order_release);  // never 0
}

}  // namespace scvd
