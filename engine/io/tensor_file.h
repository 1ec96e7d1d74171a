#pragma once
// Tensors in a file, whatever program wrote it: safetensors (one file, or shards behind an index), PyTorch's zip archives
// (torch.save, TorchScript), PyTorch's older bare pickles. Which one it is, is read from its bytes, not from its name.
// Files are mapped and read in place: opening costs no memory for weights, whatever their size.
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/io/file.h"

namespace eng {

// A tensor as it lies in its file. Element (i, j, ..) is at data + size * (i strides[0] + j strides[1] + ..).
struct StoredTensor {
    std::string name;                      // path through dictionaries and modules, "model.visual.conv1.weight"
    std::string dtype;                     // as safetensors names them: "F32", "F16", "BF16", "I64", ...
    std::vector<std::int64_t> shape, strides;
    const std::byte* data = nullptr;       // valid while the TensorFile lives; may be unaligned

    std::int64_t count() const;
    bool contiguous() const;
    StoredTensor transposed() const;       // of a matrix: the same bytes, read the other way
};

std::vector<std::int64_t> row_major(const std::vector<std::int64_t>& shape);  // strides

// Elements first .. first + out.size() - 1, counted row by row, as float (F64 is rounded; integers are an error).
void copy_as_float(const StoredTensor& tensor, std::int64_t first, std::span<float> out);

class TensorFile {
public:
    // Errors are one sentence naming the file and the fault; every offset, size and name is checked here, so that reading
    // tensors later cannot leave the file.
    static TensorFile open(const std::filesystem::path& path);

    const std::string& container() const { return container_; }  // for people: "TorchScript archive"
    const std::filesystem::path& path() const { return path_; }
    const std::vector<StoredTensor>& tensors() const { return tensors_; }
    const StoredTensor* find(const std::string& name) const;     // nullptr when absent
    const std::map<std::string, std::string>& metadata() const { return metadata_; }  // of safetensors

private:
    void read_safetensors(const std::filesystem::path& path);
    void read_shards();

    std::filesystem::path path_;
    std::string container_;
    std::vector<StoredTensor> tensors_;
    std::map<std::string, std::size_t> by_name_;
    std::map<std::string, std::string> metadata_;
    std::deque<MappedFile> mapped_;       // what the tensors point into
    std::vector<std::shared_ptr<const class SafeTensors>> safe_;  // the same, for the format that maps its files itself
};

}  // namespace eng
