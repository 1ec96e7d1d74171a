#include "train/checkpoint.h"

#include <deque>

#include "engine/io/json.h"
#include "engine/io/safetensors.h"
#include "engine/transfer.h"

namespace scvd {
namespace {

const char* dtype_text(eng::DType t) { return t == eng::DType::f64 ? "F64" : "F32"; }

std::vector<std::int64_t> dims(const eng::Tensor& t) { return {t.shape().dim.begin(), t.shape().dim.begin() + t.shape().rank}; }

// What goes into a file. Tensors of the CPU are written from where they lie, others from a copy kept until then.
class Entries {
public:
    void add(const std::string& name, const eng::Tensor& like, const void* bytes) {
        list.push_back({name, dtype_text(like.dtype()), dims(like), bytes, like.bytes(), nullptr});
    }
    // All of a flat buffer; of one that ranks share, this is where they meet.
    const std::byte* flat(const eng::Tensor& t, const eng::AdamW* opt) {
        if (!opt || !opt->sharded()) return static_cast<const std::byte*>(host(t));
        copies_.push_back(opt->whole(t));
        return copies_.back().data();
    }
    std::vector<eng::TensorToWrite> list;

private:
    const void* host(const eng::Tensor& t) {
        if (t.device() == eng::Device::cpu) return t.raw();
        copies_.emplace_back(t.bytes());
        eng::read_host(t, copies_.back().data());
        return copies_.back().data();
    }
    std::deque<std::vector<std::byte>> copies_;
};

const eng::TensorInfo& info_of(const eng::SafeTensors& file, const std::string& path, const std::string& key, const std::vector<std::int64_t>& shape, eng::DType dtype) {
    const auto as_shape = [](const std::vector<std::int64_t>& v) {
        eng::Shape s;
        s.rank = int(std::min<std::size_t>(4, v.size()));
        std::copy_n(v.begin(), s.rank, s.dim.begin());
        return s;
    };
    const eng::TensorInfo* info = file.find(key);
    ENG_CHECK(info, "checkpoint", path, " has no \"", key, "\", which this model needs");
    ENG_CHECK(info->shape == shape, "checkpoint", path, ": \"", key, "\" is ", as_shape(info->shape), ", this model wants ", as_shape(shape), "; is it another preset's?");
    ENG_CHECK(info->dtype == dtype_text(dtype), "checkpoint", path, ": \"", key, "\" is ", info->dtype, ", want ", dtype_text(dtype));
    return *info;
}

struct State { RunState run; std::int64_t optimizer_steps = -1; };  // -1: not saved

State parse_state(const std::string& path, const std::string& text) {
    try {
        const auto j = eng::parse_json(text);
        return {{j.at("step"), j.at("best"), j.at("best_epoch"), j.at("lambda"), j.at("seconds")}, j.value("optimizer_steps", std::int64_t(-1))};
    } catch (const eng::Json::exception& e) { eng::fail("checkpoint", path, ": the \"state\" in its metadata is damaged: ", eng::reason(e)); }
}

}  // namespace

void save_checkpoint(const std::string& path, const Config& c, Scvd& model, const eng::AdamW* opt, const RunState& s, bool average, bool write) {
    Entries tensors;
    const bool ema = average && opt && opt->ema.defined();
    const std::byte* weights = tensors.flat(ema ? opt->ema : model.params().master, opt);
    for (const auto& p : model.params().all()) tensors.add(p.name, p.grad, weights + std::size_t(p.offset) * eng::size_of(p.grad.dtype()));
    nlohmann::json state{{"step", s.step}, {"best", s.best}, {"best_epoch", s.best_epoch}, {"lambda", s.lambda}, {"seconds", s.seconds}};
    if (opt && !average) {
        const auto moment = [&](const char* name, const eng::Tensor& t) { tensors.add(name, model.params().grad, tensors.flat(t, opt)); };
        moment("optimizer.m", opt->m), moment("optimizer.v", opt->v);
        if (opt->ema.defined()) moment("optimizer.ema", opt->ema);
        state["optimizer_steps"] = opt->steps;
    }
    if (write) eng::write_safetensors(path, tensors.list, {{"format", "scvd"}, {"config", to_toml(c)}, {"state", eng::json_text(state)}});
}

Config checkpoint_config(const std::string& path) {
    const auto file = eng::TensorFile::open(path);
    Config c;
    if (const auto it = file.metadata().find("config"); it != file.metadata().end()) {
        load_config_text(c, it->second, path);
        return c;
    }
    const KeyMap map = KeyMap::of(file);
    load_config(c, "vit-b16");
    const ModelConfig found = encoder_config(file, map, c.model.image.height, c.model.image.width);
    c.model.image = found.image, c.model.text = found.text, c.model.embed = found.embed;
    c.model.dtype = "f32", c.model.loss.pair = "none";
    return c;
}

RunState resume_checkpoint(const std::string& path, Scvd& model, eng::AdamW& opt) {
    const auto file = eng::SafeTensors::open(path);
    for (auto& p : model.params().all()) eng::write_host(p.master, info_of(file, path, p.name, dims(p.master), p.master.dtype()).data);
    model.params().refresh_compute();
    const auto it = file.metadata().find("state");
    ENG_CHECK(it != file.metadata().end(), "checkpoint", path, " has no \"state\" in its metadata");
    const auto flat = [&](const char* key, const eng::Tensor& t) { opt.fill(t, info_of(file, path, key, dims(model.params().grad), t.dtype()).data); };
    flat("optimizer.m", opt.m), flat("optimizer.v", opt.v);
    if (opt.ema.defined()) flat("optimizer.ema", opt.ema);
    const State s = parse_state(path, it->second);
    ENG_CHECK(s.optimizer_steps >= 0, "checkpoint", path, ": the \"state\" in its metadata is damaged: it has no \"optimizer_steps\"");
    opt.steps = s.optimizer_steps;
    return s.run;
}

Loaded load_weights(const std::string& path, Scvd& model, const ImportOptions& options) {
    const auto file = eng::TensorFile::open(path);
    const Import import(file, model.params(), model.config().grid(), options);
    Loaded loaded{{}, import.report(), true};
    if (const auto it = file.metadata().find("state"); it != file.metadata().end()) loaded.foreign = false, loaded.state = parse_state(path, it->second).run;
    const auto& missing = import.report().missing;
    ENG_CHECK(loaded.foreign || missing.empty(), "checkpoint", path, " has no \"", missing[0].parameter, "\", which this model needs");
    if (!missing.empty()) loaded.state.lambda = 1;  // the pair stage knows nothing yet
    for (auto& p : model.params().all()) {
        if (!import.has(p)) continue;
        std::vector<float> values(std::size_t(p.shape.numel()));
        import.read(p, 0, values);
        if (p.master.dtype() == eng::DType::f32) eng::write_host(p.master, values.data());
        else eng::write_host(p.master, std::vector<double>(values.begin(), values.end()).data());
    }
    model.params().refresh_compute();
    return loaded;
}

Import::Report import_weights(const std::string& from, const std::string& to, const Config& config, const ImportOptions& options) {
    const auto file = eng::TensorFile::open(from);
    eng::Arena nothing;
    Scvd declared(config.model, nothing, std::nullopt);
    const Import import(file, declared.params(), config.model.grid(), options);
    std::vector<eng::TensorToWrite> tensors;
    for (const auto& p : declared.params().all()) {
        if (!import.has(p)) continue;
        const std::size_t bytes = std::size_t(p.shape.numel()) * sizeof(float);
        tensors.push_back({p.name, "F32", {p.shape.dim.begin(), p.shape.dim.begin() + p.shape.rank}, nullptr, bytes, [&](eng::AtomicFile& out) {
            if (const auto whole = import.in_place(p); !whole.empty()) return out.write(whole);
            std::vector<float> block(1 << 18);
            for (std::int64_t at = 0, n = p.shape.numel(); at < n; at += std::int64_t(block.size())) {
                const std::span<float> part(block.data(), std::size_t(std::min<std::int64_t>(n - at, std::int64_t(block.size()))));
                import.read(p, at, part);
                out.write(std::as_bytes(part));
            }
        }});
    }
    const float logit_scale = import.logit_scale().value_or(0);
    if (import.logit_scale()) tensors.push_back({"logit_scale", "F32", {}, &logit_scale, sizeof logit_scale, nullptr});
    eng::write_safetensors(to, tensors, {{"format", "scvd"}, {"config", to_toml(config)}, {"imported", import.report().naming}});
    return import.report();
}

}  // namespace scvd
