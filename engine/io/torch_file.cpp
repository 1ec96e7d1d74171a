#include "engine/io/torch_file.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "engine/error.h"
#include "engine/io/pickle.h"
#include "engine/io/safetensors.h"
#include "engine/io/zip.h"

namespace eng {
namespace {

using Bytes = std::span<const std::byte>;
using Kind = PickleValue::Kind;

// "torch FloatStorage" (a storage class) or "torch float32" (a dtype) as safetensors' name; "" for what is neither.
std::string dtype_of(const std::string& global) {
    static const std::map<std::string, std::string> names = {
        {"FloatStorage", "F32"}, {"HalfStorage", "F16"}, {"BFloat16Storage", "BF16"}, {"DoubleStorage", "F64"}, {"LongStorage", "I64"},
        {"IntStorage", "I32"}, {"ShortStorage", "I16"}, {"CharStorage", "I8"}, {"ByteStorage", "U8"}, {"BoolStorage", "BOOL"},
        {"float32", "F32"}, {"float16", "F16"}, {"bfloat16", "BF16"}, {"float64", "F64"}, {"int64", "I64"}, {"int32", "I32"},
        {"int16", "I16"}, {"int8", "I8"}, {"uint8", "U8"}, {"bool", "BOOL"}};
    if (!global.starts_with("torch ")) return "";
    const auto it = names.find(global.substr(6));
    return it == names.end() ? "" : it->second;
}

// Finds tensors in the tree of a pickle and gives them the path that leads there.
class Collector {
public:
    using FindStorage = std::function<Bytes(const std::string& key, const PickleValue& id)>;
    Collector(const std::string& file, FindStorage find) : file_(file), find_(std::move(find)) {}

    std::vector<StoredTensor> collect(const PickleValue& root) {
        walk(root, "");
        return std::move(tensors_);
    }

private:
    void walk(const PickleValue& v, const std::string& path) {
        // Trees may hold the same branch many times, or themselves: neither is what a file of weights looks like.
        ENG_CHECK(++visits_ < 1'000'000 && depth_ < 64, "torch file", file_, ": '", path.substr(0, 120), "' is nested too deeply");
        ++depth_;
        if (v.is(Kind::call)) call(v, path);
        if (v.is(Kind::dict)) pairs(v.items, path);
        if (v.is(Kind::object)) {
            pairs(v.extra, path);
            if (v.state) walk(*v.state, path);
        }
        if (v.is(Kind::list) || v.is(Kind::tuple))
            for (std::size_t i = 0; i < v.items.size(); ++i) walk(*v.items[i], join(path, std::to_string(i)));
        --depth_;
    }
    void pairs(const std::vector<PickleValue*>& items, const std::string& path) {
        for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
            const PickleValue& key = *items[i];
            if (key.is(Kind::text)) walk(*items[i + 1], is_internal(key.text) ? path : join(path, key.text));
            if (key.is(Kind::integer)) walk(*items[i + 1], join(path, std::to_string(key.integer)));
        }
    }
    // A pickled module keeps its tensors in these dictionaries, which state_dict() leaves out of the names.
    static bool is_internal(const std::string& key) { return key == "_parameters" || key == "_buffers" || key == "_modules"; }
    static std::string join(const std::string& path, const std::string& key) { return path.empty() ? key : path + "." + key; }

    void call(const PickleValue& v, const std::string& path) {
        const std::string& name = v.callee->text;
        if (name.starts_with("torch._utils _rebuild_tensor")) {
            add(v, path);
        } else if (!v.items.empty() && (name.starts_with("torch._utils _rebuild_parameter") || name == "torch.jit._pickle restore_type_tag")) {
            walk(*v.items[0], path);
        } else {
            pairs(v.extra, path);
            if (v.state) walk(*v.state, path);
        }
    }

    // _rebuild_tensor_v2(storage, offset, shape, strides, ..); _v3 has the dtype as its seventh argument.
    void add(const PickleValue& v, const std::string& path) {
        const auto want = [&](bool ok, const char* what) { ENG_CHECK(ok, "torch file", file_, ": tensor '", path, "' ", what); };
        const auto& a = v.items;
        want(a.size() >= 4 && a[0]->is(Kind::persistent) && a[1]->is(Kind::integer) && a[2]->is(Kind::tuple) && a[3]->is(Kind::tuple), "is described in an unknown way");
        const PickleValue& id = *a[0]->callee;
        want(id.is(Kind::tuple) && id.items.size() >= 5 && id.items[1]->is(Kind::global) && id.items[2]->is(Kind::text), "names its storage in an unknown way");
        StoredTensor t;
        t.name = path;
        const bool v3 = v.callee->text.ends_with("_v3") && a.size() >= 7 && a[6]->is(Kind::global);
        t.dtype = dtype_of(v3 ? a[6]->text : id.items[1]->text);
        if (t.dtype.empty()) return;  // complex, quantised: not weights of ours
        for (const PickleValue* e : a[2]->items) t.shape.push_back(e->integer);
        for (const PickleValue* e : a[3]->items) t.strides.push_back(e->integer);
        want(t.shape.size() == t.strides.size() && t.shape.size() <= 8, "has a shape and strides that do not fit");
        place(t, find_(id.items[2]->text, id), a[1]->integer);
        tensors_.push_back(std::move(t));
    }
    void place(StoredTensor& t, Bytes storage, std::int64_t offset) const {
        const auto size = std::int64_t(safetensors_element_size(t.dtype));
        std::int64_t last = offset, count = 1;  // the element furthest into the storage; all products checked
        bool ok = offset >= 0;
        for (std::size_t i = 0; ok && i < t.shape.size(); ++i) {
            std::int64_t reach = 0;
            ok = t.shape[i] >= 0 && t.strides[i] >= 0 && !__builtin_mul_overflow(count, t.shape[i], &count) &&
                 !__builtin_mul_overflow(std::max<std::int64_t>(0, t.shape[i] - 1), t.strides[i], &reach) && !__builtin_add_overflow(last, reach, &last);
        }
        const std::int64_t has = std::int64_t(storage.size()) / size;
        // Strides of 0 make a large tensor of a small storage; a weight is never stored so.
        ENG_CHECK(ok && (count == 0 || (last < has && count <= has)), "torch file", file_, ": tensor '", t.name, "' ", t.dtype, " ",
                  shape_text(t.shape), " with strides ", shape_text(t.strides), " at element ", offset, " leaves its storage of ", has, " elements");
        t.data = count == 0 ? storage.data() : storage.data() + offset * size;
    }

