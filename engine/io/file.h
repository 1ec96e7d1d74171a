#pragma once
// Files as the rest of the program needs them: read whole, mapped, or written so that a reader never sees half of one.
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace eng {

// A file that appears under its name complete or not at all. Bytes go to a temporary file in the same folder;
// commit() syncs it, renames it over `target` and syncs the folder, so that after a crash or power cut the name holds
// either the old content or the new. Without commit() (an exception, say) the temporary file is removed.
// Every failure is an Error that names the target and the system's reason ("No space left on device").
class AtomicFile {
public:
    explicit AtomicFile(std::filesystem::path target);
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    void write(std::span<const std::byte> bytes);
    void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
    void commit();
    size_t written() const { return written_; }  // bytes so far

private:
    [[noreturn]] void fail_with_errno(const char* doing) const;

    std::filesystem::path target_, temporary_;
    int fd_ = -1;
    size_t written_ = 0, flushing_ = 0;  // bytes handed to the system, and of these to the disk
};

// Replaces `path` atomically by `bytes`.
void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file(const std::filesystem::path& path, std::string_view text);

// The whole file. Error when it is absent, a folder or unreadable.
std::string read_file(const std::filesystem::path& path);

// A read-only view of a file's bytes, unmapped when the object goes. Moves keep data() valid.
class MappedFile {
public:
    explicit MappedFile(const std::filesystem::path& path);
    ~MappedFile();
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;

    const std::byte* data() const { return data_; }
    size_t size() const { return size_; }
    std::span<const std::byte> bytes() const { return {data_, size_}; }

private:
    std::byte* data_ = nullptr;
    size_t size_ = 0;
};

}  // namespace eng
