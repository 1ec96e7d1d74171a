// One training batch through a checkpoint, for the scripts in this folder: outputs and gradients, or the losses of a
// few optimizer steps.
//
// usage: reference_tool CHECKPOINT BATCH OUT [STEPS] | tokens TEXTS.jsonl OUT.jsonl | resize LIST FOLDER
// BATCH (safetensors): pixels U8 [B,H,W,3], ids I32 [T] packed, lens I32 [B], labels I32 [B].
// Without STEPS, OUT holds "global", "tokens", "texts", "loss" and "grad.NAME" of every parameter; with STEPS, "losses" [STEPS]
// of the checkpoint's optimizer, learning rates and schedule (one epoch is one step of 60).
#include <fmt/format.h>

#include <chrono>
#include <deque>
#include <sstream>

#include "engine/io/json.h"
#include "engine/io/safetensors.h"
#include "engine/transfer.h"
#include "model/tokenizer.h"
#include "train/checkpoint.h"
#include "train/data/resize.h"
#include "train/loop.h"

namespace {

using namespace scvd;

std::vector<std::int32_t> integers(const eng::SafeTensors& f, const char* name) {
    const auto& t = f.at(name);
    std::vector<std::int32_t> v(t.bytes / 4);
    std::memcpy(v.data(), t.data, t.bytes);
    return v;
}

struct Batch {
    Tensor pixels;
    TextBatch texts;
    std::vector<std::int32_t> labels;
};
Batch read_batch(const std::string& path, eng::Arena& arena) {
    const auto f = eng::SafeTensors::open(path);
    const auto& px = f.at("pixels");
    Batch b;
    b.pixels = Tensor(arena, {px.shape[0], px.shape[1], px.shape[2], 3}, eng::DType::u8);
    eng::write_host(b.pixels, px.data);
    const auto ids = integers(f, "ids"), lens = integers(f, "lens");
    std::vector<std::int32_t> positions, eot, own;
    for (const auto n : lens) {
        for (int i = 0; i < n; ++i) positions.push_back(i);
        eot.push_back(std::int32_t(positions.size()) - 1), own.push_back(std::int32_t(own.size()));
    }
    b.texts.ids = eng::indices(arena, ids), b.texts.positions = eng::indices(arena, positions), b.texts.seqs = eng::packed_seqs(arena, lens);
    b.texts.eot = eng::indices(arena, eot), b.texts.captions = int(lens.size());
    b.texts.prompt_text = eng::indices(arena, own), b.texts.prompts = eng::packed_seqs(arena, std::vector<std::int32_t>(lens.size(), 1));
    b.labels = integers(f, "labels");
    return b;
}

// Tensors to write, kept until then.
struct Results {
    std::deque<std::vector<float>> values;
    std::vector<eng::TensorToWrite> list;
    void add(const std::string& name, std::vector<std::int64_t> shape, const std::vector<double>& v) {
        values.emplace_back(v.begin(), v.end());
        list.push_back({name, "F32", std::move(shape), values.back().data(), values.back().size() * sizeof(float), nullptr});
    }
    void add(const std::string& name, const Tensor& t) { add(name, {t.shape().dim.begin(), t.shape().dim.begin() + t.shape().rank}, eng::download_wide(t)); }
};

double forward_backward(Scvd& model, const Batch& b) {
    eng::Tape tape;
    eng::Recording on(&tape);
    const LossParts loss = model.loss(b.pixels, {}, b.texts, b.labels);
    tape.backward(loss.total, eng::upload_as(b.pixels.arena(), {1}, {1.0}, loss.total.dtype()));
    return eng::first_element(loss.total);
}

void gradients(Scvd& model, const Batch& b, Results& out) {
    {
        eng::Recording off(nullptr);
        const ImageFeatures f = model.encode_images(b.pixels);
        out.add("global", f.global), out.add("tokens", f.tokens), out.add("texts", model.encode_texts(b.texts).global);
    }
    out.add("loss", {1}, {forward_backward(model, b)});
    for (const auto& p : model.params().all())
        if (p.group == ParamGroup::clip && p.name.find("running_") == std::string::npos) out.add("grad." + p.name, p.grad);
}

void steps(Scvd& model, const Config& c, const Batch& b, int count, Results& out) {
    eng::Arena arena;
    const auto& t = c.train;
    eng::AdamW optimizer(model.params(), arena, optimizer_options(t));
    std::vector<double> losses;
    for (int i = 0; i < count; ++i) {
        losses.push_back(forward_backward(model, b));
        const double f = schedule_factor({t.schedule, std::int64_t(t.warmup), 60}, i);
        optimizer.step(float(t.lr * f), float(t.head_lr * f), 1);
    }
    out.add("losses", {count}, losses);
}

// {"text"} lines to lines of token ids.
void tokenise(const std::string& from, const std::string& to) {
    const Tokenizer tokenizer = Tokenizer::load();
    std::istringstream in(eng::read_file(from));
    std::vector<std::string> texts;
    for (std::string line; std::getline(in, line);) texts.push_back(eng::parse_json(line)["text"]);
    std::string out;
    std::size_t count = 0;
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::vector<int>> ids;
    for (const auto& text : texts) count += ids.emplace_back(tokenizer.encode(text)).size();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (const auto& row : ids) out += eng::json_text(nlohmann::json(row)) + "\n";
    eng::write_file(to, out);
    fmt::print("{} texts, {} tokens, {:.2f} M tokens/s on one core\n", texts.size(), count, double(count) / seconds / 1e6);
}

// Raw RGB of width x height -> the same resized: "WIDTH HEIGHT OUT_WIDTH OUT_HEIGHT FILTER" lines from a script, pixels in and
// out through files.
void resize_all(const std::string& list, const std::string& folder) {
    std::istringstream in(eng::read_file(list));
    int w = 0, h = 0, ow = 0, oh = 0, n = 0;
    for (std::string filter; in >> w >> h >> ow >> oh >> filter; ++n) {
        const std::string bytes = eng::read_file(folder + "/" + std::to_string(n) + ".in");
        const Image picture{w, h, {bytes.begin(), bytes.end()}}, out = resize(picture, ow, oh, filter == "bicubic" ? Filter::bicubic : Filter::bilinear);
        eng::write_file(folder + "/" + std::to_string(n) + ".out", std::as_bytes(std::span(out.rgb)));
    }
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc == 4 && std::string(argv[1]) == "tokens") return tokenise(argv[2], argv[3]), 0;
    if (argc == 4 && std::string(argv[1]) == "resize") return resize_all(argv[2], argv[3]), 0;
    ENG_CHECK(argc == 4 || argc == 5, "reference_tool", "usage: reference_tool CHECKPOINT BATCH OUT [STEPS]");
    const Config config = checkpoint_config(argv[1]);
    eng::Arena weights, step;
    Scvd model(config.model, weights, 1);
    load_weights(argv[1], model);
    const Batch batch = read_batch(argv[2], step);
    Results out;
    if (argc == 4) gradients(model, batch, out);
    else steps(model, config, batch, std::atoi(argv[4]), out);
    eng::write_safetensors(argv[3], out.list);
    return 0;
} catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
}
