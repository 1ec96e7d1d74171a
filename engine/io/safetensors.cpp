#include "engine/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <set>

#include "engine/error.h"
#include "engine/io/json.h"

namespace eng {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little endian and is used in place");

constexpr size_t length_field = 8;
constexpr size_t alignment = 64;
constexpr size_t header_limit = 100'000'000;  // the reference reader's own limit
constexpr const char* metadata_key = "__metadata__";

// Bytes that a tensor of this shape needs; nothing when an extent is negative or the product overflows.
std::optional<size_t> bytes_of(const std::vector<int64_t>& shape, size_t element) {
    uint64_t bytes = element;
    for (const int64_t extent : shape)
        if (extent < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes)) return {};
    return bytes;
}

// A piece of the header for an error message, not more than a line of it.
std::string brief(const Json& json) {
    const std::string text = json_text(json);
    return text.size() <= 80 ? text : text.substr(0, 77) + "...";
}

// Everything that is checked while a file is opened, with the file's name for the messages.
class Header {
public:
    Header(const std::string& file, std::span<const std::byte> bytes) : file_(file), bytes_(bytes) {}

    // The JSON header; data_ is set to the bytes that follow it.
    Json parse() {
        ENG_CHECK(bytes_.size() >= length_field, "safetensors", file_, ": is cut short: the header length needs ",
                  length_field, " bytes, the file has ", bytes_.size());
        uint64_t length = 0;
        std::memcpy(&length, bytes_.data(), length_field);
        ENG_CHECK(length <= header_limit, "safetensors", file_, ": is not a safetensors file: its first ", length_field,
                  " bytes give a header of ", length, " bytes, the limit is ", header_limit);
        ENG_CHECK(length <= bytes_.size() - length_field, "safetensors", file_, ": is cut short: the header needs ",
                  length_field + length, " bytes, the file has ", bytes_.size());
        const auto* text = reinterpret_cast<const char*>(bytes_.data()) + length_field;
        data_ = bytes_.subspan(length_field + length);
        return parse_json(text, text + length);
    }

    TensorInfo tensor(const std::string& name, const Json& entry) const {
        ENG_CHECK(
            entry.is_object() && entry.contains("dtype") && entry.contains("shape") && entry.contains("data_offsets"),
            "safetensors", where(name), "needs dtype, shape and data_offsets, got ", brief(entry));
        ENG_CHECK(entry["dtype"].is_string(), "safetensors", where(name), "dtype is ", brief(entry["dtype"]));
        TensorInfo info{name, entry["dtype"], integers(name, entry, "shape"), nullptr, 0};
        const size_t element = safetensors_element_size(info.dtype);
        ENG_CHECK(element != 0, "safetensors", where(name), "unknown dtype '", info.dtype, "'");

        const std::vector<int64_t> offsets = integers(name, entry, "data_offsets");
        ENG_CHECK(offsets.size() == 2 && offsets[0] <= offsets[1], "safetensors", where(name),
                  "data_offsets must be [begin, end], got ", shape_text(offsets));
        info.bytes = static_cast<size_t>(offsets[1] - offsets[0]);
        const auto wanted = bytes_of(info.shape, element);
        ENG_CHECK(wanted && *wanted == info.bytes, "safetensors", where(name), info.dtype, " ", shape_text(info.shape),
                  " wants ", wanted ? std::to_string(*wanted) : "more than 2^64", " bytes, its data_offsets give ",
                  info.bytes);
        const auto end = static_cast<size_t>(offsets[1]);
        ENG_CHECK(end <= data_.size(), "safetensors", where(name), "the file is cut short: the tensor ends at byte ",
                  file_offset(end), ", the file has ", bytes_.size());
        info.data = data_.data() + offsets[0];
        return info;
    }

    SafeTensors::Metadata metadata(const Json& entry) const {
        ENG_CHECK(entry.is_object(), "safetensors", where(metadata_key), "must be an object, got ", brief(entry));
        SafeTensors::Metadata metadata;
        for (const auto& [key, value] : entry.items()) {
            ENG_CHECK(value.is_string(), "safetensors", where(metadata_key), "'", key, "' must be a string, got ",
                      brief(value));
            metadata[key] = value;
        }
        return metadata;
    }

