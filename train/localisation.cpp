#include "train/localisation.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>

#include "engine/io/json.h"
#include "engine/transfer.h"

namespace scvd {
namespace {

constexpr int kImagesAtOnce = 32;

PictureRegions parse(const nlohmann::json& j) {
    PictureRegions r;
    r.width = j.at("width"), r.height = j.at("height");
    for (const auto& region : j.at("regions")) {
        r.runs.push_back(region.at("mask").get<std::vector<std::int32_t>>());
        const auto pixels = std::accumulate(r.runs.back().begin(), r.runs.back().end(), std::int64_t(0));
        ENG_CHECK(pixels == std::int64_t(r.width) * r.height, "regions", "region ", r.runs.size() - 1, " covers ", pixels,
                  " pixels of a picture of ", r.width, "x", r.height);
    }
    for (const auto& caption : j.at("captions")) {
        r.captions.emplace_back();
        for (const auto& m : caption) {
            r.captions.back().push_back({m.at("begin"), m.at("end"), m.at("region"), m.at("class")});
            const int region = r.captions.back().back().region;
            ENG_CHECK(region >= 0 && region < int(r.runs.size()), "regions", "a mention names region ", region, " of ", r.runs.size());
        }
    }
    return r;
}

// The mentions behind one query's prompts: row of the map -> mention.
void add_query(LocalisationTable& table, const TextItem& item, const PictureRegions& picture, const std::vector<Mention>& mentions,
               const float* maps, int gh, int gw) {
    for (std::size_t k = 0; k < item.prompts.size(); ++k) {
        const int p = item.phrase[k];
        if (p == description_prompt) continue;  // the whole description has no region of its own
        const std::size_t begin = p < 0 ? item.parts.person_begin : item.parts.phrases[p].begin;
        const std::size_t end = p < 0 ? item.parts.person_end : item.parts.phrases[p].end;
        const Mention* m = mention_at(mentions, begin, end);
        if (!m) continue;
        const std::span<const float> map(maps + k * std::size_t(gh) * gw, std::size_t(gh) * gw);
        table.add(m->phrase_class, localise(map, gh, gw, picture.mask(m->region), picture.height, picture.width));
    }
}

}  // namespace

std::vector<std::uint8_t> PictureRegions::mask(int region) const {
    std::vector<std::uint8_t> m;
    m.reserve(std::size_t(width) * height);
    std::uint8_t value = 0;
    for (const std::int32_t n : runs[region]) m.insert(m.end(), std::size_t(n), value), value ^= 1;
    return m;
}

std::optional<std::vector<PictureRegions>> load_regions(const std::string& root, const Split& split) {
    const std::string path = (std::filesystem::path(root) / "regions.jsonl").string();
    std::ifstream in(path);
    if (!in) return std::nullopt;
    std::map<std::string, std::size_t> index;
    for (std::size_t i = 0; i < split.images.size(); ++i) index[split.images[i].name] = i;
    std::vector<PictureRegions> all(split.images.size());
    int number = 0;
    for (std::string line; std::getline(in, line);) {
        ++number;
        try {
            const auto j = eng::parse_json(line);
            if (const auto it = index.find(j.at("img_path").get<std::string>()); it != index.end()) all[it->second] = parse(j);
        } catch (const eng::Json::exception& e) {
            eng::fail("regions", path, " line ", number, ": ", eng::reason(e, true));
        } catch (const std::exception& e) { eng::fail("regions", path, " line ", number, ": ", e.what()); }
    }
    for (std::size_t i = 0; i < all.size(); ++i)
        ENG_CHECK(all[i].width > 0, "regions", path, " has no line for ", split.images[i].name);
    return all;
}

const Mention* mention_at(const std::vector<Mention>& mentions, std::size_t begin, std::size_t end) {
    const Mention* best = nullptr;
    std::size_t most = 0;
    for (const Mention& m : mentions) {
        const std::size_t lo = std::max(begin, m.begin), hi = std::min(end, m.end);
        if (hi > lo && hi - lo > most) most = hi - lo, best = &m;
    }
    return best;
}

LocalisationTable localise_split(const Scvd& model, const Config& c, const Split& split, Pictures& pictures, TextBank& bank,
                                 const std::vector<PictureRegions>& regions) {
    eng::Recording off(nullptr);
    const Grid g = c.model.grid();
    LocalisationTable table;
    for (int first = 0; first < int(split.images.size()); first += kImagesAtOnce) {
        eng::Arena arena;
        const int n = std::min(kImagesAtOnce, int(split.images.size()) - first);
        const ImageSide images = model.interaction().image_side(
            model.encode_images(read_pictures(arena, pictures, first, n, c.model.image.height, c.model.image.width)));
        std::vector<TextItem> items;
        PairList own;
        std::vector<int> caption;
        for (int i = 0; i < n; ++i)
            for (std::size_t k = 0; k < split.images[first + i].captions.size(); ++k) {
                own.add(i, int(items.size())), caption.push_back(int(k));
                items.push_back(bank.item(split.images[first + i].captions[k]));
            }
        const TextSide texts = model.interaction().text_side(model.encode_texts(make_text_batch(arena, bank, pointers(items))));
        const PairVectors v = model.interaction()(images, texts, own, true);
        const auto maps = eng::download<float>(eng::cast(v.map, eng::DType::f32));
        for (int q = 0; q < own.size(); ++q) {
            const PictureRegions& picture = regions[first + own.image[q]];
            const auto mentions = caption[q] < int(picture.captions.size()) ? picture.captions[caption[q]] : std::vector<Mention>{};
            add_query(table, items[q], picture, mentions, maps.data() + std::size_t(v.prompts.host_begin[q]) * v.map.cols(), g.height, g.width);
        }
    }
    return table;
}

nlohmann::json to_json(const LocalisationTable& t) {
    const auto row = [](const LocalisationTable::Row& r) {
        return nlohmann::json{{"phrases", r.phrases}, {"pointing_game", r.mean.hit}, {"mass_inside", r.mean.mass}, {"area", r.mean.area}, {"pointing_over_uniform", r.hit_over_chance()}};
    };
    nlohmann::json j{{"all", row(t.overall())}};
    for (const auto& [name, r] : t.classes()) j["classes"][name] = row(r);
    return j;
}

std::string table(const LocalisationTable& t) {
    std::string out = fmt::format("{:<18}{:>8}{:>10}{:>10}{:>10}{:>10}\n", "where TVL looks", "phrases", "pointing", "uniform", "factor", "mass");
    const auto line = [&](const std::string& name, const LocalisationTable::Row& r) {
        out += fmt::format("{:<18}{:>8}{:>9.1f}%{:>9.1f}%{:>10.2f}{:>9.1f}%\n", name, r.phrases, 100 * r.mean.hit, 100 * r.mean.area, r.hit_over_chance(), 100 * r.mean.mass);
    };
    for (const auto& [name, r] : t.classes()) line(name, r);
    line("all", t.overall());
    return out;
}

}  // namespace scvd
