#include "train/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/safetensors.h"
#include "engine/parallel_errors.h"
#include "engine/transfer.h"
#include "train/checkpoint.h"
#include "train/data/image.h"
#include "train/data/image_write.h"
#include "train/data/pictures.h"
#include "train/data/resize.h"
#include "train/data/texts.h"
#include "train/heatmap.h"
#include "train/metrics.h"

namespace scvd {
namespace {

namespace fs = std::filesystem;
constexpr int kPicturesAtOnce = 64;

void drop_undecodable(std::vector<std::string>& files, bool aloud) {
    const auto why = eng::errors_of_all(std::int64_t(files.size()), 1, [&](std::int64_t i) { load_image(files[i]); });
    std::vector<std::string> good;
    for (std::size_t i = 0; i < files.size(); ++i) {
        if (why[i].empty()) good.push_back(std::move(files[i]));
        else if (aloud) fmt::print(stderr, "left out: {}\n", why[i]);
    }
    if (aloud && good.size() < why.size()) fmt::print(stderr, "{} of {} pictures left out\n", why.size() - good.size(), why.size());
    ENG_CHECK(!good.empty(), "index", "no picture could be decoded");
    files = std::move(good);
}

// The pictures' global vectors are in memory. Their tokens, 395 KB a picture of ViT-B/16, stay in the file.
struct Index {
    eng::SafeTensors file;
    std::vector<std::string> files;
    std::string weights;
    Tensor global;  // [pictures, d] f32
    int patches = 0;
    std::int64_t picture_floats() const { return (patches + 1) * global.cols(); }  // of "tokens"
};

Index open_index(const std::string& path, eng::Arena& arena) {
    Index ix{eng::SafeTensors::open(path), {}, {}, {}};
    const auto meta = [&](const char* key) {
        const auto it = ix.file.metadata().find(key);
        ENG_CHECK(it != ix.file.metadata().end(), "search", path, " is not an index written by `scvd index`: no \"", key, "\"");
        return it->second;
    };
    try {
        ix.files = eng::parse_json(meta("files")).get<std::vector<std::string>>();
    } catch (const eng::Json::exception& e) { eng::fail("search", path, ": the \"files\" in its metadata are damaged: ", eng::reason(e)); }
    ix.weights = meta("weights");
    const auto matrix = [&](const char* key) -> const eng::TensorInfo& {
        const auto& t = ix.file.at(key);
        ENG_CHECK(t.shape.size() == 2 && t.dtype == "F32", "search", path, ": \"", key, "\" should be an F32 matrix");
        return t;
    };
    const auto &global = matrix("global"), &tokens = matrix("tokens");
    const std::int64_t count = global.shape[0];
    ENG_CHECK(count > 0 && std::size_t(count) == ix.files.size() && tokens.shape[0] % count == 0 && tokens.shape[1] == global.shape[1], "search", path,
              ": features and file names do not agree");
    ix.global = Tensor(arena, {count, global.shape[1]}, eng::DType::f32);
    eng::write_host(ix.global, global.data);
    ix.patches = int(tokens.shape[0] / count) - 1;
    return ix;
}

// The features of some pictures of the index, in the model's dtype.
ImageFeatures subset(const Index& ix, const std::vector<int>& which, eng::DType dtype) {
    const std::vector<std::int32_t> rows(which.begin(), which.end());
    const auto n = std::size_t(ix.picture_floats());
    std::vector<float> tokens(which.size() * n);
    const std::byte* all = ix.file.at("tokens").data;
    for (std::size_t i = 0; i < which.size(); ++i) std::memcpy(tokens.data() + i * n, all + std::size_t(which[i]) * n * 4, n * 4);
    eng::Arena& a = ix.global.arena();
    return {eng::cast(eng::gather_rows(ix.global, eng::indices(a, rows)), dtype), eng::cast(eng::upload(a, {std::int64_t(which.size()) * (ix.patches + 1), ix.global.cols()}, tokens), dtype),
            int(which.size()), ix.patches};
}

std::string label_of(const TextItem& item, std::size_t prompt) {
    const int p = item.phrase[prompt];
    return p == person_prompt ? item.parts.person : p == description_prompt ? "the whole description" : item.parts.phrases[p].text;
}

// Pictures, weights and heat maps of the results to show.
void fill_views(SearchPage& page, const TrainedModel& m, const ImageSide& shown, const TextItem& item, const TextSide& text) {
    PairList pairs;
    for (int r = 0; r < int(page.results.size()); ++r) pairs.add(r, 0);
    const PairVectors v = m.model.interaction()(shown, text, pairs, true);
    const auto maps = eng::download<float>(eng::cast(v.map, eng::DType::f32)), weights = eng::download<float>(eng::cast(v.weights, eng::DType::f32));
    const auto cells = v.map.cols();
    const Grid g = m.config.model.grid();
    for (std::size_t r = 0; r < page.results.size(); ++r) {
        const Image picture = load_image(page.results[r].path);
        const int h = 256, w = std::max(1, picture.width * h / std::max(1, picture.height));
        const Image shown_picture = resize(picture, w, h);
        page.results[r].jpeg = encode_jpeg(w, h, shown_picture.rgb.data(), 88);
        for (std::size_t k = 0; k < item.prompts.size(); ++k) {
            const std::size_t row = r * item.prompts.size() + k;
            const auto heat = blend_heatmap(shown_picture.rgb.data(), w, h, maps.data() + row * cells, g.height, g.width);
            PhraseView view;
            view.text = label_of(item, k);
            view.weight = weights[row];
            view.heat_png = encode_png(w, h, heat.data());
            page.results[r].phrases.push_back(std::move(view));
        }
    }
}

// How well each prompt alone fits each result: its pair score as a description of its own.
void fill_phrase_scores(SearchPage& page, const TrainedModel& m, const ImageSide& shown, TextBank& bank, const TextItem& item, eng::Arena& arena) {
    std::vector<TextItem> alone;
    for (std::size_t k = 0; k < item.prompts.size(); ++k) alone.push_back(bank.item(item.phrase[k] == description_prompt ? item.text : bank.prompt_text(item.prompts[k])));
    const TextSide text = m.model.interaction().text_side(m.model.encode_texts(make_text_batch(arena, bank, pointers(alone))));
    PairList pairs;
    for (int r = 0; r < int(page.results.size()); ++r)
        for (int k = 0; k < int(alone.size()); ++k) pairs.add(r, k);
    const auto scores = m.model.pair_scores(shown, text, pairs);
    for (std::size_t r = 0; r < page.results.size(); ++r)
        for (std::size_t k = 0; k < alone.size(); ++k) page.results[r].phrases[k].score = scores[r * alone.size() + k];
}

}  // namespace

int build_index(const IndexOptions& o, World& world) {
    eng::Recording off(nullptr);
    TrainedModel m(o.weights);
    auto files = pictures_below(o.folder);
    if (o.skip_bad) drop_undecodable(files, world.first());
    const auto& im = m.config.model.image;
    const std::int64_t n = std::int64_t(files.size()), d = m.config.model.embed, per_image = m.config.model.tokens() + 1;
    Pictures pictures(files, im.height, im.width, 0);
    std::vector<float> global, tokens;
    if (world.first()) global.reserve(std::size_t(n * d)), tokens.reserve(std::size_t(n * per_image * d));
    for (std::int64_t round = 0; round < n; round += std::int64_t(kPicturesAtOnce) * world.size()) {
        eng::Arena step;
        const auto block = [&](int rank) {
            const std::int64_t first = std::min(n, round + rank * kPicturesAtOnce);
            return std::pair{int(first), int(std::min<std::int64_t>(kPicturesAtOnce, n - first))};
        };
        ImageFeatures own;
        if (const auto [first, count] = block(world.rank()); count > 0) own = m.model.encode_images(read_pictures(step, pictures, first, count, im.height, im.width));
        for (int r = 0; r < world.size(); ++r) {
            const int count = block(r).second;
            if (count == 0) continue;
            const auto append = [&](std::vector<float>& to, const Tensor& mine, std::int64_t rows) {
                const Tensor x = r == world.rank() ? eng::cast(mine, eng::DType::f32) : Tensor(step, {rows, d}, eng::DType::f32);
                world.comm().broadcast(x, r);
                if (!world.first()) return;
                const auto values = eng::download<float>(x);
                to.insert(to.end(), values.begin(), values.end());
            };
            append(global, own.global, count), append(tokens, own.tokens, count * per_image);
        }
    }
    if (!world.first()) return int(n);
    for (auto& f : files) f = fs::absolute(f).lexically_normal().string();
    eng::write_safetensors(o.out, {{"global", "F32", {n, d}, global.data(), global.size() * 4}, {"tokens", "F32", {n * per_image, d}, tokens.data(), tokens.size() * 4}},
                           {{"format", "scvd index"}, {"files", eng::json_text(nlohmann::json(files))}, {"weights", fs::absolute(o.weights).lexically_normal().string()}});
    return int(n);
}

SearchPage search(const SearchOptions& o) {
    eng::Recording off(nullptr);
    ENG_CHECK(o.query.find_first_not_of(" \t\r\n") != std::string::npos, "search", "the description is empty");
    ENG_CHECK(o.top > 0 && o.shortlist > 0, "search", "--top and --shortlist want at least 1");
    ENG_CHECK(o.lambda <= 1, "search", "--lambda ", o.lambda, ", want at most 1");
    eng::Arena arena;
    const Index ix = open_index(o.index, arena);
    TrainedModel m(o.weights.empty() ? ix.weights : o.weights);
    ENG_CHECK(ix.global.cols() == m.config.model.embed && ix.patches == m.config.model.tokens(), "search",
              o.index, " was made by a model of another shape than ", o.weights.empty() ? ix.weights : o.weights);
    TextBank bank(m.config, o.bpe);
    const TextItem item = bank.item(o.query);
    const TextFeatures features = m.model.encode_texts(make_text_batch(arena, bank, {&item}));
    const TextSide text = m.model.interaction().text_side(features);
    const auto global = eng::download<float>(eng::cast(global_scores(features.global, eng::cast(ix.global, features.global.dtype())), eng::DType::f32));
    const std::vector<int> listed = shortlist(global, std::max(o.shortlist, o.top));
    const float lambda = o.lambda >= 0 ? o.lambda : float(m.loaded.state.lambda);
    const auto side_of = [&](const std::vector<int>& which) { return m.model.interaction().image_side(subset(ix, which, m.model.params().compute_dtype())); };
    std::vector<float> pair(global.size(), 0), fused(global.size(), 0);
    for (std::size_t first = 0; first < listed.size(); first += kPicturesAtOnce) {
        const std::vector<int> part(listed.begin() + first, listed.begin() + std::min(listed.size(), first + kPicturesAtOnce));
        PairList pairs;
        for (int i = 0; i < int(part.size()); ++i) pairs.add(i, 0);
        const auto s = m.model.pair_scores(side_of(part), text, pairs);
        for (std::size_t i = 0; i < part.size(); ++i) pair[part[i]] = s[i], fused[part[i]] = lambda * global[part[i]] + (1 - lambda) * s[i];
    }
    std::vector<int> shown = listed;
    std::stable_sort(shown.begin(), shown.end(), [&](int a, int b) { return fused[a] > fused[b]; });
    shown.resize(std::min<std::size_t>(shown.size(), o.top));
    SearchPage page;
    page.query = o.query, page.person = item.parts.person;
    for (const auto& p : item.parts.phrases) page.phrases.push_back(p.text);
    for (const auto& p : item.parts.absent) page.absent.push_back(p.text);
    for (const int i : shown) {
        ResultView r;
        r.path = ix.files[i], r.score = fused[i], r.global_score = global[i], r.pair_score = pair[i];
        page.results.push_back(std::move(r));
    }
    page.note = fmt::format("{} pictures, best {} of the global stage re-scored by the pair stage, lambda {:.2f}", ix.files.size(), listed.size(), lambda);
    const ImageSide side = side_of(shown);
    fill_views(page, m, side, item, text);
    fill_phrase_scores(page, m, side, bank, item, arena);
    return page;
}

nlohmann::json to_json(const SearchPage& page) {
    nlohmann::json j{{"query", page.query}, {"person", page.person}, {"phrases", page.phrases}, {"absent", page.absent}, {"note", page.note}, {"results", nlohmann::json::array()}};
    for (const ResultView& r : page.results) {
        nlohmann::json phrases = nlohmann::json::array();
        for (const PhraseView& p : r.phrases) phrases.push_back({{"text", p.text}, {"weight", p.weight}, {"score", p.score}});
        j["results"].push_back({{"path", r.path}, {"score", r.score}, {"global", r.global_score}, {"pair", r.pair_score}, {"phrases", phrases}});
    }
    return j;
}

std::vector<std::string> write_heatmaps(const SearchPage& page, const std::string& folder, int results) {
    fs::create_directories(folder);
    std::vector<std::string> paths;
    for (int r = 0; r < std::min<int>(results, int(page.results.size())); ++r)
        for (std::size_t k = 0; k < page.results[r].phrases.size(); ++k) {
            const PhraseView& p = page.results[r].phrases[k];
            std::string name = fmt::format("{:02}_{:02}_", r + 1, k);
            for (const char c : p.text.substr(0, 40)) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '-';
            paths.push_back((fs::path(folder) / (name + ".png")).string());
            eng::write_file(paths.back(), std::as_bytes(std::span(p.heat_png)));
        }
    return paths;
}

}  // namespace scvd
