// Which pairs the pair stage learns from: alike, and balanced, so that popularity teaches nothing.
#include <gtest/gtest.h>

#include <set>

#include "engine/rng.h"
#include "model/groups.h"

using namespace scvd;

namespace {

std::vector<double> scores(int n, std::uint64_t seed) {
    std::vector<double> s;
    for (int i = 0; i < n * n; ++i) s.push_back(eng::normal(seed, 1, std::uint64_t(i)));
    return s;
}
std::vector<std::int32_t> labels_of(int n, int pictures_each) {
    std::vector<std::int32_t> l;
    for (int i = 0; i < n; ++i) l.push_back(i / pictures_each);
    return l;
}

TEST(Groups, HoldEveryPairOfTheBatchOnce) {
    for (const auto& [n, size] : {std::pair{64, 8}, {13, 4}, {5, 8}, {1, 1}, {7, 7}}) {
        std::multiset<int> seen;
        for (const auto& g : group_alike(scores(n, 3), labels_of(n, 2), size)) {
            EXPECT_LE(int(g.size()), size);
            seen.insert(g.begin(), g.end());
        }
        EXPECT_EQ(int(seen.size()), n);
        EXPECT_EQ(std::set<int>(seen.begin(), seen.end()).size(), seen.size()) << "somebody is in two groups";
    }
}

TEST(Groups, PutTogetherWhatScoresHigh) {
    const int n = 6;
    std::vector<double> s(n * n, 0);
    for (const auto& [a, b] : {std::pair{0, 4}, {1, 3}, {2, 5}}) s[a * n + b] = s[b * n + a] = 1;
    EXPECT_EQ(group_alike(s, labels_of(n, 1), 2), (std::vector<std::vector<int>>{{0, 4}, {1, 3}, {2, 5}}));
}

TEST(Groups, PreferOtherPeople) {
    std::vector<double> s(16, 0);
    s[0 * 4 + 1] = 9;  // the same person, and most alike
    EXPECT_EQ(group_alike(s, {7, 7, 1, 2}, 3)[0], (std::vector<int>{0, 2, 3}));
}

// Were some texts among the candidates more often than others, a score that ignores the image could lower the loss.
TEST(Groups, EveryTextIsACandidateAsOftenAsAnyOther) {
    const int n = 24, size = 6;
    std::vector<double> s = scores(n, 5);
    for (int i = 0; i < n; ++i) s[std::size_t(i) * n + 2] += 10;  // a popular text
    const GroupPairs g = pair_up(group_alike(s, labels_of(n, 1), size), labels_of(n, 1), size);
    std::map<int, int> text, image;
    for (int p = 0; p < g.pairs.size(); ++p) ++text[g.pairs.text[p]], ++image[g.pairs.image[p]];
    for (int i = 0; i < n; ++i) {
        EXPECT_EQ(text[i], size) << i;
        EXPECT_EQ(image[i], size) << i;
    }
}

TEST(Groups, BothReadingsNameTheRightPairs) {
    const std::vector<std::int32_t> labels = labels_of(13, 2);
    const int size = 4;
    const auto groups = group_alike(scores(13, 9), labels, size);
    const GroupPairs g = pair_up(groups, labels, size);
    std::vector<int> order;
    for (const auto& group : groups) order.insert(order.end(), group.begin(), group.end());
    for (int row = 0; row < 13; ++row)
        for (int col = 0; col < size; ++col) {
            const int at = row * size + col, a = g.by_image[at], b = g.by_text[at];
            if (g.image_match.at[at] < 0) continue;
            EXPECT_EQ(g.pairs.image[a], order[row]);
            EXPECT_EQ(g.pairs.text[b], order[row]);
            EXPECT_EQ(g.image_match.at[at], labels[g.pairs.image[a]] == labels[g.pairs.text[a]]);
            EXPECT_EQ(g.text_match.at[at], labels[g.pairs.image[b]] == labels[g.pairs.text[b]]);
            EXPECT_EQ(g.pairs.image[a] == g.pairs.text[a], col == g.own[row]);
        }
}

}  // namespace
