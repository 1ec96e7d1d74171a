#include "train/data/phrase_source.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/io/json.h"

namespace scvd {
namespace {

Words words_of(const std::string& kind) {
    return kind == "wordnet" ? Words::wordnet : kind == "bare" ? Words::function : Words::all;
}

// The sidecar's classes, where they are not told by their own name.
Category category_of(const std::string& cls, const std::string& where) {
    static const std::map<std::string, Category> known{
        {"person", Category::person}, {"upper", Category::garment_upper}, {"lower", Category::garment_lower}, {"full", Category::garment_full},
        {"footwear", Category::footwear}, {"headwear", Category::headwear}, {"hair", Category::hair}, {"accessory", Category::accessory},
        {"bag", Category::bag}, {"carried", Category::carried}};
    const auto at = known.find(cls);
    ENG_CHECK(at != known.end(), "oracle", where, ": unknown class \"", cls, "\"");
    return at->second;
}

// The nth caption of a line of regions.jsonl (`where`), whose text is `text`. Of the person only an attribute is a phrase.
Deconstruction from_mentions(const eng::Json& mentions, const std::string& text, const Deconstructor& person_of, const std::string& where) {
    Deconstruction d = person_of(text);
    std::erase_if(d.phrases, [](const Phrase& p) { return p.category != Category::person; });
    d.absent.clear();
    for (const auto& m : mentions) {
        const Category c = category_of(m.at("class"), where);
        if (c == Category::person) continue;
        d.phrases.push_back({m.at("phrase"), c, m.at("begin"), m.at("end"), false});
        ENG_CHECK(d.phrases.back().begin < d.phrases.back().end && d.phrases.back().end <= text.size(), "oracle", where, ": a mention lies outside of its caption");
    }
    return d;
}

}  // namespace

Deconstruction cut_windows(const std::string& text, int words) {
    Deconstruction d;
    const auto blank = [&](std::size_t i) { return text[i] == ' ' || text[i] == '\n' || text[i] == '\t'; };
    int n = 0;
    for (std::size_t i = 0; i < text.size();) {
        if (blank(i)) { ++i; continue; }
        std::size_t end = i;
        while (end < text.size() && !blank(end)) ++end;
        if (n++ % words == 0) d.phrases.push_back({"", Category::body, i, end, false});
        d.phrases.back().end = end;
        i = end;
    }
    for (Phrase& p : d.phrases) p.text = text.substr(p.begin, p.end - p.begin);
    return d;
}

std::map<std::string, Deconstruction> load_oracle(const std::string& root, const Deconstructor& person_of) {
    const auto folder = std::filesystem::path(root);
    const std::string captions_file = (folder / "data_captions.json").string(), regions_file = (folder / "regions.jsonl").string();
    std::ifstream regions(regions_file);
    ENG_CHECK(std::filesystem::exists(captions_file) && regions, "oracle", "sd.source = oracle needs a synthetic set; ", root, " has no data_captions.json with a regions.jsonl");
    std::map<std::string, Deconstruction> out;
    std::string reading = captions_file;
    try {
        const auto all = eng::parse_json(eng::read_file(captions_file));
        std::size_t line = 0;
        for (std::string text; std::getline(regions, text); ++line) {
            ENG_CHECK(line < all.size(), "oracle", regions_file, " has more lines than data_captions.json has pictures");
            reading = captions_file + " record " + std::to_string(line);
            const auto said = all.at(line).at("captions").get<std::vector<std::string>>();
            reading = regions_file + " line " + std::to_string(line + 1);
            const auto mentions = eng::parse_json(text).at("captions");
            for (std::size_t c = 0; c < said.size() && c < mentions.size(); ++c) out.emplace(said[c], from_mentions(mentions[c], said[c], person_of, reading));
        }
    } catch (const eng::Json::exception& e) { eng::fail("oracle", reading, ": ", eng::reason(e, reading != captions_file)); }
    return out;
}

PhraseSource::PhraseSource(const Config& c) : kind_(c.sd.source), window_(c.sd.window), grammar_("", words_of(c.sd.source)) {
    const bool known = kind_ == "grammar" || kind_ == "wordnet" || kind_ == "bare" || kind_ == "oracle" || kind_ == "windows";
    ENG_CHECK(known, "config", "sd.source = \"", kind_, "\" should be grammar, wordnet, bare, oracle or windows");
    ENG_CHECK(window_ > 0, "config", "sd.window = ", window_, " should be at least one word");
    if (kind_ == "oracle") oracle_ = load_oracle(c.data.root, grammar_);
}

Deconstruction PhraseSource::operator()(const std::string& text) const {
    if (kind_ == "windows") return cut_windows(text, window_);
    if (kind_ != "oracle") return grammar_(text);
    const auto at = oracle_.find(text);
    ENG_CHECK(at != oracle_.end(), "oracle", "sd.source = oracle knows only captions of the synthetic set, not \"", text.substr(0, 60), "\"");
    return at->second;
}

}  // namespace scvd
