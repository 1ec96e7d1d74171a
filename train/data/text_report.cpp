#include "train/data/text_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

namespace scvd {

double TextReport::without_phrase() const {
    const auto none = phrases.find(0);
    return captions == 0 || none == phrases.end() ? 0 : double(none->second) / captions;
}

double TextReport::unknown_share() const { return words == 0 ? 0 : double(unknown) / double(words); }

double TextReport::mean_phrases() const {
    double sum = 0;
    for (const auto& [n, count] : phrases) sum += double(n) * count;
    return captions == 0 ? 0 : sum / captions;
}

TextReport report_texts(const std::vector<std::string>& captions, const Deconstructor& sd, std::size_t listed) {
    TextReport r;
    r.captions = int(captions.size());
    std::unordered_map<std::string, int> seen;
    for (const std::string& text : captions) {
        ++r.phrases[int(sd(text).phrases.size())];
        int words = 0;
        for (std::string& w : sd.unknown_words(text, &words)) ++seen[std::move(w)], ++r.unknown;
        r.words += words;
    }
    r.most_unknown.assign(seen.begin(), seen.end());
    std::sort(r.most_unknown.begin(), r.most_unknown.end(), [](const auto& a, const auto& b) { return a.second != b.second ? a.second > b.second : a.first < b.first; });
    if (r.most_unknown.size() > listed) r.most_unknown.resize(listed);
    return r;
}

nlohmann::ordered_json to_json(const TextReport& r) {
    nlohmann::ordered_json j{{"captions", r.captions}, {"without_phrase", r.without_phrase()}, {"mean_phrases", r.mean_phrases()},
                             {"phrases", nlohmann::ordered_json::object()}, {"words", r.words}, {"unknown_share", r.unknown_share()},
                             {"most_unknown", nlohmann::ordered_json::array()}};
    for (const auto& [n, count] : r.phrases) j["phrases"][std::to_string(n)] = count;
    for (const auto& [word, count] : r.most_unknown) j["most_unknown"].push_back({word, count});
    return j;
}

std::string table(const TextReport& r, std::size_t words_shown) {
    std::string out = fmt::format("{} captions, {:.2f} phrases each; {:.2f} % have none; {:.2f} % of {} words are unknown\n", r.captions, r.mean_phrases(),
                                  100 * r.without_phrase(), 100 * r.unknown_share(), r.words);
    int most = 1;
    for (const auto& [n, count] : r.phrases) most = std::max(most, count);
    for (const auto& [n, count] : r.phrases)
        out += fmt::format("{:>4} phrases {:>8}  {}\n", n, count, std::string(std::size_t((50LL * count + most - 1) / most), '#'));
    if (!r.most_unknown.empty()) out += "unknown words, most frequent first:";
    for (std::size_t i = 0; i < std::min(words_shown, r.most_unknown.size()); ++i) out += fmt::format(" {} ({})", r.most_unknown[i].first, r.most_unknown[i].second);
    return out + (r.most_unknown.empty() ? "" : "\n");
}

}  // namespace scvd
