#include "engine/params.h"

#include <algorithm>

#include "engine/parallel.h"
#include "engine/rng.h"
#include "engine/transfer.h"

namespace eng {
namespace {

double start_value(const Param& p, std::uint64_t seed, std::uint64_t stream, std::int64_t i) {
    const std::int64_t d = p.shape.cols();
    switch (p.init.kind) {
        case Init::Kind::constant: return p.init.value;
        case Init::Kind::normal: return p.init.value * normal(seed, stream, std::uint64_t(i));
        default: return i / d % d == i % d ? p.init.value : 0;
    }
}

}  // namespace

Param* ParamStore::add(const std::string& name, Shape shape, Init init, ParamGroup group, bool decay) {
    const std::string path = scope_path();
    Param p;
    p.name = path.empty() ? name : path + "." + name;
    ENG_CHECK(!master.defined(), "parameters", p.name, " was declared after finalize()");
    ENG_CHECK(!find(p.name), "parameters", p.name, " was declared twice");
    p.shape = shape;
    p.init = init;
    p.group = group;
    p.decay = decay;
    params_.push_back(std::move(p));
    return &params_.back();
}

Param* ParamStore::find(const std::string& name) {
    auto it = std::find_if(params_.begin(), params_.end(), [&](const Param& p) { return p.name == name; });
    return it == params_.end() ? nullptr : &*it;
}

std::int64_t ParamStore::numel() const {
    std::int64_t n = 0;
    for (const Param& p : params_) n += p.shape.numel();
    return n;
}

void ParamStore::finalize(std::uint64_t seed) {
    constexpr std::int64_t align = 128;  // elements: 256 bytes of bf16
    std::int64_t total = 0;
    for (Param& p : params_) {
        p.offset = total;
        total += (p.shape.numel() + align - 1) / align * align;
    }
    master = Tensor(arena_, {total}, master_dtype());
    grad = Tensor(arena_, {total}, master_dtype());
    compute = compute_ == master_dtype() ? master : Tensor(arena_, {total}, compute_);
    fill_zero(master);
    zero_grad();
    for (Param& p : params_) {
        const std::int64_t n = p.shape.numel();
        p.master = master.slice(p.offset, n).view(p.shape);
        p.grad = grad.slice(p.offset, n).view(p.shape);
        p.compute = compute.slice(p.offset, n).view(p.shape);
        const std::uint64_t stream = stream_of(p.name);
        dispatch_float(master_dtype(), "parameters", [&](auto tag) {
            std::vector<decltype(tag)> w(static_cast<std::size_t>(n));
            parallel_for(n, 4096, [&](std::int64_t first, std::int64_t last) {
                for (std::int64_t i = first; i < last; ++i) w[std::size_t(i)] = decltype(tag)(start_value(p, seed, stream, i));
            });
            write_host(p.master, w.data());
        });
    }
    refresh_compute();
}

void ParamStore::keep_masters(std::int64_t first, std::int64_t n) {
    ENG_CHECK(compute_ != master_dtype(), "parameters", "masters in ", name_of(compute_), " are what kernels read, and stay whole");
    Tensor kept(arena_, {n}, master_dtype());
    copy(kept, master.slice(first, n));
    for (Param& p : params_) p.master = {};
    master = kept;
}

void ParamStore::zero_grad() {
    fill_zero(grad);
    for (Param& p : params_) p.spent = false;
}

void ParamStore::refresh_compute() {
    if (compute_ != DType::bf16) return;
    const std::vector<float> wide = download<float>(master);
    std::vector<bf16> rounded(wide.size());
    parallel_for(std::int64_t(wide.size()), 4096, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t i = first; i < last; ++i) rounded[std::size_t(i)] = bf16(wide[std::size_t(i)]);
    });
    write_host(compute, rounded.data());
}

}  // namespace eng
