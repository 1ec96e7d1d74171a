#include "model/key_map.h"

#include <algorithm>
#include <cmath>

#include "engine/io/safetensors.h"

namespace scvd {
namespace {

bool starts_with(const std::string& s, const char* part) { return s.rfind(part, 0) == 0; }

// What stands before `ending` in the file's names. Checkpoints may hold a model twice (a moving average beside it): the
// shortest path is the model itself.
const eng::StoredTensor* find_ending(const eng::TensorFile& file, const std::string& ending) {
    const eng::StoredTensor* best = nullptr;
    for (const auto& t : file.tensors()) {
        const std::string& n = t.name;
        const bool ends = n.ends_with(ending) && (n.size() == ending.size() || n[n.size() - ending.size() - 1] == '.');
        if (ends && (!best || n.size() < best->name.size())) best = &t;
    }
    return best;
}
std::string before(const eng::StoredTensor& t, const std::string& ending) { return t.name.substr(0, t.name.size() - ending.size()); }

// The rest of an OpenAI name within a block, "ln_1.weight", in Hugging Face's manner.
KeyMap::Keys block_keys(const std::string& block, const std::string& rest) {
    const auto dot = rest.rfind('.');
    const std::string layer = rest.substr(0, dot), kind = rest.substr(dot + 1);
    if (layer == "attn") {  // in_proj_weight | in_proj_bias
        const std::string what = kind.substr(kind.rfind('_') + 1);
        return {{block + "self_attn.q_proj." + what, block + "self_attn.k_proj." + what, block + "self_attn.v_proj." + what}};
    }
    const std::string to = layer == "ln_1" ? "layer_norm1" : layer == "ln_2" ? "layer_norm2" : layer == "attn.out_proj" ? "self_attn.out_proj"
                         : layer == "mlp.c_fc" ? "mlp.fc1" : "mlp.fc2";
    return {{block + to + "." + kind}};
}

// "transformer.resblocks.I.REST" -> I and REST.
bool split_block(const std::string& name, std::string& index, std::string& rest) {
    constexpr const char* head = "transformer.resblocks.";
    if (!starts_with(name, head)) return false;
    const auto at = std::string(head).size(), dot = name.find('.', at);
    index = name.substr(at, dot - at), rest = name.substr(dot + 1);
    return true;
}

int layers_below(const eng::TensorFile& file, const std::string& prefix) {
    int n = 0;
    for (const auto& t : file.tensors())
        if (starts_with(t.name, prefix.c_str())) n = std::max(n, 1 + std::atoi(t.name.c_str() + prefix.size()));
    return n;
}

}  // namespace

KeyMap::Keys huggingface_keys(const std::string& p) {
    const bool image = starts_with(p, "visual.");
    const std::string name = image ? p.substr(7) : p, side = image ? "vision_model." : "text_model.";
    std::string index, rest;
    if (split_block(name, index, rest)) return block_keys(side + "encoder.layers." + index + ".", rest);
    const std::string kind = name.substr(name.rfind('.') + 1);
    if (name == "conv1.weight") return {{side + "embeddings.patch_embedding.weight"}};
    if (name == "class_embedding") return {{side + "embeddings.class_embedding"}};
    if (name == "positional_embedding") return {{side + "embeddings.position_embedding.weight"}};
    if (name == "token_embedding.weight") return {{side + "embeddings.token_embedding.weight"}};
    if (starts_with(name, "ln_pre.")) return {{side + "pre_layrnorm." + kind}};  // sic
    if (starts_with(name, "ln_post.")) return {{side + "post_layernorm." + kind}};
    if (starts_with(name, "ln_final.")) return {{side + "final_layer_norm." + kind}};
    if (name == "proj") return {{"visual_projection.weight"}, true};
    if (name == "text_projection") return {{"text_projection.weight"}, true};
    return {{p}};  // none of CLIP's
}

KeyMap KeyMap::of(const eng::TensorFile& file) {
    const struct { Naming naming; const char *image, *text; } anchors[] = {
        {Naming::openai, "visual.conv1.weight", "token_embedding.weight"},
        {Naming::huggingface, "vision_model.embeddings.patch_embedding.weight", "text_model.embeddings.token_embedding.weight"}};
    for (const auto& a : anchors) {
        const auto *image = find_ending(file, a.image), *text = find_ending(file, a.text);
        if (!image) continue;
        ENG_CHECK(text, "import", file.path().string(), ": holds an image encoder (", image->name, ") but no text encoder (no ", a.text, ")");
        return {a.naming, before(*image, a.image), before(*text, a.text)};
    }
    const auto& t = file.tensors();
    eng::fail("import", file.path().string(), ": holds no CLIP: none of its ", t.size(), " tensors is visual.conv1.weight or vision_model.embeddings.patch_embedding.weight",
              t.empty() ? "" : "; the first is " + t[0].name);
}

std::string KeyMap::describe() const {
    std::string s = naming == Naming::openai ? "names of OpenAI's CLIP" : "names of Hugging Face's CLIPModel";
    if (!image_prefix.empty()) s += " behind \"" + image_prefix + "\"";
    if (text_prefix != image_prefix) s += ", text behind \"" + text_prefix + "\"";
    return s;
}

KeyMap::Keys KeyMap::keys_of(const std::string& p) const {
    const bool text = starts_with(p, "token_embedding.") || starts_with(p, "positional_embedding") || starts_with(p, "text_projection") ||
                      starts_with(p, "transformer.") || starts_with(p, "ln_final.");
    Keys keys = naming == Naming::openai ? Keys{{p}} : huggingface_keys(p);
    for (std::string& name : keys.names) name = (text ? text_prefix : image_prefix) + name;
    return keys;
}

std::string KeyMap::logit_scale() const { return image_prefix + "logit_scale"; }

ModelConfig encoder_config(const eng::TensorFile& file, const KeyMap& map, int height, int width) {
    const auto shape = [&](const std::string& parameter, std::size_t rank) {
        const auto keys = map.keys_of(parameter);
        const auto* t = file.find(keys.names[0]);
        ENG_CHECK(t && t->shape.size() == rank, "import", file.path().string(), ": \"", keys.names[0], "\" is ",
                  t ? eng::shape_text(t->shape) + ", want " + std::to_string(rank) + " axes" : std::string("not there"));
        return keys.transposed ? t->transposed().shape : t->shape;
    };
    const auto blocks = [&](const std::string& parameter) {
        const std::string name = map.keys_of(parameter).names[0];
        return layers_below(file, name.substr(0, name.find(".0.") + 1));
    };
    ModelConfig c;
    c.image.height = height, c.image.width = width;
    const auto conv = shape("visual.conv1.weight", 4), table = shape("token_embedding.weight", 2), text = shape("text_projection", 2);
    if (map.naming == Naming::openai && file.find(map.image_prefix + "visual.layer1.0.conv1.weight")) {
        c.image.encoder = "resnet";
        c.image.dim = int(2 * conv[0]), c.image.heads = std::max(1, c.image.dim / 2);
        c.image.blocks.clear();
        for (int stage = 1; stage <= 4; ++stage)
            c.image.blocks += (stage > 1 ? "-" : "") + std::to_string(layers_below(file, map.image_prefix + "visual.layer" + std::to_string(stage) + "."));
    } else {
        c.image.patch = c.image.stride = int(conv[2]);
        c.image.dim = int(conv[0]), c.image.heads = std::max(1, c.image.dim / 64);
        c.image.layers = blocks("visual.transformer.resblocks.0.ln_1.weight");
    }
    c.text.vocab = int(table[0]), c.text.dim = int(table[1]), c.text.heads = std::max(1, c.text.dim / 64);
    c.text.context = int(shape("positional_embedding", 2)[0]);
    c.text.layers = blocks("transformer.resblocks.0.ln_1.weight");
    c.embed = int(text[1]);
    return c;
}

}  // namespace scvd
