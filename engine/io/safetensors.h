#pragma once
// The safetensors container: 8 bytes of header length (little endian), a JSON header {name: {dtype, shape,
// data_offsets}, "__metadata__": {text: text}}, then the tensors' bytes, row-major, without gaps.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/file.h"

namespace eng {

// Bytes per element of a safetensors dtype name ("F32" -> 4); 0 for a name that is not known.
size_t safetensors_element_size(std::string_view dtype);

std::string shape_text(const std::vector<int64_t>& shape);  // "[768,3,16,16]"

struct TensorInfo {
    std::string name;
    std::string dtype;                // "F32", "F64", "BF16", "F16", "I32", "I64", "U8", ...
    std::vector<int64_t> shape;       // empty for a scalar
    const std::byte* data = nullptr;  // into the mapped file; valid while the SafeTensors lives; may be unaligned
    size_t bytes = 0;

    int64_t count() const;  // number of elements
};

// Copies a F32, F64, BF16 or F16 tensor into `out` as float (F64 is rounded). Error when dtype or count do not fit.
void copy_as_float(const TensorInfo& tensor, std::span<float> out);

// An opened file. All of the header is checked on opening: every offset, size, shape and name, so that later reads
// cannot leave the file. A file cut short fails with a tensor that it lacks, the bytes wanted and the bytes there.
class SafeTensors {
public:
    using Metadata = std::map<std::string, std::string>;

    static SafeTensors open(const std::filesystem::path& path);

    const TensorInfo* find(std::string_view name) const;                 // nullptr when absent
    const TensorInfo& at(std::string_view name) const;                   // Error naming file and key when absent
    const std::vector<TensorInfo>& tensors() const { return tensors_; }  // in the order of their bytes
    std::vector<std::string> names() const;
    const Metadata& metadata() const { return metadata_; }
    const std::filesystem::path& path() const { return path_; }

private:
    SafeTensors(const std::filesystem::path& path, MappedFile file) : path_(path), file_(std::move(file)) {}

    std::filesystem::path path_;
    MappedFile file_;
    std::vector<TensorInfo> tensors_;
    std::map<std::string, size_t, std::less<>> by_name_;
    Metadata metadata_;
};

struct TensorToWrite {
    std::string name;
    std::string dtype;
    std::vector<int64_t> shape;
    const void* data = nullptr;
    size_t bytes = 0;
    std::function<void(AtomicFile&)> write{};  // when set: writes the `bytes` bytes itself, piece by piece, and data is unused
};

// Writes the tensors atomically (see AtomicFile), straight from their memory. The data part starts at a multiple of 64
// bytes and tensors are laid out by falling element size, so that each is aligned for its type when the file is mapped.
void write_safetensors(const std::filesystem::path& path, const std::vector<TensorToWrite>& tensors,
                       const SafeTensors::Metadata& metadata = {});

}  // namespace eng
