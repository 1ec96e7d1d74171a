#include "train/checkpoint.h"

#include <deque>
#include <nlohmann/json.hpp>

#include "engine/io/safetensors.h"
#include "engine/transfer.h"

namespace scvd {
namespace {

const char* dtype_text(eng::DType t) { return t == eng::DType::f64 ? "F64" : "F32"; }

std::vector<std::int64_t> dims(const eng::Tensor& t) { return {t.shape().dim.begin(), t.shape().dim.begin() + t.shape().rank}; }

// What goes into a file. Tensors of the CPU are written from where they lie, others from a copy kept until then.
class Entries {
public:
    void add(const std::string& name, const eng::Tensor& t) {
        const void* bytes = t.raw();
        if (t.device() != eng::Device::cpu) {
            copies_.emplace_back(t.bytes());
            eng::read_host(t, copies_.back().data());
            bytes = copies_.back().data();
        }
        list.push_back({name, dtype_text(t.dtype()), dims(t), bytes, t.bytes()});
    }
    std::vector<eng::TensorToWrite> list;

private:
    std::deque<std::vector<std::byte>> copies_;
};

void read_into(const eng::SafeTensors& file, const std::string& path, const std::string& key, const eng::Tensor& t) {
    const eng::TensorInfo* info = file.find(key);
    ENG_CHECK(info, "checkpoint", path, " has no \"", key, "\", which this model needs");
    if (info->shape != dims(t)) {
        eng::Shape got;
        got.rank = int(std::min<std::size_t>(4, info->shape.size()));
        std::copy_n(info->shape.begin(), got.rank, got.dim.begin());
        eng::fail("checkpoint", path, ": \"", key, "\" is ", got, ", this model wants ", t.shape(), "; is it another preset's?");
    }
    ENG_CHECK(info->dtype == dtype_text(t.dtype()), "checkpoint", path, ": \"", key, "\" is ", info->dtype, ", want ", dtype_text(t.dtype()));
    eng::write_host(t, info->data);
}

}  // namespace

void save_checkpoint(const std::string& path, const Config& c, Scvd& model, const eng::AdamW* opt, const RunState& s, bool average) {
    Entries tensors;
    for (const auto& p : model.params().all())
        tensors.add(p.name, average && opt && opt->ema.defined() ? opt->ema.slice(p.offset, p.shape.numel()).view(p.shape) : p.master);
    nlohmann::json state{{"step", s.step}, {"best", s.best}, {"best_epoch", s.best_epoch}, {"lambda", s.lambda}, {"seconds", s.seconds}};
    if (opt && !average) {
        tensors.add("optimizer.m", opt->m);
        tensors.add("optimizer.v", opt->v);
        if (opt->ema.defined()) tensors.add("optimizer.ema", opt->ema);
        state["optimizer_steps"] = opt->steps;
    }
    eng::write_safetensors(path, tensors.list, {{"format", "scvd"}, {"config", to_toml(c)}, {"state", state.dump()}});
}

Config checkpoint_config(const std::string& path) {
    const auto file = eng::SafeTensors::open(path);
    const auto it = file.metadata().find("config");
    ENG_CHECK(it != file.metadata().end(), "checkpoint", path, " holds no scvd configuration: was it written by another program?");
    Config c;
    load_config_text(c, it->second, path);
    return c;
}

RunState load_checkpoint(const std::string& path, Scvd& model, eng::AdamW* opt) {
    const auto file = eng::SafeTensors::open(path);
    for (auto& p : model.params().all()) read_into(file, path, p.name, p.master);
    model.params().refresh_compute();
    RunState s;
    const auto it = file.metadata().find("state");
    ENG_CHECK(it != file.metadata().end(), "checkpoint", path, " has no \"state\" in its metadata");
    const auto j = nlohmann::json::parse(it->second);
    s.step = j.at("step"), s.best = j.at("best"), s.best_epoch = j.at("best_epoch"), s.lambda = j.at("lambda"), s.seconds = j.at("seconds");
    if (!opt) return s;
    read_into(file, path, "optimizer.m", opt->m);
    read_into(file, path, "optimizer.v", opt->v);
    if (opt->ema.defined()) read_into(file, path, "optimizer.ema", opt->ema);
    opt->steps = j.at("optimizer_steps");
    return s;
}

}  // namespace scvd
