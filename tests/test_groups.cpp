// Which pairs the pair stage learns from: alike, and balanced, so that popularity teaches nothing.
#include <gtest/gtest.h>

#include <set>

#include "engine/comm/threads.h"
#include "engine/rng.h"
#include "engine/transfer.h"
#include "model/groups.h"

using namespace scvd;
using Numbers = std::vector<std::int32_t>;

namespace {

std::vector<double> scores(int n, std::uint64_t seed) {
    std::vector<double> s;
    for (int i = 0; i < n * n; ++i) s.push_back(eng::normal(seed, 1, std::uint64_t(i)));
    return s;
}
Numbers labels_of(int n, int pictures_each) {
    Numbers l;
    for (int i = 0; i < n; ++i) l.push_back(i / pictures_each);
    return l;
}
Numbers group_alike(const std::vector<double>& scores, const Numbers& labels, int size, int first = 0) {
    eng::Arena arena;
    const std::int64_t n = std::int64_t(labels.size());
    const Tensor order(arena, {n}, eng::DType::i32);
    eng::group_alike(eng::upload_as(arena, {n, n}, scores, eng::DType::f64), eng::indices(arena, labels), size, order, first);
    return eng::download<std::int32_t>(order);
}

TEST(Groups, HoldEveryPairOfTheBatchOnce) {
    for (const auto& [n, size] : {std::pair{64, 8}, {13, 4}, {5, 8}, {1, 1}, {7, 7}}) {
        const Numbers order = group_alike(scores(n, 3), labels_of(n, 2), size, 100);
        const std::set<int> seen(order.begin(), order.end());
        EXPECT_EQ(int(seen.size()), n) << "somebody is in two groups";
        EXPECT_EQ(*seen.begin(), 100);
        EXPECT_EQ(*seen.rbegin(), 100 + n - 1);
    }
}

TEST(Groups, PutTogetherWhatScoresHigh) {
    const int n = 6;
    std::vector<double> s(n * n, 0);
    for (const auto& [a, b] : {std::pair{0, 4}, {1, 3}, {2, 5}}) s[a * n + b] = s[b * n + a] = 1;
    EXPECT_EQ(group_alike(s, labels_of(n, 1), 2), (Numbers{0, 4, 1, 3, 2, 5}));
    s[0 * n + 2] = NAN, s[0 * n + 3] = INFINITY;  // no better than any other
    EXPECT_EQ(group_alike(s, labels_of(n, 1), 2), (Numbers{0, 4, 1, 3, 2, 5}));
}

TEST(Groups, PreferOtherPeople) {
    std::vector<double> s(16, 0);
    s[0 * 4 + 1] = 9;  // the same person, and most alike
    EXPECT_EQ(group_alike(s, {7, 7, 1, 2}, 3), (Numbers{0, 2, 3, 1}));
}

// Were some texts among the candidates more often than others, a score that ignores the image could lower the loss. In a last, smaller
// group the images meet their own texts in place of those that are missing: the number of all prompts stays known beforehand.
TEST(Groups, EveryTextIsACandidateAsOftenAsAnyOther) {
    for (const auto& [n, size] : {std::pair{24, 6}, {23, 6}, {127, 8}, {9, 8}}) {
        std::vector<double> s = scores(n, 5);
        for (int i = 0; i < n; ++i) s[std::size_t(i) * n + 2] += 10;  // a popular text
        eng::Arena arena;
        const eng::PairUp g = eng::pair_up(eng::indices(arena, group_alike(s, labels_of(n, 1), size)), eng::indices(arena, labels_of(n, 1)), 0, n, size, eng::DType::f32);
        std::map<int, int> text;
        for (const int t : eng::download<std::int32_t>(g.text)) ++text[t];
        for (int i = 0; i < n; ++i) EXPECT_EQ(text[i], size) << i << " of " << n;
    }
}

// Both readings on every rank of a world: the columns of row i are the members of its group, by image and by text.
TEST(Groups, BothReadingsNameTheRightPairs) {
    const Numbers labels = labels_of(13, 2);
    const int B = 13, size = 4;
    const Numbers order = group_alike(scores(B, 9), labels, size);
    const auto group_of = [&](int who) {
        const auto at = std::find(order.begin(), order.end(), who) - order.begin();
        return Numbers(order.begin() + at / size * size, order.begin() + std::min<std::ptrdiff_t>(B, at / size * size + size));
    };
    eng::Arena arena;
    std::vector<Numbers> texts(B);  // what each image meets, whatever rank computed it
    for (const bool check : {false, true})
        for (const auto& comm : eng::thread_comms(3)) {
            const BatchShare batch(eng::indices(arena, labels), *comm);
            const eng::PairUp g = eng::pair_up(eng::indices(arena, order), batch.labels, batch.first, batch.n, size, eng::DType::f32);
            const auto text = eng::download<std::int32_t>(g.text), by_text = eng::download<std::int32_t>(g.by_text), match = eng::download<std::int32_t>(g.match),
                       own = eng::download<std::int32_t>(g.own);
            const auto negative = eng::download<float>(g.negative);
            for (int row = 0; row < batch.n; ++row)
                for (int col = 0; col < size; ++col) {
                    const int at = row * size + col, me = int(batch.first) + row;
                    const Numbers group = group_of(me);
                    if (!check) {
                        texts[me].push_back(text[at]);
                        continue;
                    }
                    const bool there = col < int(group.size());
                    EXPECT_EQ(match[at], !there ? -1 : labels[me] == labels[group[col]]);
                    EXPECT_EQ(negative[at], !there || (labels[me] == labels[group[col]] && group[col] != me) ? -1e4f : 0.f);
                    if (!there) continue;
                    EXPECT_EQ(text[at], group[col]);
                    const int image = by_text[at] / size;  // whose row of the gathered table, and which text of its group
                    EXPECT_EQ(image, group[col]);
                    EXPECT_EQ(texts[image][by_text[at] % size], me);
                    EXPECT_EQ(group[col] == me, col == own[row]);
                }
        }
}

}  // namespace