    // The format allows neither overlaps nor gaps: both are signs of a damaged or a hostile file.
    void check_layout(const std::vector<TensorInfo>& by_offset) const {
        const std::byte* expected = data_.data();
        for (const TensorInfo& info : by_offset) {
            ENG_CHECK(info.data == expected, "safetensors", where(info.name), "starts at byte ",
                      file_offset(static_cast<size_t>(info.data - data_.data())), ", but the data before it ends at ",
                      file_offset(static_cast<size_t>(expected - data_.data())));
            expected += info.bytes;
        }
        ENG_CHECK(expected == data_.data() + data_.size(), "safetensors", file_, ": its tensors end at byte ",
                  file_offset(static_cast<size_t>(expected - data_.data())), ", the file has ", bytes_.size());
    }

private:
    std::string where(const std::string& name) const { return file_ + ": '" + name + "': "; }
    size_t file_offset(size_t in_data) const { return bytes_.size() - data_.size() + in_data; }

    // nlohmann keeps the last of two equal keys; a second tensor of the same name must be an error instead.
    Json parse_json(const char* begin, const char* end) const {
        std::set<std::string> seen;
        const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
            ENG_CHECK(depth <= 3, "safetensors", file_, ": its header nests deeper than the format does");
            if (depth == 1 && event == Json::parse_event_t::key)
                ENG_CHECK(seen.insert(parsed.get<std::string>()).second, "safetensors", where(parsed),
                          "appears twice in the header");
            return true;
        };
        try {
            Json header = eng::parse_json({begin, end}, watch);
            ENG_CHECK(header.is_object(), "safetensors", file_, ": its header is not a JSON object");
            return header;
        } catch (const Json::exception& e) { fail("safetensors", file_, ": its header is not valid JSON: ", reason(e)); }
    }

    std::vector<int64_t> integers(const std::string& name, const Json& entry, const char* key) const {
        const Json& list = entry[key];
        std::vector<int64_t> values;
        ENG_CHECK(list.is_array(), "safetensors", where(name), key, " must be a list, got ", brief(list));
        for (const Json& item : list) {
            constexpr auto limit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
            ENG_CHECK(item.is_number_unsigned() && item.get<uint64_t>() <= limit, "safetensors", where(name), key,
                      " must hold whole numbers >= 0, got ", brief(list));
            values.push_back(item);
        }
        return values;
    }

    const std::string file_;
    std::span<const std::byte> bytes_, data_;
};

// Largest elements first, so that every tensor of an aligned data part is itself aligned.
std::vector<const TensorToWrite*> layout(const std::vector<TensorToWrite>& tensors) {
    std::vector<const TensorToWrite*> order;
    for (const TensorToWrite& tensor : tensors) order.push_back(&tensor);
    std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
        return safetensors_element_size(a->dtype) > safetensors_element_size(b->dtype);
    });
    return order;
}

std::string header_text(const std::string& file, const std::vector<const TensorToWrite*>& order,
                        const SafeTensors::Metadata& metadata) {
    Json header = Json::object();
    if (!metadata.empty()) header[metadata_key] = metadata;
    size_t offset = 0;
    for (const TensorToWrite* tensor : order) {
        const auto wanted = bytes_of(tensor->shape, safetensors_element_size(tensor->dtype));
        ENG_CHECK(wanted && *wanted == tensor->bytes && safetensors_element_size(tensor->dtype) != 0, "safetensors",
                  file, ": '", tensor->name, "': ", tensor->dtype, " ", shape_text(tensor->shape),
                  " does not describe ", tensor->bytes, " bytes");
        ENG_CHECK(!header.contains(tensor->name) && tensor->name != metadata_key, "safetensors", file, ": '",
                  tensor->name, "': the name is taken");
        header[tensor->name] = {
            {"dtype", tensor->dtype}, {"shape", tensor->shape}, {"data_offsets", {offset, offset + tensor->bytes}}};
        offset += tensor->bytes;
    }
    std::string text;
    try {
        text = json_text(header);
    } catch (const Json::exception& e) {
        fail("safetensors", file, ": a name or the metadata is not valid UTF-8: ", reason(e));
    }
    while ((length_field + text.size()) % alignment != 0) text += ' ';
    return text;
}

float half_to_float(uint16_t half) {
    const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
    const uint32_t exponent = (half >> 10) & 31u, fraction = half & 1023u;
    if (exponent == 0) {  // zero and subnormals: fraction * 2^-24, exact in float
        const float magnitude = std::ldexp(static_cast<float>(fraction), -24);
        return sign ? -magnitude : magnitude;
    }
    const uint32_t bits = exponent == 31 ? 0x7f800000u : (exponent + 112u) << 23;
    return std::bit_cast<float>(sign | bits | (fraction << 13));
}

