#include "model/config.h"

#include <algorithm>
#include <charconv>

namespace scvd {
namespace {

void one_of(const char* key, const std::string& value, std::initializer_list<const char*> allowed) {
    std::string list;
    for (const char* a : allowed) {
        if (value == a) return;
        list += (list.empty() ? "" : " | ") + std::string(a);
    }
    eng::fail("config", key, " = \"", value, "\", want ", list);
}
void positive(const char* key, int value) { ENG_CHECK(value > 0, "config", key, " = ", value, ", want at least 1"); }
void divides(const char* what, int heads, int dim) {
    ENG_CHECK(heads > 0 && dim % heads == 0, "config", what, ": ", heads, " heads do not divide a width of ", dim);
}

}  // namespace

int hard_negatives(const std::string& pairs) {
    if (pairs == "all") return 0;
    if (pairs == "matched") return -1;
    int k = 0;
    const char *begin = pairs.data() + 5, *end = pairs.data() + pairs.size();
    ENG_CHECK(pairs.rfind("hard:", 0) == 0 && std::from_chars(begin, end, k).ptr == end && k > 0, "config",
              "loss.pairs = \"", pairs, "\", want all | hard:K | matched");
    return k;
}
int group_size(const LossConfig& l, int B) {
    const int K = hard_negatives(l.pairs);
    return K == 0 ? B : std::min(B, 1 + std::max(K, 0));
}

std::array<int, 4> ImageConfig::block_counts() const {
    std::array<int, 4> n{};
    const char *at = blocks.data(), *end = at + blocks.size();
    bool ok = true;
    for (std::size_t i = 0; i < 4 && ok; ++i) {
        const auto r = std::from_chars(at, end, n[i]);
        ok = r.ec == std::errc() && n[i] > 0 && n[i] < 1000 && (i < 3 ? r.ptr < end && *r.ptr == '-' : r.ptr == end);
        at = r.ptr + (i < 3);
    }
    ENG_CHECK(ok, "config", "image.blocks = \"", blocks, "\", want four numbers: 3-4-6-3");
    return n;
}

// resnet: the first convolution, its pooling and stages 2 to 4 halve the picture.
Grid ModelConfig::grid() const {
    if (image.encoder == "vit") return {patches().grid_h(), patches().grid_w()};
    const auto halved = [&](int pixels) {
        int n = (pixels - 1) / 2 + 1;
        for (int i = 0; i < 3; ++i) n /= 2;
        return n / image.last_stride;
    };
    return {halved(image.height), halved(image.width)};
}

void ModelConfig::check() const {
    one_of("image.encoder", image.encoder, {"vit", "resnet"});
    one_of("image.bn", image.bn, {"frozen", "train"});
    if (image.encoder == "resnet") {
        image.block_counts();
        ENG_CHECK(image.last_stride == 1 || image.last_stride == 2, "config", "image.last_stride = ", image.last_stride, ", want 1 or 2");
        ENG_CHECK(image.dim % 2 == 0, "config", "image.dim = ", image.dim, ", want an even number");
        ENG_CHECK(grid().height > 0 && grid().width > 0, "config", "image.height x image.width = ", image.height, "x", image.width, " is less than the 32 pixels that resnet halves away");
        divides("image", image.heads, 32 * image.dim);
    }
    positive("model.embed", embed);
    positive("image.patch", image.patch), positive("image.stride", image.stride);
    positive("image.layers", image.layers), positive("text.layers", text.layers), positive("cgi.ffn", cgi.ffn);
    ENG_CHECK(image.height >= image.patch && image.width >= image.patch, "config", "image.height x image.width = ",
              image.height, "x", image.width, " is smaller than one patch of ", image.patch);
    ENG_CHECK(text.context >= 3, "config", "text.context = ", text.context, ", want at least 3");
    ENG_CHECK(text.vocab >= 49408, "config", "text.vocab = ", text.vocab, ", want at least 49408 (CLIP's vocabulary)");
    if (image.encoder == "vit") divides("image", image.heads, image.dim);
    divides("text", text.heads, text.dim);
    ENG_CHECK(embed < 64 || embed % 64 == 0, "config", "model.embed = ", embed, ", want a multiple of 64 (or less than 64)");
    one_of("cgi.residual", cgi.residual, {"none", "self"});
    one_of("cgi.vsr", cgi.vsr, {"pair", "text"});
    one_of("dfa.sim", dfa.sim, {"dot", "cosine"});
    one_of("dfa.norm", dfa.norm, {"softmax", "sigmoid"});
    one_of("loss.global", loss.global, {"sdm", "cmpm", "itc", "none"});
    one_of("loss.pair", loss.pair, {"cmpm", "sdm", "itc", "none"});
    one_of("model.dtype", dtype, {"f32", "bf16", "f64"});
    ENG_CHECK(loss.temperature > 0, "config", "loss.temperature = ", loss.temperature, ", want more than 0");
    ENG_CHECK(loss.pair_temperature > 0, "config", "loss.pair_temperature = ", loss.pair_temperature, ", want more than 0");
    ENG_CHECK(loss.pool > std::max(0, hard_negatives(loss.pairs)), "config", "loss.pool = ", loss.pool, ", want more than the ",
              std::max(0, hard_negatives(loss.pairs)), " negatives of loss.pairs");
}

}  // namespace scvd
