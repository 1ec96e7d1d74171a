#include "train/export.h"

#include <filesystem>
#include <functional>

#include "engine/io/json.h"
#include "engine/io/safetensors.h"
#include "model/tokenizer.h"
#include "train/checkpoint.h"

namespace scvd {
namespace {

namespace fs = std::filesystem;
using eng::OrderedJson;
using Values = std::vector<float>;

const OrderedJson mean = {0.48145466, 0.4578275, 0.40821073}, deviation = {0.26862954, 0.26130258, 0.27577711};

// The weights of one file and the model that they make.
struct Opened {
    eng::TensorFile file;
    Config config;
    eng::Arena nothing;
    std::unique_ptr<Scvd> declared;
    std::unique_ptr<Import> import;
    std::vector<const eng::Param*> encoders;
    float logit_scale;

    explicit Opened(const std::string& path) : file(eng::TensorFile::open(path)), config(checkpoint_config(path)) {
        declared = std::make_unique<Scvd>(config.model, nothing, std::nullopt);
        import = std::make_unique<Import>(file, declared->params(), config.model.grid());
        for (const auto& p : declared->params().all())
            if (p.group == eng::ParamGroup::clip) encoders.push_back(&p);
        logit_scale = import->logit_scale().value_or(std::log(1 / config.model.loss.temperature));
    }
    Values read(const eng::Param& p) const {
        Values v(std::size_t(p.shape.numel()));
        import->read(p, 0, v);
        return v;
    }
};

// A tensor that is computed when its turn to be written comes.
eng::TensorToWrite lazy(const std::string& name, std::vector<std::int64_t> shape, std::function<Values()> values) {
    std::size_t bytes = sizeof(float);
    for (const auto d : shape) bytes *= std::size_t(d);
    return {name, "F32", std::move(shape), nullptr, bytes, [values](eng::AtomicFile& out) {
                const Values v = values();
                out.write(std::as_bytes(std::span(v)));
            }};
}

Values transposed(const Values& v, std::int64_t rows, std::int64_t cols) {
    Values t(v.size());
    for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < cols; ++c) t[std::size_t(c * rows + r)] = v[std::size_t(r * cols + c)];
    return t;
}

// ---- Hugging Face

// The side of a square table from which bicubic interpolation picks the grid's own values: whole odd multiples.
int square_side(const Grid& g) {
    const int side = std::max(g.height, g.width);
    const bool fits = side % g.height == 0 && side % g.width == 0 && (side / g.height) % 2 == 1 && (side / g.width) % 2 == 1;
    ENG_CHECK(fits, "export", "CLIPModel has square pictures only, and a grid of ", g.height, "x", g.width,
              " patches cannot be put into a square one without changing its values; --format openclip can hold it");
    return side;
}
Values squared(const Values& table, const Grid& g, std::int64_t dim) {
    const int side = square_side(g);
    Values out(table.begin(), table.begin() + dim);
    for (int y = 0; y < side; ++y)
        for (int x = 0; x < side; ++x) {
            const auto* row = table.data() + (1 + (y * g.height / side) * g.width + x * g.width / side) * dim;
            out.insert(out.end(), row, row + dim);
        }
    return out;
}

void add_huggingface(std::vector<eng::TensorToWrite>& tensors, const Opened& o, const eng::Param& p) {
    const auto keys = huggingface_keys(p.name);
    const std::int64_t rows = p.shape[0], cols = p.shape.numel() / rows, parts = std::int64_t(keys.names.size());
    if (p.name == "visual.positional_embedding") {
        const Grid g = o.config.model.grid();
        const std::int64_t side = square_side(g);
        tensors.push_back(lazy(keys.names[0], {side * side + 1, cols}, [&o, &p, g, cols] { return squared(o.read(p), g, cols); }));
    } else if (keys.transposed) {
        tensors.push_back(lazy(keys.names[0], {cols, rows}, [&o, &p, rows, cols] { return transposed(o.read(p), rows, cols); }));
    } else {
        std::vector<std::int64_t> shape(p.shape.dim.begin(), p.shape.dim.begin() + p.shape.rank);
        shape[0] /= parts;
        for (std::int64_t i = 0; i < parts; ++i)
            tensors.push_back(lazy(keys.names[std::size_t(i)], shape, [&o, &p, i, n = p.shape.numel() / parts] {
                Values v(static_cast<std::size_t>(n));
                o.import->read(p, i * n, v);
                return v;
            }));
    }
}

OrderedJson huggingface_config(const ModelConfig& m) {
    const auto side = [&](int dim, int layers, int heads) {
        return OrderedJson{{"hidden_size", dim}, {"intermediate_size", 4 * dim}, {"num_hidden_layers", layers}, {"num_attention_heads", heads},
                    {"hidden_act", "quick_gelu"}, {"layer_norm_eps", 1e-5}, {"projection_dim", m.embed}};
    };
    OrderedJson text = side(m.text.dim, m.text.layers, m.text.heads), vision = side(m.image.dim, m.image.layers, m.image.heads);
    text.update({{"model_type", "clip_text_model"}, {"vocab_size", m.text.vocab}, {"max_position_embeddings", m.text.context},
                 {"bos_token_id", Tokenizer::sot}, {"eos_token_id", Tokenizer::eot}, {"pad_token_id", Tokenizer::eot}});
    vision.update({{"model_type", "clip_vision_model"}, {"image_size", square_side(m.grid()) * m.image.patch}, {"patch_size", m.image.patch}, {"num_channels", 3}});
    return {{"architectures", {"CLIPModel"}}, {"model_type", "clip"}, {"projection_dim", m.embed}, {"torch_dtype", "float32"}, {"text_config", text}, {"vision_config", vision}};
}

void write_json(const fs::path& path, const OrderedJson& j) { eng::write_file(path, eng::json_text(j, 2) + "\n"); }

void write_tokenizer(const fs::path& folder, const Tokenizer& tokenizer, int context) {
    const auto v = tokenizer.vocabulary();
    OrderedJson::object_t ids;
    // Appended as to a vector: an ordered object looks through all 49,408 for each, and tokens differ.
    for (std::size_t i = 0; i < v.tokens.size(); ++i) static_cast<OrderedJson::object_t::Container&>(ids).emplace_back(v.tokens[i], i);
    eng::write_file(folder / "vocab.json", eng::json_text(OrderedJson(std::move(ids))) + "\n");
    std::string merges = "#version: 0.2\n";
    for (const auto& [a, b] : v.merges) merges += a + " " + b + "\n";
    eng::write_file(folder / "merges.txt", merges);
    const OrderedJson special{{"bos_token", "<|startoftext|>"}, {"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}, {"pad_token", "<|endoftext|>"}};
    write_json(folder / "special_tokens_map.json", special);
    OrderedJson config{{"tokenizer_class", "CLIPTokenizer"}, {"model_max_length", context}, {"do_lower_case", true}};
    config.update(special);
    write_json(folder / "tokenizer_config.json", config);
}

void export_huggingface(const Opened& o, const ExportOptions& options) {
    const ModelConfig& m = o.config.model;
    const fs::path folder = options.out;
    std::vector<eng::TensorToWrite> tensors;
    for (const auto* p : o.encoders) add_huggingface(tensors, o, *p);
    tensors.push_back(lazy("logit_scale", {}, [&o] { return Values{o.logit_scale}; }));
    write_json(folder / "config.json", huggingface_config(m));
    write_json(folder / "preprocessor_config.json",
               {{"image_processor_type", "CLIPImageProcessor"}, {"do_resize", true}, {"size", {{"height", m.image.height}, {"width", m.image.width}}}, {"resample", 2},
                {"do_center_crop", false}, {"do_rescale", true}, {"rescale_factor", 1.0 / 255}, {"do_normalize", true}, {"image_mean", mean}, {"image_std", deviation}, {"do_convert_rgb", true}});
    write_tokenizer(folder, Tokenizer::load(options.bpe), m.text.context);
    eng::write_safetensors(folder / "model.safetensors", tensors, {{"format", "pt"}});
}

// ---- open_clip

OrderedJson openclip_config(const ModelConfig& m) {
    const bool square = m.image.height == m.image.width;
    OrderedJson vision{{"image_size", square ? OrderedJson(m.image.height) : OrderedJson{m.image.height, m.image.width}}, {"width", m.image.dim}};
    if (m.image.encoder == "resnet") {
        ENG_CHECK(square && m.image.last_stride == 2, "export", "open_clip's ResNet has square pictures and stride 2 in its last stage; this model has ", m.image.height, "x", m.image.width,
                  " and stride ", m.image.last_stride);
        vision.update({{"layers", m.image.block_counts()}});
    } else {
        vision.update({{"layers", m.image.layers}, {"head_width", m.image.dim / m.image.heads}, {"patch_size", m.image.patch}});
    }
    const OrderedJson text{{"context_length", m.text.context}, {"vocab_size", m.text.vocab}, {"width", m.text.dim}, {"heads", m.text.heads}, {"layers", m.text.layers}};
    return {{"model_cfg", {{"embed_dim", m.embed}, {"quick_gelu", true}, {"vision_cfg", vision}, {"text_cfg", text}}},
            {"preprocess_cfg", {{"mean", mean}, {"std", deviation}, {"interpolation", "bilinear"}, {"resize_mode", "squash"}}}};
}

void export_openclip(const Opened& o, const fs::path& folder) {
    std::vector<eng::TensorToWrite> tensors;
    for (const auto* p : o.encoders)
        tensors.push_back(lazy(p->name, {p->shape.dim.begin(), p->shape.dim.begin() + p->shape.rank}, [&o, p] { return o.read(*p); }));
    tensors.push_back(lazy("logit_scale", {}, [&o] { return Values{o.logit_scale}; }));
    const OrderedJson config = openclip_config(o.config.model);
    write_json(folder / "open_clip_config.json", config);
    eng::write_safetensors(folder / "open_clip_model.safetensors", tensors, {{"format", "pt"}});
}

}  // namespace

void export_weights(const ExportOptions& options) {
    const Opened o(options.weights);
    ENG_CHECK(o.config.model.image.stride == o.config.model.image.patch, "export", "patches that overlap (stride ", o.config.model.image.stride, " of ",
              o.config.model.image.patch, " pixels) are known to no other program");
    ENG_CHECK(options.format != "hf" || o.config.model.image.encoder == "vit", "export", "transformers' CLIPModel has no ResNet; --format openclip can hold it");
    if (options.format == "hf") square_side(o.config.model.grid());
    if (options.format == "openclip") openclip_config(o.config.model);  // errors before anything is written
    std::error_code error;
    fs::create_directories(options.out, error);
    ENG_CHECK(!error, "export", "cannot make ", options.out, ": ", error.message());
    ENG_CHECK(fs::is_empty(options.out), "export", options.out, " is not empty");
    if (options.format == "hf") export_huggingface(o, options);
    else if (options.format == "openclip") export_openclip(o, options.out);
    else import_weights(options.weights, (fs::path(options.out) / "model.safetensors").string(), o.config);
}

}  // namespace scvd
