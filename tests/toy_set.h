#pragma once
// A data set of coloured people made on the spot: identity = (top colour, bottom colour), said in the caption.
#include <filesystem>
#include <fstream>
#include <unistd.h>

#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/rng.h"
#include "train/config.h"
#include "train/data/image_write.h"

namespace scvd::test {

namespace fs = std::filesystem;

struct TempFolder {
    fs::path path;
    TempFolder() {
        std::string name = (fs::temp_directory_path() / "scvd-test-XXXXXX").string();
        path = mkdtemp(name.data());
    }
    ~TempFolder() { fs::remove_all(path); }
    std::string operator/(const std::string& name) const { return (path / name).string(); }
};

struct Colour { const char* name; std::uint8_t rgb[3]; };
inline const Colour colours[] = {{"red", {200, 30, 30}}, {"green", {30, 160, 50}}, {"blue", {40, 60, 200}}, {"yellow", {230, 210, 40}}, {"black", {15, 15, 15}}, {"white", {240, 240, 240}}};

// 48x24 pictures: top half one colour, bottom half another, noise all over; noise alone when `blank`.
inline std::vector<std::uint8_t> toy_picture(const Colour& top, const Colour& bottom, std::uint64_t seed, bool blank) {
    std::vector<std::uint8_t> rgb;
    eng::Rng rng(seed, 1);
    for (int y = 0; y < 48; ++y)
        for (int x = 0; x < 24; ++x)
            for (int c = 0; c < 3; ++c) {
                const int base = blank ? int(rng.below(256)) : (y < 24 ? top : bottom).rgb[c];
                rgb.push_back(std::uint8_t(std::clamp(base + int(rng.below(31)) - 15, 0, 255)));
            }
    return rgb;
}

// 36 identities: 24 for training, 6 for validation, 6 for test; `views` pictures each, two captions.
inline void make_toy_set(const fs::path& root, int views = 2, bool noise_in_test = false) {
    fs::create_directories(root / "imgs");
    nlohmann::json all = nlohmann::json::array();
    for (int id = 0; id < 36; ++id) {
        const int order = id * 7 % 36;
        const Colour &top = colours[order / 6], &bottom = colours[order % 6];
        const std::string split = id < 24 ? "train" : id < 30 ? "val" : "test";
        for (int v = 0; v < views; ++v) {
            const std::string name = std::to_string(id) + "_c" + std::to_string(v) + ".jpg";
            const auto jpeg = encode_jpeg(24, 48, toy_picture(top, bottom, std::uint64_t(id * 10 + v), noise_in_test && split == "test").data(), 90);
            eng::write_file(root / "imgs" / name, std::as_bytes(std::span(jpeg)));
            all.push_back({{"id", id}, {"img_path", name}, {"split", split},
                           {"captions", {std::string("A man in a ") + top.name + " shirt and " + bottom.name + " pants.",
                                         std::string("He is wearing ") + bottom.name + " pants and a " + top.name + " shirt."}}});
        }
    }
    eng::write_file(root / "data_captions.json", eng::json_text(all));
}

inline Config toy_config(const std::string& root) {
    Config c;
    load_config(c, "demo");
    c.data.root = root;
    c.model.image = {48, 24, 8, 8, 32, 2, 1};
    c.model.text.dim = 32, c.model.text.layers = 2, c.model.text.heads = 1;
    c.model.embed = 32;
    c.model.loss.pairs = "hard:4";
    c.data.pad = 1, c.data.erase = 0;
    c.train.epochs = 4, c.train.batch = 16, c.train.eval_every = 0, c.train.log_every = 1;
    c.train.lr = c.train.head_lr = 3e-3f;
    return c;
}

// The loss of each update that a run logged.
inline std::vector<double> losses(const std::string& run) {
    std::vector<double> v;
    std::ifstream in(run + "/metrics.jsonl");
    for (std::string line; std::getline(in, line);)
        if (const auto j = eng::parse_json(line); j.contains("loss")) v.push_back(j["loss"]);
    return v;
}

}  // namespace scvd::test
