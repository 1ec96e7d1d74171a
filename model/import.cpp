#include "model/import.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "engine/io/safetensors.h"

namespace scvd {
namespace {

std::vector<std::int64_t> dims(const eng::Shape& s) { return {s.dim.begin(), s.dim.begin() + s.rank}; }

std::int64_t product(const std::vector<std::int64_t>& shape) {
    std::int64_t n = 1;
    for (const auto d : shape) n *= d;
    return n;
}

bool is_position_table(const std::string& name) { return name == "visual.positional_embedding" || name == "visual.attnpool.positional_embedding"; }

std::string text_of(const eng::Init& i) {
    std::ostringstream s;
    if (i.kind == eng::Init::Kind::normal) s << "drawn with standard deviation " << i.value;
    else if (i.kind == eng::Init::Kind::identity) s << "set to the identity";
    else s << "set to " << i.value;
    return s.str();
}

}  // namespace

Import::Import(const eng::TensorFile& file, const eng::ParamStore& params, Grid image, const ImportOptions& o)
    : file_(file), image_(image), options_(o) {
    const KeyMap map = KeyMap::of(file);
    report_.file = file.path().string(), report_.container = file.container(), report_.naming = map.describe();
    std::vector<std::string> absent;
    for (const eng::Param& p : params.all()) {
        Source s = find(p, map);
        if (s.parts.empty()) {
            report_.missing.push_back({p.name, text_of(p.init)});
            if (p.group == eng::ParamGroup::clip) absent.push_back(map.keys_of(p.name).names[0]);
            continue;
        }
        ++report_.matched, report_.values += p.shape.numel();
        for (const auto& t : s.parts) ++report_.dtypes[t.dtype];
        sources_[p.name] = std::move(s);
    }
    ENG_CHECK(absent.empty(), "import", report_.file, ": lacks ", absent.size(), " tensors of CLIP's encoders, the first is \"", absent[0],
              "\": is it another architecture?");
    if (const auto* t = file.find(map.logit_scale()); t && t->count() == 1) {
        float v = 0;
        eng::copy_as_float(*t, 0, {&v, 1});
        logit_scale_ = v, used_.insert(t->name);
    }
    for (const auto& t : file.tensors())
        if (!used_.count(t.name)) report_.left_over.push_back(t.name);
}

Import::Source Import::find(const eng::Param& p, const KeyMap& map) {
    const auto keys = map.keys_of(p.name);
    Source s;
    std::vector<std::int64_t> shape;
    for (const std::string& key : keys.names) {
        const auto* t = file_.find(key);
        if (!t) return {};
        s.parts.push_back(keys.transposed ? t->transposed() : *t);
        const auto& part = s.parts.back().shape;
        const bool first = shape.empty(), stacks = first || (!part.empty() && std::equal(part.begin() + 1, part.end(), shape.begin() + 1, shape.end()));
        ENG_CHECK(stacks, "import", report_.file, ": \"", key, "\" is ", eng::shape_text(part), " and does not go with \"", keys.names[0], "\" ", eng::shape_text(shape));
        if (first) shape = part;
        else shape[0] += part[0];
        used_.insert(key);
    }
    if (shape == dims(p.shape)) return s;
    ENG_CHECK(is_position_table(p.name) && shape.size() == 2 && shape[1] == p.shape[1], "import", report_.file, ": \"", keys.names[0], "\" is ",
              eng::shape_text(shape), ", \"", p.name, "\" of this model wants ", eng::shape_text(dims(p.shape)));
    fit_positions(s, p);
    return s;
}

// Another picture size: the table's own grid is taken to be square, as every published one is.
void Import::fit_positions(Source& s, const eng::Param& p) {
    const eng::StoredTensor& t = s.parts[0];
    const int side = int(std::lround(std::sqrt(double(t.shape[0] - 1))));
    ENG_CHECK(std::int64_t(side) * side == t.shape[0] - 1, "import", report_.file, ": \"", t.name, "\" is ", eng::shape_text(t.shape), ", this model wants ",
              eng::shape_text(dims(p.shape)), "; only tables of square pictures can be resized");
    std::vector<float> table(std::size_t(product(t.shape)));
    eng::copy_as_float(t, 0, table);
    s.values = resize_positions(table, {side, side}, image_, int(p.shape[1]), options_.positions);
    report_.resized.push_back({p.name, std::to_string(side) + "x" + std::to_string(side), std::to_string(image_.height) + "x" + std::to_string(image_.width)});
}

std::span<const std::byte> Import::in_place(const eng::Param& p) const {
    const auto it = sources_.find(p.name);
    if (it == sources_.end() || !it->second.values.empty() || it->second.parts.size() != 1) return {};
    const eng::StoredTensor& t = it->second.parts[0];
    if (t.dtype != "F32" || !t.contiguous() || std::uintptr_t(t.data) % alignof(float) != 0) return {};
    const std::span<const float> values(reinterpret_cast<const float*>(t.data), std::size_t(t.count()));
    check_finite(p, 0, values);
    return std::as_bytes(values);
}

void Import::read(const eng::Param& p, std::int64_t first, std::span<float> out) const {
    const Source& s = sources_.at(p.name);
    if (!s.values.empty()) {
        std::copy_n(s.values.begin() + first, out.size(), out.begin());
    } else {
        std::int64_t begin = 0, wanted = first;  // of the part, and what comes next
        for (const auto& part : s.parts) {
            const std::int64_t end = begin + part.count(), n = std::min(end, first + std::int64_t(out.size())) - wanted;
            if (wanted >= begin && n > 0) {
                eng::copy_as_float(part, wanted - begin, out.subspan(std::size_t(wanted - first), std::size_t(n)));
                wanted += n;
            }
            begin = end;
        }
    }
    check_finite(p, first, out);
}

void Import::check_finite(const eng::Param& p, std::int64_t first, std::span<const float> values) const {
    for (std::size_t block = 0; block < values.size(); block += 4096) {
        const auto part = values.subspan(block, std::min<std::size_t>(4096, values.size() - block));
        float zero = 0;  // 0 x finite = 0, and NaN for what is not: a sum that vectorises
#pragma omp simd reduction(+ : zero)
        for (std::size_t i = 0; i < part.size(); ++i) zero += 0 * part[i];
        if (zero == 0) continue;
        for (std::size_t i = 0; i < part.size(); ++i)
            ENG_CHECK(std::isfinite(part[i]), "import", report_.file, ": \"", sources_.at(p.name).parts[0].name, "\" holds ", part[i], " at element ",
                      first + std::int64_t(block + i), ": these weights are broken");
    }
}

std::string describe(const Import::Report& r) {
    std::ostringstream s;
    s << r.file << ": " << r.container << ", " << r.naming << "\n  matched    " << r.matched << " parameters, " << r.values << " values (";
    for (const auto& [dtype, n] : r.dtypes) s << (dtype == r.dtypes.begin()->first ? "" : ", ") << n << " tensors " << dtype;
    s << ")\n";
    for (const auto& x : r.resized) s << "  resized    " << x.parameter << " from " << x.from << " to " << x.to << "\n";
    constexpr std::size_t shown = 8;
    const auto list = [&](const char* head, std::size_t n, auto&& line) {
        s << "  " << head << n << "\n";
        for (std::size_t i = 0; i < std::min(n, shown); ++i) s << "             " << line(i) << "\n";
        if (n > shown) s << "             and " << n - shown << " more\n";
    };
    list("missing    ", r.missing.size(), [&](std::size_t i) { return r.missing[i].parameter + " (" + r.missing[i].start + ")"; });
    list("left over  ", r.left_over.size(), [&](std::size_t i) { return r.left_over[i]; });
    return s.str();
}

}  // namespace scvd
