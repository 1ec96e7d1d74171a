#include "model/config.h"

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

void ModelConfig::check() const {
    positive("model.embed", embed);
    positive("image.patch", image.patch), positive("image.stride", image.stride);
    positive("image.layers", image.layers), positive("text.layers", text.layers), positive("cgi.ffn", cgi.ffn);
    ENG_CHECK(image.height >= image.patch && image.width >= image.patch, "config", "image.height x image.width = ",
              image.height, "x", image.width, " is smaller than one patch of ", image.patch);
    ENG_CHECK(text.context >= 3, "config", "text.context = ", text.context, ", want at least 3");
    ENG_CHECK(text.vocab >= 49408, "config", "text.vocab = ", text.vocab, ", want at least 49408 (CLIP's vocabulary)");
    divides("image", image.heads, image.dim);
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
    hard_negatives(loss.pairs);
}

}  // namespace scvd
