#include "engine/io/tensor_file.h"

#include "engine/error.h"
#include "engine/io/json.h"
#include "engine/io/safetensors.h"
#include "engine/io/torch_file.h"
#include "engine/io/zip.h"

namespace eng {
namespace {

TensorInfo as_info(const StoredTensor& t, const std::byte* data, std::int64_t count) {
    return {t.name, t.dtype, {count}, data, std::size_t(count) * safetensors_element_size(t.dtype)};
}

}  // namespace

std::int64_t StoredTensor::count() const {
    std::int64_t n = 1;
    for (const auto extent : shape) n *= extent;
    return n;
}

std::vector<std::int64_t> row_major(const std::vector<std::int64_t>& shape) {
    std::vector<std::int64_t> strides(shape.size(), 1);
    for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
    return strides;
}

bool StoredTensor::contiguous() const {
    const auto plain = row_major(shape);
    for (std::size_t i = 0; i < shape.size(); ++i)
        if (shape[i] > 1 && strides[i] != plain[i]) return false;
    return true;
}

StoredTensor StoredTensor::transposed() const {
    ENG_CHECK(shape.size() == 2, "tensor file", "'", name, "' ", shape_text(shape), " should be a matrix");
    StoredTensor t = *this;
    std::swap(t.shape[0], t.shape[1]), std::swap(t.strides[0], t.strides[1]);
    return t;
}

void copy_as_float(const StoredTensor& t, std::int64_t first, std::span<float> out) {
    const auto size = std::int64_t(safetensors_element_size(t.dtype));
    ENG_CHECK(first >= 0 && first + std::int64_t(out.size()) <= t.count(), "tensor file", "'", t.name, "' has ", t.count(), " elements");
    if (t.contiguous()) return copy_as_float(as_info(t, t.data + first * size, std::int64_t(out.size())), out);
    std::vector<std::int64_t> at(t.shape.size());  // the index of the next element
    std::int64_t rest = first, place = 0;
    for (std::size_t i = at.size(); i-- > 0;) at[i] = rest % t.shape[i], rest /= t.shape[i], place += at[i] * t.strides[i];
    for (float& value : out) {
        copy_as_float(as_info(t, t.data + place * size, 1), {&value, 1});
        for (std::size_t i = at.size(); i-- > 0;) {
            place += t.strides[i];
            if (++at[i] < t.shape[i]) break;
            place -= at[i] * t.strides[i], at[i] = 0;
        }
    }
}

void TensorFile::read_safetensors(const std::filesystem::path& path) {
    const auto& file = *safe_.emplace_back(std::make_shared<const SafeTensors>(SafeTensors::open(path)));
    for (const TensorInfo& t : file.tensors()) tensors_.push_back({t.name, t.dtype, t.shape, row_major(t.shape), t.data});
    for (const auto& [key, value] : file.metadata()) metadata_[key] = value;
}

// {"weight_map": {tensor: file name}}: each shard lies beside the index and holds what the index says.
void TensorFile::read_shards() {
    const std::string file = path_.string();
    const auto json = parse_json_or_discard(read_file(path_));
    ENG_CHECK(json.is_object() && json.contains("weight_map") && json["weight_map"].is_object(), "tensor file", file,
              ": is JSON but no index of safetensors shards (no \"weight_map\")");
    std::map<std::string, std::vector<std::string>> shards;
    for (const auto& [tensor, shard] : json["weight_map"].items()) {
        ENG_CHECK(shard.is_string(), "tensor file", file, ": the shard of '", tensor, "' should be a file name");
        shards[shard].push_back(tensor);
    }
    for (const auto& [shard, names] : shards) {
        ENG_CHECK(!shard.empty() && std::filesystem::path(shard).filename() == shard && shard != "..", "tensor file", file, ": the shard '", shard, "' lies outside of its folder");
        read_safetensors(path_.parent_path() / shard);
        for (const std::string& name : names)
            ENG_CHECK(safe_.back()->find(name), "tensor file", file, ": '", name, "' is not in the shard ", shard);
    }
}

TensorFile TensorFile::open(const std::filesystem::path& path) {
    TensorFile f;
    f.path_ = path;
    MappedFile mapped(path);
    const auto bytes = mapped.bytes();
    // Eight bytes of header length begin a safetensors file; no header is so long that the last of them is not zero.
    const bool text = bytes.size() > 8 && char(bytes[0]) == '{' && bytes[7] != std::byte{0};
    if (is_zip(bytes)) {
        bool script = false;
        f.tensors_ = torch_zip_tensors(bytes, path.string(), script);
        f.container_ = script ? "TorchScript archive" : "PyTorch zip archive";
    } else if (is_torch_legacy(bytes)) {
        f.tensors_ = torch_legacy_tensors(bytes, path.string());
        f.container_ = "PyTorch pickle from before 2020";
    } else if (text) {
        f.read_shards();
        f.container_ = "safetensors in shards";
    } else if (bytes.size() > 8 && char(bytes[8]) == '{') {
        f.read_safetensors(path);
        f.container_ = "safetensors";
    } else {
        fail("tensor file", path.string(), ": is no file of weights: neither safetensors nor PyTorch's (zip or pickle)");
    }
    f.mapped_.push_back(std::move(mapped));
    for (std::size_t i = 0; i < f.tensors_.size(); ++i)
        ENG_CHECK(f.by_name_.emplace(f.tensors_[i].name, i).second, "tensor file", path.string(), ": tensor '", f.tensors_[i].name, "' occurs twice");
    return f;
}

const StoredTensor* TensorFile::find(const std::string& name) const {
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace eng
