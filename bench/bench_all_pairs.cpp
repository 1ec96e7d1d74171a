// SCVD scores of every query with every image, from sides that were computed once, as `scvd eval` without a shortlist does.
// Features are random: what is measured is scoring, not encoding. Beside it: bench/all_pairs.py.
//   bench_all_pairs PRESET f32|bf16 cpu|cuda QUERIES IMAGES [TEXT_BLOCK IMAGE_BLOCK [DUMP_FOLDER]]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "bench/made_up_batch.h"
#include "engine/io/json.h"
#include "engine/io/safetensors.h"
#include "engine/parallel.h"
#include "engine/rng.h"
#include "engine/transfer.h"
#include "train/checkpoint.h"

using namespace scvd;

namespace {

constexpr int kPrompts = 6;                         // of each query: the mean of real ones
constexpr double kQueries = 6156, kGallery = 3074;  // CUHK-PEDES' test split

std::vector<double> normals(std::int64_t n, std::uint64_t stream) {
    std::vector<double> v(static_cast<std::size_t>(n));
    eng::parallel_for(n, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) v[std::size_t(i)] = float(eng::normal(1, stream, std::uint64_t(i)));
    });
    return v;
}
double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
eng::TensorToWrite floats(const std::string& name, const std::vector<std::int64_t>& shape, const std::vector<float>& v) {
    return {name, "F32", shape, v.data(), v.size() * sizeof(float), {}};
}

struct Task {
    Config config;
    int queries = 0, images = 0, text_block = 32, image_block = 64, tokens = 0;
    eng::DType dtype = eng::DType::f32;
    std::vector<double> image_tokens, prompts;  // [images*(N+1), d] and [queries*kPrompts, d]
};

// Features of `count` pictures or queries from `first` on, as the encoders would leave them.
Tensor part(eng::Arena& arena, const Task& t, const std::vector<double>& all, int first, int count, int rows) {
    const std::int64_t d = t.config.model.embed, n = std::int64_t(rows) * d;
    return eng::upload_as(arena, {std::int64_t(count) * rows, d}, {all.begin() + first * n, all.begin() + (first + count) * n}, t.dtype);
}

struct Timed {
    double sides = 0, scores = 0;  // seconds
    std::vector<float> values;     // [queries, images]
};

// Of the first queries and images.
Timed score(const Task& t, int queries, int images, const Scvd& model, eng::Arena& arena) {
    eng::Recording off(nullptr);
    Timed out;
    out.values.resize(std::size_t(queries) * images);
    auto start = std::chrono::steady_clock::now();
    std::vector<TextSide> texts;
    for (int q = 0; q < queries; q += t.text_block) {
        const int n = std::min(t.text_block, queries - q);
        texts.push_back(model.interaction().text_side({{}, part(arena, t, t.prompts, q, n, kPrompts), eng::packed_seqs(arena, std::vector<std::int32_t>(n, kPrompts))}));
    }
    std::vector<ImageSide> sides;
    for (int i = 0; i < images; i += t.image_block) {
        const int n = std::min(t.image_block, images - i);
        sides.push_back(model.interaction().image_side({{}, part(arena, t, t.image_tokens, i, n, t.tokens + 1), n, t.tokens}));
    }
    eng::download_wide(sides.back().tvl_kv);  // waits for the device
    out.sides = seconds_since(start);
    start = std::chrono::steady_clock::now();
    for (std::size_t ib = 0; ib < sides.size(); ++ib)
        for (std::size_t tb = 0; tb < texts.size(); ++tb) {
            PairList pairs;
            const int n_images = sides[ib].tokens.count, n_texts = texts[tb].slots.count;
            for (int q = 0; q < n_texts; ++q)
                for (int i = 0; i < n_images; ++i) pairs.add(i, q);
            const std::vector<float> v = model.pair_scores(sides[ib], texts[tb], pairs);
            for (int q = 0; q < n_texts; ++q)
                std::copy_n(v.begin() + std::size_t(q) * n_images, n_images, out.values.begin() + (tb * t.text_block + q) * images + ib * t.image_block);
        }
    out.scores = seconds_since(start);
    return out;
}

