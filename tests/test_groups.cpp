// Which pairs the pair stage learns from: alike, and balanced, so that popularity teaches nothing.
#include <gtest/gtest.h>

#include <set>

#include "engine/comm/threads.h"
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
    eng::Comm alone;
    const GroupPairs g = pair_up(group_alike(s, labels_of(n, 1), size), BatchShare(labels_of(n, 1), alone), size);
    std::map<int, int> text, image;
    for (int p = 0; p < g.pairs.size(); ++p) ++text[g.pairs.text[p]], ++image[g.pairs.image[p]];
    for (int i = 0; i < n; ++i) {
        EXPECT_EQ(text[i], size) << i;
        EXPECT_EQ(image[i], size) << i;
    }
}

// Both readings on every rank of a world: the columns of row i are the members of its group, by image and by text.
TEST(Groups, BothReadingsNameTheRightPairs) {
    const std::vector<std::int32_t> labels = labels_of(13, 2);
    const int size = 4;
    const auto groups = group_alike(scores(13, 9), labels, size);
    std::vector<const std::vector<int>*> group_of(13);
    for (const auto& g : groups)
        for (const int i : g) group_of[i] = &g;
    const auto comms = eng::thread_comms(3);
    for (const auto& comm : comms) {
        const BatchShare batch(labels, *comm);
        const GroupPairs g = pair_up(groups, batch, size);
        for (int row = 0; row < batch.n; ++row)
            for (int col = 0; col < size; ++col) {
                const int at = row * size + col, me = int(batch.first) + row;
                const auto& group = *group_of[me];
                if (g.match.at[at] < 0) {
                    EXPECT_GE(col, int(group.size()));
                    continue;
                }
                EXPECT_EQ(g.pairs.image[g.by_image[at]], row);
                EXPECT_EQ(g.pairs.text[g.by_image[at]], group[col]);
                const int image = g.by_text[at] / size;  // whose row of the gathered table, and which text of its group
                EXPECT_EQ(image, group[col]);
                EXPECT_EQ((*group_of[image])[g.by_text[at] % size], me);
                EXPECT_EQ(g.match.at[at], labels[me] == labels[group[col]]);
                EXPECT_EQ(group[col] == me, col == g.own[row]);
            }
    }
}

}  // namespace
