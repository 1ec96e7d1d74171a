#include "engine/io/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "engine/error.h"

namespace eng {
namespace fs = std::filesystem;

namespace {

// strerror shares a buffer between threads; this does not.
std::string errno_text(int code) { return std::generic_category().message(code); }

// Closes on every way out of a function that only reads.
struct ReadOnly {
    int fd;
    struct stat info {};

    explicit ReadOnly(const fs::path& path) : fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
        ENG_CHECK(fd >= 0, "read", path.string(), ": cannot be opened: ", errno_text(errno));
        const int code = ::fstat(fd, &info) == 0 ? (S_ISDIR(info.st_mode) ? EISDIR : 0) : errno;
        if (code != 0) {
            ::close(fd);
            fail("read", path.string(), ": cannot be read: ", errno_text(code));
        }
    }
    ~ReadOnly() { ::close(fd); }
    ReadOnly(const ReadOnly&) = delete;
    ReadOnly& operator=(const ReadOnly&) = delete;
};

// The rename is only durable once the folder's own entry is on disk. Some file systems cannot sync a folder (EINVAL).
int sync_folder(const fs::path& folder) {
    const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno;
    const int code = ::fsync(fd) == 0 || errno == EINVAL ? 0 : errno;
    ::close(fd);
    return code;
}

fs::path folder_of(const fs::path& file) { return file.has_parent_path() ? file.parent_path() : fs::path("."); }

}  // namespace

AtomicFile::AtomicFile(fs::path target) : target_(std::move(target)) {
    ENG_CHECK(target_.has_filename(), "write", "'", target_.string(), "' names no file");
    // The same folder, because rename cannot cross file systems; O_EXCL, because a killed run may have left its own.
    for (int attempt = 0; fd_ < 0; ++attempt) {
        const std::string suffix = ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(attempt);
        temporary_ = folder_of(target_) / ("." + target_.filename().string() + suffix);
        fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd_ < 0 && errno != EEXIST) fail_with_errno("cannot be created");
    }
}

AtomicFile::~AtomicFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail_with_errno(const char* doing) const {
    const int code = errno;
    fail("write", target_.string(), ": ", doing, " (after ", written_, " bytes): ", errno_text(code));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail_with_errno("cannot be written");
        bytes = bytes.subspan(static_cast<size_t>(n));
        written_ += static_cast<size_t>(n);
    }
    // The disk begins while we still write: at commit() little is left to wait for. Only a hint, so a failure is no fault.
    constexpr size_t ahead = size_t{32} << 20;
    if (written_ - flushing_ < ahead) return;
    ::sync_file_range(fd_, static_cast<off64_t>(flushing_), static_cast<off64_t>(written_ - flushing_), SYNC_FILE_RANGE_WRITE);
    flushing_ = written_;
}

void AtomicFile::commit() {
    // Quotas and network file systems report a full disk only at fsync or close: both count as part of writing.
    if (::fsync(fd_) != 0) fail_with_errno("cannot be synced");
    if (::close(std::exchange(fd_, -1)) != 0) fail_with_errno("cannot be closed");
    if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail_with_errno("cannot be put in place");
    temporary_.clear();
    if ((errno = sync_folder(folder_of(target_))) != 0) fail_with_errno("is in place but its folder cannot be synced");
}

void write_file(const fs::path& path, std::span<const std::byte> bytes) {
    AtomicFile file(path);
    file.write(bytes);
    file.commit();
}

void write_file(const fs::path& path, std::string_view text) { write_file(path, std::as_bytes(std::span(text))); }

std::string read_file(const fs::path& path) {
    const ReadOnly file(path);
    // Special files (pipes, /proc) report size 0, so the size is a hint and the end of file decides.
    std::string text(static_cast<size_t>(file.info.st_size) + 1, '\0');
    size_t filled = 0;
    for (;;) {
        if (filled == text.size()) text.resize(text.size() * 2);
        const ssize_t n = ::read(file.fd, text.data() + filled, text.size() - filled);
        if (n < 0 && errno == EINTR) continue;
        ENG_CHECK(n >= 0, "read", path.string(), ": cannot be read: ", errno_text(errno));
        if (n == 0) break;
        filled += static_cast<size_t>(n);
    }
    text.resize(filled);
    return text;
}

MappedFile::MappedFile(const fs::path& path) {
    const ReadOnly file(path);
    size_ = static_cast<size_t>(file.info.st_size);
    if (size_ == 0) return;  // mmap refuses length 0; an empty view is right
    void* const address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd, 0);
    ENG_CHECK(address != MAP_FAILED, "read", path.string(), ": cannot be mapped: ", errno_text(errno));
    data_ = static_cast<std::byte*>(address);
}

MappedFile::~MappedFile() {
    if (data_ != nullptr) ::munmap(data_, size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

}  // namespace eng