template <class Stored, class Convert>
void convert(const std::byte* from, std::span<float> out, Convert to_float) {
    for (size_t i = 0; i < out.size(); ++i) {
        Stored value;  // memcpy: tensors of a foreign file need not be aligned
        std::memcpy(&value, from + i * sizeof value, sizeof value);
        out[i] = to_float(value);
    }
}

}  // namespace

size_t safetensors_element_size(std::string_view dtype) {
    static constexpr std::pair<std::string_view, size_t> sizes[] = {
        {"F64", 8}, {"I64", 8}, {"U64", 8}, {"F32", 4}, {"I32", 4}, {"U32", 4}, {"BF16", 2},
        {"F16", 2}, {"I16", 2}, {"U16", 2}, {"I8", 1},  {"U8", 1},  {"BOOL", 1}};
    for (const auto& [name, size] : sizes)
        if (name == dtype) return size;
    return 0;
}

std::string shape_text(const std::vector<int64_t>& shape) {
    std::string text = "[";
    for (size_t i = 0; i < shape.size(); ++i) text += (i ? "," : "") + std::to_string(shape[i]);
    return text + "]";
}

int64_t TensorInfo::count() const { return static_cast<int64_t>(bytes / safetensors_element_size(dtype)); }

void copy_as_float(const TensorInfo& tensor, std::span<float> out) {
    ENG_CHECK(tensor.count() == static_cast<int64_t>(out.size()), "safetensors", "'", tensor.name, "' ",
              shape_text(tensor.shape), " has ", tensor.count(), " elements, wanted ", out.size());
    if (tensor.dtype == "F32") {
        if (!out.empty()) std::memcpy(out.data(), tensor.data, tensor.bytes);
    } else if (tensor.dtype == "F64") {
        convert<double>(tensor.data, out, [](double v) { return static_cast<float>(v); });
    } else if (tensor.dtype == "BF16") {
        convert<uint16_t>(tensor.data, out, [](uint32_t v) { return std::bit_cast<float>(v << 16); });
    } else if (tensor.dtype == "F16") {
        convert<uint16_t>(tensor.data, out, half_to_float);
    } else {
        fail("safetensors", "'", tensor.name, "' is ", tensor.dtype, ", wanted F32, F64, BF16 or F16");
    }
}

SafeTensors SafeTensors::open(const std::filesystem::path& path) {
    SafeTensors opened(path, MappedFile(path));
    Header header(path.string(), opened.file_.bytes());
    const Json json = header.parse();
    for (const auto& [name, entry] : json.items()) {
        if (name == metadata_key)
            opened.metadata_ = header.metadata(entry);
        else
            opened.tensors_.push_back(header.tensor(name, entry));
    }
    std::stable_sort(opened.tensors_.begin(), opened.tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
        return std::pair(a.data, a.bytes) < std::pair(b.data, b.bytes);  // an empty tensor precedes its neighbour
    });
    header.check_layout(opened.tensors_);
    for (size_t i = 0; i < opened.tensors_.size(); ++i) opened.by_name_[opened.tensors_[i].name] = i;
    return opened;
}

const TensorInfo* SafeTensors::find(std::string_view name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

const TensorInfo& SafeTensors::at(std::string_view name) const {
    const TensorInfo* found = find(name);
    ENG_CHECK(found != nullptr, "safetensors", path_.string(), ": has no tensor '", name, "' (it has ", tensors_.size(),
              " others)");
    return *found;
}

std::vector<std::string> SafeTensors::names() const {
    std::vector<std::string> names;
    for (const TensorInfo& info : tensors_) names.push_back(info.name);
    return names;
}

void write_safetensors(const std::filesystem::path& path, const std::vector<TensorToWrite>& tensors,
                       const SafeTensors::Metadata& metadata) {
    const std::vector<const TensorToWrite*> order = layout(tensors);
    const std::string header = header_text(path.string(), order, metadata);
    const uint64_t length = header.size();
    AtomicFile file(path);
    file.write(std::as_bytes(std::span(&length, 1)));
    file.write(header);
    for (const TensorToWrite* tensor : order) {
        const size_t before = file.written();
        if (tensor->write) tensor->write(file);
        else file.write({static_cast<const std::byte*>(tensor->data), tensor->bytes});
        ENG_CHECK(file.written() - before == tensor->bytes, "safetensors", path.string(), ": '", tensor->name, "' was announced with ",
                  tensor->bytes, " bytes, ", file.written() - before, " were written");
    }
    file.commit();
}

}  // namespace eng