void dump(const std::string& folder, const Task& t, Scvd& model, const Timed& r) {
    std::filesystem::create_directories(folder);
    save_checkpoint(folder + "/weights.safetensors", t.config, model, nullptr, {});
    const std::int64_t d = t.config.model.embed;
    const std::vector<float> tokens(t.image_tokens.begin(), t.image_tokens.end()), prompts(t.prompts.begin(), t.prompts.end());
    eng::write_safetensors(folder + "/features.safetensors", {floats("tokens", {t.images, t.tokens + 1, d}, tokens), floats("prompts", {t.queries, kPrompts, d}, prompts),
                                                              floats("scores", {t.queries, t.images}, r.values)});
    nlohmann::json j = describe(t.config, {});
    j["blocks"] = {t.text_block, t.image_block};
    eng::write_file(folder + "/batch.json", eng::json_text(j));
}

}  // namespace

int main(int argc, char** argv) try {
    ENG_CHECK(argc == 6 || argc == 8 || argc == 9, "bench_all_pairs", "usage: bench_all_pairs PRESET f32|bf16 cpu|cuda QUERIES IMAGES [TEXT_BLOCK IMAGE_BLOCK [DUMP_FOLDER]]");
    const std::string device = argv[3];
    ENG_CHECK(device == "cpu" || device == "cuda", "bench_all_pairs", "device \"", device, "\" is neither cpu nor cuda");
    eng::default_device = device == "cuda" ? eng::Device::cuda : eng::Device::cpu;
    Task t;
    t.queries = std::stoi(argv[4]), t.images = std::stoi(argv[5]);
    if (argc > 6) t.text_block = std::stoi(argv[6]), t.image_block = std::stoi(argv[7]);
    ENG_CHECK(std::min({t.queries, t.images, t.text_block, t.image_block}) > 0, "bench_all_pairs", "counts and blocks should be positive");
    load_config(t.config, argv[1]);
    ModelConfig& m = t.config.model;
    m.dtype = argv[2];
    m.image.layers = m.text.layers = 1;  // the encoders are not run
    t.dtype = m.dtype == "bf16" ? eng::DType::bf16 : eng::DType::f32;
    t.tokens = m.tokens();
    t.image_tokens = normals(std::int64_t(t.images) * (t.tokens + 1) * m.embed, 11), t.prompts = normals(std::int64_t(t.queries) * kPrompts * m.embed, 12);
    eng::Arena weights, arena;
    Scvd model(m, weights, 1);
    score(t, std::min(t.queries, t.text_block), std::min(t.images, t.image_block), model, arena);  // warms up
    const Timed r = score(t, t.queries, t.images, model, arena);
    if (argc > 8) dump(argv[8], t, model, r);
    const double pairs = double(t.queries) * t.images;
    const eng::Json row{{"engine", "scvd"}, {"preset", argv[1]}, {"dtype", argv[2]}, {"device", device}, {"queries", t.queries}, {"images", t.images}, {"prompts", kPrompts},
                        {"blocks", {t.text_block, t.image_block}}, {"threads", eng::num_threads()}, {"sides_s", r.sides}, {"scores_s", r.scores}, {"pairs_per_s", pairs / r.scores},
                        {"peak_GB", double(weights.peak() + arena.peak() + eng::cuda::scratch_peak()) / 1e9},
                        {pairs == kQueries * kGallery ? "all_pairs_s" : "all_pairs_s_extrapolated", kQueries * kGallery / pairs * r.scores}};
    fmt::print("{}\n", eng::json_text(row));
} catch (const std::exception& e) {
    fmt::print(stderr, "bench_all_pairs: {}\n", e.what());
    return 1;
}
