// What `scvd data check` says about captions.
#include "train/data/text_report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace scvd {
namespace {

TEST(TextReport, CountsPhrasesAndUnknownWords) {
    const std::vector<std::string> captions{"A man in a red shirt and blue jeans.", "", "Walking on the street.", "She wears a zorblax and a qwertle, a zorblax hat.",
                                            "a blak jaket"};
    const TextReport r = report_texts(captions, Deconstructor());
    EXPECT_EQ(r.captions, 5);
    EXPECT_EQ(r.phrases.at(0), 2);
    EXPECT_EQ(r.phrases.at(2), 1);
    EXPECT_DOUBLE_EQ(r.without_phrase(), 0.4);
    EXPECT_EQ(r.words, 9 + 4 + 10 + 3);
    EXPECT_EQ(r.unknown, 3) << "a typo that is put right is not unknown";
    const std::vector<std::pair<std::string, int>> want{{"zorblax", 2}, {"qwertle", 1}};
    EXPECT_EQ(r.most_unknown, want);
    const auto j = to_json(r);
    EXPECT_EQ(j["phrases"]["0"], 2);
    EXPECT_EQ(j["most_unknown"][0], nlohmann::ordered_json({"zorblax", 2}));
    EXPECT_NEAR(j["unknown_share"].get<double>(), 3.0 / 26, 1e-12);
    EXPECT_NE(table(r).find("40.00 % have none"), std::string::npos) << table(r);
    EXPECT_NE(table(r).find("zorblax (2)"), std::string::npos);
}

TEST(TextReport, OfNothingIsAllZero) {
    const TextReport r = report_texts({}, Deconstructor());
    EXPECT_EQ(r.without_phrase(), 0);
    EXPECT_EQ(r.unknown_share(), 0);
    EXPECT_NE(table(r).find("0 captions"), std::string::npos);
}

TEST(TextReport, ListsAtMostAsManyWordsAsAsked) {
    std::vector<std::string> captions;
    for (char c = 'a'; c <= 'z'; ++c) captions.push_back(std::string("wearing a zq") + c + "xqw");
    EXPECT_EQ(report_texts(captions, Deconstructor(), 7).most_unknown.size(), 7u);
}

}  // namespace
}  // namespace scvd