    const std::string& file_;
    FindStorage find_;
    std::vector<StoredTensor> tensors_;
    int visits_ = 0, depth_ = 0;
};

// The numbers that the first two pickles of a bare file hold.
constexpr std::string_view legacy_magic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e", 15);

std::string storage_key(const PickleValue& v) { return v.is(Kind::integer) ? std::to_string(v.integer) : v.text; }

// Storages follow the pickles in the order of `keys`, each behind its number of elements; only the tree knows their types.
std::map<std::string, Bytes> legacy_storages(Bytes rest, const std::string& file, const Pickle& tree, const PickleValue& keys) {
    std::map<std::string, std::uint64_t> element_size;
    for (const PickleValue& v : tree.values())
        if (v.is(Kind::persistent) && v.callee->is(Kind::tuple) && v.callee->items.size() >= 3 && v.callee->items[1]->is(Kind::global))
            element_size[storage_key(*v.callee->items[2])] = safetensors_element_size(dtype_of(v.callee->items[1]->text));
    std::map<std::string, Bytes> storages;
    for (const PickleValue* k : keys.items) {
        const std::string key = storage_key(*k);
        std::uint64_t count = 0, size = element_size[key], length = 0;
        ENG_CHECK(size > 0, "torch file", file, ": storage '", key, "' is of an unknown type");
        ENG_CHECK(rest.size() >= 8, "torch file", file, ": is cut short before storage '", key, "'");
        std::memcpy(&count, rest.data(), 8);
        rest = rest.subspan(8);
        ENG_CHECK(!__builtin_mul_overflow(count, size, &length) && length <= rest.size(), "torch file", file, ": is cut short: storage '", key,
                  "' wants ", count, " elements of ", size, " bytes, ", rest.size(), " bytes are left");
        storages[key] = rest.first(length);
        rest = rest.subspan(length);
    }
    return storages;
}

}  // namespace

std::vector<StoredTensor> torch_zip_tensors(Bytes bytes, const std::string& file, bool& script) {
    const auto entries = zip_entries(bytes, file);
    std::string top;
    for (const auto& [name, data] : entries)
        if (const auto slash = name.find('/'); slash != std::string::npos && name.substr(slash + 1) == "data.pkl") top = name.substr(0, slash + 1);
    ENG_CHECK(!top.empty(), "torch file", file, ": is a zip archive without an uncompressed data.pkl: not written by PyTorch");
    const auto read = [&](const std::string& pickle, const std::string& folder) {
        const Pickle p(entries.at(top + pickle), file + "/" + pickle);
        return Collector(file, [&](const std::string& key, const PickleValue&) {
            const auto it = entries.find(top + folder + "/" + key);
            ENG_CHECK(it != entries.end(), "torch file", file, ": storage '", folder, "/", key, "' is not in the archive, or is compressed");
            return it->second;
        }).collect(p.root());
    };
    if (const auto order = entries.find(top + "byteorder"); order != entries.end())
        ENG_CHECK(order->second.size() == 6 && std::memcmp(order->second.data(), "little", 6) == 0, "torch file", file, ": holds big-endian numbers");
    script = entries.count(top + "constants.pkl") > 0;
    auto tensors = read("data.pkl", "data");
    if (script)
        for (StoredTensor& t : read("constants.pkl", "constants")) {
            t.name = "constants." + t.name;
            tensors.push_back(std::move(t));
        }
    return tensors;
}

bool is_torch_legacy(Bytes bytes) { return bytes.size() >= legacy_magic.size() && std::memcmp(bytes.data(), legacy_magic.data(), legacy_magic.size()) == 0; }

std::vector<StoredTensor> torch_legacy_tensors(Bytes bytes, const std::string& file) {
    std::size_t at = 0;
    const auto next = [&] {
        Pickle p(bytes.subspan(at), file);
        at += p.size();
        return p;
    };
    next();  // the magic number, checked by whoever calls
    const Pickle protocol = next();
    ENG_CHECK(protocol.root().integer == 1001, "torch file", file, ": is of the unknown legacy protocol ", protocol.root().integer);
    const Pickle system = next(), tree = next(), keys = next();
    if (const PickleValue* little = system.root().get("little_endian")) ENG_CHECK(little->integer == 1, "torch file", file, ": holds big-endian numbers");
    const auto storages = legacy_storages(bytes.subspan(at), file, tree, keys.root());
    return Collector(file, [&](const std::string& key, const PickleValue&) {
        const auto it = storages.find(key);
        ENG_CHECK(it != storages.end(), "torch file", file, ": storage '", key, "' is not in it");
        return it->second;
    }).collect(tree.root());
}

}  // namespace eng
