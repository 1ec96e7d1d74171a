#include "train/data/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/io/file.h"
#include "engine/parallel_errors.h"
#include "engine/rng.h"
#include "model/tokenizer.h"
#include "train/data/contact_sheet.h"
#include "train/data/image.h"

namespace scvd {
namespace {

constexpr int context = 77, tiny_width = 16, tiny_height = 32;

// Two files of the same bytes have the same key; FNV-1a over all of them, and the size.
struct PictureFacts {
    std::uint64_t hash = 0, bytes = 0;
    int width = 0, height = 0;
};
PictureFacts facts_of(const std::string& path) {
    const eng::MappedFile file(path);
    PictureFacts f{eng::fnv1a({reinterpret_cast<const char*>(file.bytes().data()), file.size()}), file.size(), 0, 0};
    const Image image = decode_image(file.bytes(), path);
    f.width = image.width, f.height = image.height;
    return f;
}

// The kinds of load_dataset's sentences.
std::string kind_of(const std::string& problem) {
    const std::pair<const char*, const char*> kinds[] = {
        {"is not there", "missing pictures"}, {"cut short", "corrupt pictures"}, {"is damaged", "corrupt pictures"}, {"not a picture", "corrupt pictures"},
        {"climbs out", "paths out of the folder"}, {"the picture is in split", "pictures in two splits"}, {": identity ", "identities in training and evaluation"}};
    for (const auto& [part, kind] : kinds)
        if (problem.find(part) != std::string::npos) return kind;
    return "malformed records";
}

std::string lower(std::string s) {
    for (char& c : s) c = char(std::tolower(static_cast<unsigned char>(c)));
    return s;
}

class Check {
public:
    Check(const CheckOptions& o) : options_(o), layout_(find_layout(o.root, o.images)), data_(load_dataset(o.root, OnBad::skip, o.images)), tokenizer_(Tokenizer::load(o.bpe)) {}

    DataCheck run() {
        result_.set = layout_.set, result_.root = options_.root, result_.records = data_.records;
        for (const std::string& problem : data_.skipped) result_.bad[kind_of(problem)].push_back(problem);
        const Split* splits[] = {&data_.train, &data_.val, &data_.test};
        for (int s = 0; s < 3; ++s)
            if (!splits[s]->images.empty() || layout_.published[s].images > 0) result_.splits.push_back(check(*splits[s], layout_.published[s]));
        result_.texts = report_texts(captions_, Deconstructor());
        for (const auto& [key, files] : same_picture_)
            if (files.size() > 1) result_.notable["duplicate pictures"].push_back(join(files));
        for (const auto& [text, uses] : same_caption_)
            if (uses.size() > 1) result_.notable["captions of several identities"].push_back("\"" + text.substr(0, 80) + "\": " + std::to_string(uses.size()) + " identities");
        if (!options_.sheet.empty()) write_contact_sheet(options_.sheet, data_);
        return std::move(result_);
    }

private:
    static std::string join(const std::vector<std::string>& parts) {
        std::string s;
        for (const auto& p : parts) s += (s.empty() ? "" : " = ") + p;
        return s;
    }

    SplitCheck check(const Split& split, const SplitCounts& published) {
        SplitCheck c;
        c.name = split.name, c.published = published;
        c.counts = {split.identities, int(split.images.size()), int(split.pairs.size())};
        look_at_ids(c, split);
        look_at_pictures(c, split);
        look_at_captions(c, split);
        return c;
    }

    static void look_at_ids(SplitCheck& c, const Split& split) {
        std::set<int> ids;
        for (const Record& r : split.images) ids.insert(r.id);
        if (ids.empty()) return;
        c.min_id = *ids.begin(), c.max_id = *ids.rbegin();
        c.missing_ids = int(std::int64_t(c.max_id) - c.min_id + 1 - std::int64_t(ids.size()));
    }

    void look_at_pictures(SplitCheck& c, const Split& split) {
        std::vector<PictureFacts> facts(split.images.size());
        eng::all_or_throw(std::int64_t(facts.size()), 16, [&](std::int64_t i) { facts[std::size_t(i)] = facts_of(split.images[std::size_t(i)].path); });
        for (std::size_t i = 0; i < facts.size(); ++i) {
            const PictureFacts& f = facts[i];
            same_picture_[{f.hash, f.bytes}].push_back(split.name + "/" + split.images[i].name);
            if (i == 0 || std::int64_t(f.width) * f.height < std::int64_t(c.small_width) * c.small_height) c.small_width = f.width, c.small_height = f.height;
            if (f.width >= tiny_width && f.height >= tiny_height) continue;
            ++c.tiny;
            result_.notable["tiny pictures"].push_back(fmt::format("{}/{} is {}x{}", split.name, split.images[i].name, f.width, f.height));
        }
    }

