#pragma once
// A fuzz target is a function of bytes that may only end by returning or by an eng::Error.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/error.h"
#include "engine/io/tensor_file.h"

namespace fuzz {

// The bytes as a file, for readers that map files; the same one again and again.
inline std::string file_of(const std::uint8_t* data, std::size_t size) {
    static const int fd = ::memfd_create("fuzz", 0);
    if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, data, size, 0) != ssize_t(size)) __builtin_trap();
    return "/proc/self/fd/" + std::to_string(fd);
}

// Reads every element of every tensor, the odd strides included.
inline void read_all(const std::vector<eng::StoredTensor>& tensors) {
    std::vector<float> block(4096);
    for (const auto& t : tensors) try {
            for (std::int64_t at = 0, n = t.count(); at < n; at += std::int64_t(block.size()))
                eng::copy_as_float(t, at, std::span(block).first(std::size_t(std::min<std::int64_t>(n - at, std::int64_t(block.size())))));
        } catch (const eng::Error&) {
        }
}

}  // namespace fuzz
