#include "train/embed.h"

#include <algorithm>
#include <sstream>

#include "engine/io/json.h"
#include "engine/io/safetensors.h"
#include "engine/transfer.h"
#include "train/checkpoint.h"
#include "train/data/image.h"
#include "train/data/pictures.h"
#include "train/data/texts.h"

namespace scvd {
namespace {

constexpr int kBlock = 32;

struct Rows {
    std::vector<float> values;
    std::int64_t count = 0;
    void add(const Tensor& t) {
        const auto v = eng::download<float>(eng::cast(t, eng::DType::f32));
        values.insert(values.end(), v.begin(), v.end());
        count += t.rows();
    }
};

Rows embed_images(const Scvd& model, const std::vector<std::string>& files) {
    const auto& im = model.config().image;
    Pictures pictures(files, im.height, im.width, 0);
    Rows rows;
    for (int first = 0; first < pictures.count(); first += kBlock) {
        eng::Arena step;
        rows.add(model.encode_images(read_pictures(step, pictures, first, std::min(kBlock, pictures.count() - first), im.height, im.width)).global);
    }
    return rows;
}

// The encoder alone: what a sentence's phrases are does not matter here.
Rows embed_texts(const Scvd& model, const Config& c, const std::vector<std::string>& lines, const std::string& bpe) {
    TextBank bank(c, bpe);
    std::vector<TextItem> items;
    for (const auto& line : lines) items.push_back(bank.item(line));
    Rows rows;
    for (std::size_t first = 0; first < items.size(); first += kBlock) {
        eng::Arena step;
        rows.add(model.encode_texts(make_text_batch(step, bank, pointers(items, first, kBlock))).global);
    }
    return rows;
}

std::vector<std::string> lines_of(const std::string& path) {
    std::istringstream in(eng::read_file(path));
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    ENG_CHECK(!lines.empty(), "embed", path, " has no lines");
    return lines;
}

}  // namespace

void embed(const EmbedOptions& o) {
    ENG_CHECK(!o.images.empty() || !o.texts.empty(), "embed", "neither --images nor --texts is given");
    eng::Recording off(nullptr);
    Config c = checkpoint_config(o.weights);
    if (!o.dtype.empty()) c.model.dtype = o.dtype;
    const TrainedModel trained(o.weights, c);
    const Scvd& model = trained.model;
    std::vector<std::string> files;
    Rows images, texts;
    if (!o.images.empty()) images = embed_images(model, files = pictures_below(o.images));
    if (!o.texts.empty()) texts = embed_texts(model, c, lines_of(o.texts), o.bpe);
    std::vector<eng::TensorToWrite> tensors;
    const auto add = [&](const char* name, const Rows& r) {
        if (r.count) tensors.push_back({name, "F32", {r.count, c.model.embed}, r.values.data(), r.values.size() * sizeof(float), nullptr});
    };
    add("images", images), add("texts", texts);
    eng::write_safetensors(o.out, tensors, {{"files", eng::json_text(nlohmann::json(files))}});
}

}  // namespace scvd