    void look_at_captions(SplitCheck& c, const Split& split) {
        std::vector<int> lengths;
        for (const Record& r : split.images)
            for (const std::string& caption : r.captions) {
                lengths.push_back(int(tokenizer_.encode(caption).size()) + 2);
                c.cut += lengths.back() > context;
                captions_.push_back(caption);
                same_caption_[lower(caption)].insert(r.id);
                if (says_nothing(caption)) result_.notable["captions that say nothing"].push_back(split.name + "/" + r.name + ": \"" + caption.substr(0, 80) + "\"");
            }
        if (lengths.empty()) return;
        std::sort(lengths.begin(), lengths.end());
        const auto at = [&](double share) { return lengths[std::size_t(share * double(lengths.size() - 1))]; };
        c.tokens_min = at(0), c.tokens_median = at(0.5), c.tokens_p95 = at(0.95), c.tokens_max = at(1);
    }

    const CheckOptions& options_;
    Layout layout_;
    Dataset data_;
    Tokenizer tokenizer_;
    std::vector<std::string> captions_;
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::vector<std::string>> same_picture_;
    std::map<std::string, std::set<int>> same_caption_;
    DataCheck result_;
};

nlohmann::json counts_json(const SplitCounts& c) { return {{"identities", c.identities}, {"images", c.images}, {"captions", c.captions}}; }

// "11003", or "11002 of 11003" when another number is published.
std::string against(int got, int published) { return published == 0 || got == published ? std::to_string(got) : fmt::format("{} of {}", got, published); }

}  // namespace

bool says_nothing(const std::string& caption) {
    const std::string text = lower(caption);
    for (const char* phrase : {"no photo", "no image", "no picture", "not available", "cannot be seen", "can't see the", "no description", "no person"})
        if (text.find(phrase) != std::string::npos) return true;
    return std::count(text.begin(), text.end(), ' ') < 2;
}

bool SplitCheck::as_published() const {
    const auto same = [](int got, int want) { return want == 0 || got == want; };
    return same(counts.identities, published.identities) && same(counts.images, published.images) && same(counts.captions, published.captions);
}

int DataCheck::exit_code() const {
    if (!bad.empty()) return 2;
    return std::all_of(splits.begin(), splits.end(), [](const SplitCheck& s) { return s.as_published(); }) ? 0 : 3;
}

DataCheck check_data(const CheckOptions& o) { return Check(o).run(); }

nlohmann::json to_json(const DataCheck& c) {
    nlohmann::json j{{"set", c.set}, {"root", c.root}, {"records", c.records}, {"bad", c.bad}, {"notable", c.notable}, {"exit_code", c.exit_code()}};
    for (const SplitCheck& s : c.splits)
        j["splits"][s.name] = {{"counts", counts_json(s.counts)}, {"published", counts_json(s.published)}, {"as_published", s.as_published()},
                               {"ids", {{"min", s.min_id}, {"max", s.max_id}, {"missing", s.missing_ids}}},
                               {"tokens", {{"min", s.tokens_min}, {"median", s.tokens_median}, {"p95", s.tokens_p95}, {"max", s.tokens_max}, {"cut", s.cut}}},
                               {"smallest_picture", {s.small_width, s.small_height}}, {"tiny", s.tiny}};
    j["texts"] = to_json(c.texts);
    return j;
}

std::string table(const DataCheck& c) {
    std::string out = fmt::format("{} in {}: {} records\n{:<8}{:>16}{:>16}{:>16}  {:<22}{:<26}{}\n", c.set, c.root, c.records, "split", "identities", "images", "captions",
                                  "ids (missing)", "tokens min/50%/95%/max", "cut");
    for (const SplitCheck& s : c.splits)
        out += fmt::format("{:<8}{:>16}{:>16}{:>16}  {:<22}{:<26}{}\n", s.name, against(s.counts.identities, s.published.identities), against(s.counts.images, s.published.images),
                           against(s.counts.captions, s.published.captions), fmt::format("{}..{} ({})", s.min_id, s.max_id, s.missing_ids),
                           fmt::format("{}/{}/{}/{}", s.tokens_min, s.tokens_median, s.tokens_p95, s.tokens_max), s.cut);
    out += table(c.texts);
    constexpr std::size_t shown = 5;
    for (const auto* lists : {&c.bad, &c.notable})
        for (const auto& [kind, sentences] : *lists) {
            out += fmt::format("{} {}\n", sentences.size(), kind);
            for (std::size_t i = 0; i < std::min(shown, sentences.size()); ++i) out += "    " + sentences[i] + "\n";
            if (sentences.size() > shown) out += fmt::format("    and {} more\n", sentences.size() - shown);
        }
    return out;
}

}  // namespace scvd
