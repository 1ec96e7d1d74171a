#include "train/config.h"

#include <charconv>
#include <filesystem>
#include <toml++/toml.h>

#include "engine/io/file.h"

namespace scvd {
namespace {

struct Preset { const char *name, *text; };
const Preset presets[] = {
    {"demo",
#include "model/presets/demo.toml"
    },
    {"small",
#include "model/presets/small.toml"
    },
    {"vit-b16",
#include "model/presets/vit-b16.toml"
    },
    {"scvd-vit-b16",  // the same: SCVD with that encoder
#include "model/presets/vit-b16.toml"
    },
    {"scvd-rn50",
#include "model/presets/rn50.toml"
    },
};

template <class T>
void parse_number(const std::string& key, const std::string& text, T& value) {
    T parsed{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
    ENG_CHECK(error == std::errc() && end == text.data() + text.size(), "config", key, " = \"", text, "\" is not ",
              std::is_integral_v<T> ? "a whole number" : "a number");
    value = parsed;
}
void parse(const std::string& key, const std::string& t, int& v) { parse_number(key, t, v); }
void parse(const std::string& key, const std::string& t, float& v) { parse_number(key, t, v); }
void parse(const std::string&, const std::string& t, std::string& v) { v = t; }
void parse(const std::string& key, const std::string& t, bool& v) {
    ENG_CHECK(t == "true" || t == "false", "config", key, " = \"", t, "\" is neither true nor false");
    v = t == "true";
}

std::string print(int v) { return std::to_string(v); }
std::string print(bool v) { return v ? "true" : "false"; }
std::string print(float v) {  // shortest text that reads back to the same bits
    char buffer[40];
    std::string s(buffer, std::to_chars(buffer, buffer + sizeof buffer, v).ptr);
    return s.find_first_of(".en") == std::string::npos ? s + ".0" : s;
}
std::string print(const std::string& v) {
    std::string s = "\"";
    for (char c : v) s += (c == '"' || c == '\\') ? std::string("\\") + c : std::string(1, c);
    return s + "\"";
}

// A TOML value as the text that parse() takes; numbers keep the type they were written in.
std::string text_of(const std::string& key, const toml::node& n) {
    if (auto v = n.value_exact<std::string>()) return *v;
    if (auto v = n.value_exact<std::int64_t>()) return std::to_string(*v);
    if (auto v = n.value_exact<bool>()) return *v ? "true" : "false";
    if (auto v = n.value_exact<double>()) {
        char buffer[40];
        return {buffer, std::to_chars(buffer, buffer + sizeof buffer, *v).ptr};
    }
    eng::fail("config", key, " should be a string, number or boolean");
}

void apply(const toml::table& table, const std::string& prefix, std::vector<Setting>& all, const std::string& source) {
    for (const auto& [k, node] : table) {
        const std::string key = prefix + std::string(k.str());
        if (const auto* sub = node.as_table()) {
            apply(*sub, key + ".", all, source);
            continue;
        }
        std::vector<std::string> keys;
        bool found = false;
        for (Setting& s : all) {
            keys.push_back(s.key);
            if (s.key == key) s.set(text_of(key, node)), found = true;
        }
        ENG_CHECK(found, "config", source, ": unknown key \"", key, "\"; did you mean \"", nearest(key, keys), "\"?");
    }
}

}  // namespace

std::vector<Setting> settings(Config& c) {
    std::vector<Setting> all;
    const auto add = [&](const std::string& key, auto& field, const char* help) {
        all.push_back({key, help, [key, &field](const std::string& t) { parse(key, t, field); }, [&field] { return print(field); }});
    };
    ModelConfig& m = c.model;
    add("image.height", m.image.height, "picture height in pixels");
    add("image.width", m.image.width, "picture width in pixels");
    add("image.patch", m.image.patch, "side of a patch in pixels");
    add("image.stride", m.image.stride, "distance between patches in pixels");
    add("image.dim", m.image.dim, "width of the image encoder");
    add("image.layers", m.image.layers, "blocks of the image encoder");
    add("image.heads", m.image.heads, "attention heads of the image encoder");
    add("image.encoder", m.image.encoder, "vit | resnet");
    add("image.blocks", m.image.blocks, "blocks of resnet's four stages");
    add("image.bn", m.image.bn, "resnet's batch norm: frozen | train");
    add("image.last_stride", m.image.last_stride, "of resnet's fourth stage: 2 | 1");
    add("text.dim", m.text.dim, "width of the text encoder");
    add("text.layers", m.text.layers, "blocks of the text encoder");
    add("text.heads", m.text.heads, "attention heads of the text encoder");
    add("text.context", m.text.context, "longest text in tokens, SOT and EOT included");
    add("text.vocab", m.text.vocab, "rows of the token table");
    add("model.embed", m.embed, "d, width of the shared space");
    add("model.classes", m.classes, "identities of the ID loss; -1: those of the training split, 0: no classifier");
    add("model.dtype", m.dtype, "compute precision: f32 | bf16 | f64");
    add("model.recompute", m.recompute, "run transformer blocks again in backward: far less memory, about a third more time");
    add("cgi.residual", m.cgi.residual, "none | self");
    add("cgi.ffn", m.cgi.ffn, "hidden width of the interaction's FFNs, in units of d");
    add("cgi.vsr", m.cgi.vsr, "textual vector from the pair or the text alone: pair | text");
    add("dfa.sim", m.dfa.sim, "dot | cosine");
    add("dfa.norm", m.dfa.norm, "softmax | sigmoid");
    add("loss.global", m.loss.global, "loss of the global stage: sdm | cmpm | itc | none");
    add("loss.pair", m.loss.pair, "loss of the pair stage: cmpm | sdm | itc | none");
    add("loss.pairs", m.loss.pairs, "pairs it sees: all | hard:K | matched (leaks; for study)");
    add("loss.pool", m.loss.pool, "with hard:K: groups are chosen among so many pairs; larger batches are cut (choosing is quadratic)");
    add("loss.global_weight", m.loss.global_weight, "factor of the global loss");
    add("loss.pair_weight", m.loss.pair_weight, "factor of the pair loss");
    add("loss.id_weight", m.loss.id_weight, "factor of the ID loss");
    add("loss.temperature", m.loss.temperature, "temperature of sdm and itc in the global stage");
    add("loss.pair_temperature", m.loss.pair_temperature, "temperature of sdm and itc in the pair stage");
    add("sd.slots", c.sd.slots, "prompts per description, the person included");
    add("sd.templates", c.sd.templates, "sentence templates around phrases");
    add("sd.whole_description", c.sd.whole_description, "the whole description as one more prompt");
    add("sd.prompt_dropout", c.sd.prompt_dropout, "share of attribute prompts dropped in training");
    add("sd.neutral", c.sd.neutral, "share of descriptions whose prompts say \"person\" in training");
    add("sd.source", c.sd.source, "grammar; for studies: wordnet | bare | oracle | windows");
    add("sd.window", c.sd.window, "words per window of sd.source = windows");
    for (int i = 0; i < category_count; ++i) {
        const std::string name = category_name(Category(i));
        add("sd.template." + name, c.sd.template_of[i], "prompt of a phrase of this category; {person}, {phrase}, {a}");
    }
    add("data.root", c.data.root, "data set folder or its annotation file");
    add("data.images", c.data.images, "where the pictures lie, when not in the data set's folder");
    add("data.disk_cache", c.data.disk_cache, "keep decoded pictures in a file of the data set's folder");
    add("data.on_bad", c.data.on_bad, "bad records: fatal | skip");
    add("data.workers", c.data.workers, "loader threads");
    add("data.cache_mb", c.data.cache_mb, "memory for decoded pictures");
    add("data.flip", c.data.flip, "chance of a horizontal flip");
    add("data.erase", c.data.erase, "chance of random erasing");
    add("data.pad", c.data.pad, "pixels of padding before the random crop");
    add("train.epochs", c.train.epochs, "passes over the training split");
    add("train.batch", c.train.batch, "pairs per step");
    add("train.accumulate", c.train.accumulate, "micro-batches per update");
    add("train.seed", c.train.seed, "of parameters, order and augmentation");
    add("train.eval_every", c.train.eval_every, "epochs between validations; 0: only at the end");
    add("train.log_every", c.train.log_every, "steps between log lines");
    add("train.save_every", c.train.save_every, "updates between checkpoints; 0: one per epoch");
    add("train.bucket_mb", c.train.bucket_mb, "with several ranks: gradients are summed in slices of at least so many MiB, beside backward");
    add("train.shard_optimizer", c.train.shard_optimizer, "with several ranks: each keeps only a slice of the moments (and of the masters in bf16); the same results");
    add("train.lr", c.train.lr, "learning rate of the encoders");
    add("train.head_lr", c.train.head_lr, "learning rate of the new modules");
    add("train.optimizer", c.train.optimizer, "adamw | adam (weight decay as part of the gradient)");
    add("train.weight_decay", c.train.weight_decay, "weight decay");
    add("train.exempt", c.train.exempt, "without decay, at bias_lr: vectors (biases, norms, positions) | biases");
    add("train.bias_lr", c.train.bias_lr, "rate factor of what is exempt");
    add("train.beta1", c.train.beta1, "of the optimizer");
    add("train.beta2", c.train.beta2, "of the optimizer");
    add("train.eps", c.train.eps, "of the optimizer");
    add("train.warmup", c.train.warmup, "epochs of linear warm-up");
    add("train.clip_norm", c.train.clip_norm, "largest gradient norm; 0: no clipping");
    add("train.ema", c.train.ema, "decay of the weight average; 0: none");
    add("train.schedule", c.train.schedule, "cosine | multistep");
    add("train.graph", c.train.graph, "on one GPU: record a step for each of few sizes of batches, and replay it");
    add("train.hold_lr", c.train.hold_lr, "the learning rate moves at the start of an epoch, not with every update");
    add("eval.shortlist", c.eval.shortlist, "re-score the best K of stage 1; 0: all pairs");
    add("eval.lambda", c.eval.lambda, "weight of the global score; below 0: chosen on val");
    return all;
}

void load_config_text(Config& c, const std::string& text, const std::string& source) {
    auto all = settings(c);
    try {
        apply(toml::parse(text), "", all, source);
    } catch (const toml::parse_error& e) {
        eng::fail("config", source, " line ", e.source().begin.line, ": ", std::string(e.description()));
    }
}

void load_config(Config& c, const std::string& name) {
    for (const Preset& p : presets)
        if (name == p.name) return load_config_text(c, p.text, "preset " + name);
    std::string known;
    for (const std::string& preset : preset_names()) known += (known.empty() ? "" : ", ") + preset;
    std::error_code unknown;
    ENG_CHECK(std::filesystem::exists(name, unknown), "config", "\"", name, "\" is neither a preset (", known, ") nor a file that is there");
    load_config_text(c, eng::read_file(name), name);
}

std::string to_toml(const Config& c) {
    Config copy = c;
    std::string s, section;
    for (const Setting& x : settings(copy)) {
        const auto dot = x.key.find('.');
        if (x.key.substr(0, dot) != section) section = x.key.substr(0, dot), s += (s.empty() ? "[" : "\n[") + section + "]\n";
        s += x.key.substr(dot + 1) + " = " + x.get() + "\n";
    }
    return s;
}

// Comparisons that NaN fails too.
void Config::check() const {
    using Numbers = std::initializer_list<std::pair<const char*, double>>;
    model.check(), optimizer_options(train);
    ENG_CHECK(train.schedule == "cosine" || train.schedule == "multistep", "config", "train.schedule = \"", train.schedule, "\", want cosine | multistep");
    const auto at_least = [](double least, Numbers numbers) {
        for (const auto& [key, v] : numbers) ENG_CHECK(v >= least, "config", key, " = ", v, ", want at least ", least);
    };
    const auto at_most = [](double most, Numbers numbers) {
        for (const auto& [key, v] : numbers) ENG_CHECK(v <= most, "config", key, " = ", v, ", want at most ", most);
    };
    at_least(1, {{"train.epochs", train.epochs}, {"train.batch", train.batch}, {"train.accumulate", train.accumulate}, {"train.log_every", train.log_every},
                 {"sd.slots", sd.slots}, {"sd.window", sd.window}, {"data.workers", data.workers}});
    const Numbers shares{{"data.flip", data.flip}, {"data.erase", data.erase}, {"sd.prompt_dropout", sd.prompt_dropout}, {"sd.neutral", sd.neutral},
                         {"train.beta1", train.beta1}, {"train.beta2", train.beta2}, {"train.ema", train.ema}};
    at_least(0, shares), at_most(1, shares);
    at_least(0, {{"data.pad", data.pad}, {"data.cache_mb", data.cache_mb}, {"train.eval_every", train.eval_every}, {"train.save_every", train.save_every},
                 {"train.bucket_mb", train.bucket_mb}, {"train.lr", train.lr}, {"train.head_lr", train.head_lr}, {"train.weight_decay", train.weight_decay},
                 {"train.bias_lr", train.bias_lr}, {"train.eps", train.eps}, {"train.warmup", train.warmup}, {"train.clip_norm", train.clip_norm},
                 {"eval.shortlist", eval.shortlist}});
    at_most(1, {{"eval.lambda", eval.lambda}});
}

eng::AdamWOptions optimizer_options(const Config::Train& t) {
    ENG_CHECK(t.optimizer == "adamw" || t.optimizer == "adam", "config", "train.optimizer = \"", t.optimizer, "\", want adamw | adam");
    ENG_CHECK(t.exempt == "vectors" || t.exempt == "biases", "config", "train.exempt = \"", t.exempt, "\", want vectors | biases");
    return {t.beta1, t.beta2, t.eps, t.weight_decay, t.bias_lr, t.clip_norm, t.ema, t.optimizer == "adam", t.exempt == "biases"};
}

std::vector<std::string> preset_names() {
    std::vector<std::string> names;
    for (const Preset& p : presets) names.push_back(p.name);
    return names;
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
    std::string best;
    std::size_t least = std::string::npos;
    for (const std::string& c : candidates) {
        std::vector<std::size_t> row(c.size() + 1);
        for (std::size_t j = 0; j <= c.size(); ++j) row[j] = j;
        for (std::size_t i = 1; i <= word.size(); ++i) {
            std::size_t diagonal = row[0];
            row[0] = i;
            for (std::size_t j = 1; j <= c.size(); ++j) {
                const std::size_t change = diagonal + (word[i - 1] != c[j - 1]);
                diagonal = row[j];
                row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
            }
        }
        if (row.back() < least) least = row.back(), best = c;
    }
    return best;
}

}  // namespace scvd
