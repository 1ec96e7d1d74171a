// Retrieval metrics against their definitions tried over every order that the scores allow, two-stage ranking, and the
// localisation of attention maps.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "tests/errors.h"
#include "train/metrics.h"

using namespace scvd;

namespace {

using eng::test::error_of;

constexpr float infinity = std::numeric_limits<float>::infinity();

// One order of the gallery, straight from the definitions.
Retrieval of_order(const std::vector<int>& order, int id, const std::vector<int>& gallery) {
    Retrieval r;
    double hits = 0, matches = static_cast<double>(std::count(gallery.begin(), gallery.end(), id));
    double precision_before = 1;
    for (std::size_t k = 0; k < order.size(); ++k) {
        const bool match = gallery[order[k]] == id;
        hits += match;
        const double precision = hits / static_cast<double>(k + 1);
        r.cmc.push_back(hits > 0);
        if (match) {
            r.mAP += precision / matches;
            r.trapezoid_AP += (precision_before + precision) / 2 / matches;
            r.mINP = precision;  // what stays is that of the last match
        }
        precision_before = precision;
    }
    return r;
}

void keep_worst(Retrieval& worst, const Retrieval& one) {
    for (std::size_t k = 0; k < one.cmc.size(); ++k) worst.cmc[k] = std::min(worst.cmc[k], one.cmc[k]);
    worst.mAP = std::min(worst.mAP, one.mAP);
    worst.mINP = std::min(worst.mINP, one.mINP);
    worst.trapezoid_AP = std::min(worst.trapezoid_AP, one.trapezoid_AP);
}

// The worst value of each metric over all orders with falling scores, mean over queries.
Retrieval brute_force(const std::vector<float>& s, const std::vector<int>& queries, const std::vector<int>& gallery) {
    Retrieval mean;
    mean.cmc.assign(gallery.size(), 0);
    const auto n = static_cast<double>(queries.size());
    for (std::size_t q = 0; q < queries.size(); ++q) {
        const float* row = s.data() + q * gallery.size();
        std::vector<int> order(gallery.size());
        std::iota(order.begin(), order.end(), 0);
        Retrieval worst;
        worst.mAP = worst.mINP = worst.trapezoid_AP = 2;
        worst.cmc.assign(gallery.size(), 2);
        do {
            if (std::is_sorted(order.begin(), order.end(), [&](int a, int b) { return row[a] > row[b]; }))
                keep_worst(worst, of_order(order, queries[q], gallery));
        } while (std::next_permutation(order.begin(), order.end()));
        for (std::size_t k = 0; k < gallery.size(); ++k) mean.cmc[k] += worst.cmc[k] / n;
        mean.mAP += worst.mAP / n;
        mean.mINP += worst.mINP / n;
        mean.trapezoid_AP += worst.trapezoid_AP / n;
    }
    return mean;
}

TEST(Metrics, EqualTheWorstOfAllOrdersOfTies) {
    std::mt19937 rng(1);
    for (int trial = 0; trial < 40; ++trial) {
        constexpr int G = 7, Q = 3;
        const unsigned levels = trial % 4 == 0 ? 1000 : trial % 4;  // 1 to 3 levels: (nearly) everything is tied
        std::vector<int> gallery, queries;
        std::vector<float> scores;
        for (int i = 0; i < G; ++i) gallery.push_back(i < 3 ? i : static_cast<int>(rng() % 3));
        for (int i = 0; i < Q; ++i) queries.push_back(static_cast<int>(rng() % 3));
        for (int i = 0; i < G * Q; ++i) scores.push_back(static_cast<float>(rng() % levels) - 1);
        const Retrieval got = evaluate(scores, queries, gallery), want = brute_force(scores, queries, gallery);
        ASSERT_EQ(got.cmc.size(), want.cmc.size());
        for (int k = 0; k < G; ++k) {
            EXPECT_NEAR(got.cmc[k], want.cmc[k], 1e-12);
            EXPECT_NEAR(shortlist_recall(scores, queries, gallery, k + 1), want.cmc[k], 1e-12);
        }
        EXPECT_NEAR(got.R1, want.cmc[0], 1e-12);
        EXPECT_NEAR(got.R5, want.cmc[4], 1e-12);
        EXPECT_NEAR(got.R10, 1, 1e-12);  // the gallery is shorter
        EXPECT_NEAR(got.mAP, want.mAP, 1e-12);
        EXPECT_NEAR(got.mINP, want.mINP, 1e-12);
        EXPECT_NEAR(got.trapezoid_AP, want.trapezoid_AP, 1e-12);
    }
}

// tests/reference/make_metrics.py: the same scores through the formulas of the three evaluators; ties in our order.
TEST(Metrics, EqualIrrasRdesAndTbpsClips) {
    const auto cases = eng::parse_json(eng::read_file(SCVD_TEST_DATA "/metrics.json"));
    ASSERT_EQ(cases.size(), 6u);
    for (const auto& c : cases) {
        const auto scores = c["scores"].get<std::vector<float>>();
        const auto queries = c["query_ids"].get<std::vector<int>>(), gallery = c["gallery_ids"].get<std::vector<int>>();
        const Retrieval r = evaluate(scores, queries, gallery);
        const std::pair<const char*, double> got[] = {{"R1", r.R1}, {"R5", r.R5}, {"R10", r.R10}, {"mAP", r.mAP}, {"mINP", r.mINP}};
        for (const auto& [name, value] : got) EXPECT_NEAR(value, c["want"][name].get<double>(), 1e-12) << name << " ties " << c["ties"];
    }
}

TEST(Metrics, KnownValues) {
    const std::vector<float> s{0.9f, 0.8f, 0.7f, 0.6f};
    const std::vector<int> q{1}, g{0, 1, 0, 1};
    const Retrieval r = evaluate(s, q, g);
    EXPECT_DOUBLE_EQ(r.R1, 0);
    EXPECT_DOUBLE_EQ(r.R5, 1);
    EXPECT_DOUBLE_EQ(r.mAP, (1.0 / 2 + 2.0 / 4) / 2);
    EXPECT_DOUBLE_EQ(r.mINP, 2.0 / 4);
    EXPECT_DOUBLE_EQ(r.trapezoid_AP, ((0 + 0.5) / 2 + (1.0 / 3 + 0.5) / 2) / 2);
    EXPECT_EQ(r.queries, 1);
    EXPECT_EQ(r.gallery, 4);
}

TEST(Metrics, InfinitiesRankLikeOtherNumbers) {
    const std::vector<float> s{infinity, 0, -infinity};
    EXPECT_DOUBLE_EQ(evaluate(s, std::vector<int>{0}, std::vector<int>{0, 1, 1}).R1, 1);
    EXPECT_DOUBLE_EQ(evaluate(s, std::vector<int>{0}, std::vector<int>{1, 1, 0}).mAP, 1.0 / 3);
}

TEST(Metrics, ChanceIsTheMeanShareOfMatches) {
    EXPECT_DOUBLE_EQ(chance_R1(std::vector<int>{1}, std::vector<int>{0, 1, 0, 1}), 0.5);
    EXPECT_DOUBLE_EQ(chance_R1(std::vector<int>{1, 2}, std::vector<int>{0, 1, 0, 1}), 0.25);
    EXPECT_THROW(chance_R1(std::vector<int>{}, std::vector<int>{1}), eng::Error);
    EXPECT_THROW(chance_R1(std::vector<int>{1}, std::vector<int>{}), eng::Error);
}

TEST(Metrics, BadScoresAreErrors) {
    const std::vector<int> q{1, 0}, g{0, 1};
    EXPECT_MENTIONS(error_of([&] {
                        evaluate(std::vector<float>{1, 2, 3, NAN}, q, g);
                    }),
                    "query 1 and gallery item 1 is NaN");
    EXPECT_MENTIONS(error_of([&] {
                        evaluate(std::vector<float>{1, 1}, std::vector<int>{5}, g);
                    }),
                    "query 0 has identity 5, which no gallery item has");
    EXPECT_MENTIONS(error_of([&] { evaluate(std::vector<float>{1}, q, g); }), "1 scores for 2 queries and 2");
    EXPECT_THROW(evaluate(std::vector<float>{}, std::vector<int>{}, g), eng::Error);
    EXPECT_THROW(evaluate(std::vector<float>{}, q, std::vector<int>{}), eng::Error);
}

// ---- two stages

TEST(Shortlist, HoldsTheBestInOrder) {
    const std::vector<float> s{0.5f, 2, 0.5f, -1, 2};
    EXPECT_EQ(shortlist(s, 3), (std::vector<int>{1, 4, 0}));
    EXPECT_EQ(shortlist(s, 0), std::vector<int>{});
    EXPECT_EQ(shortlist(s, 100), (std::vector<int>{1, 4, 0, 2, 3}));
    EXPECT_THROW(shortlist(s, -1), eng::Error);
    EXPECT_MENTIONS(error_of([] { shortlist(std::vector<float>{1, NAN}, 1); }), "gallery item 1 is NaN");
}

TEST(Shortlist, RecallIsTheShareOfQueriesWithAMatchInIt) {
    std::mt19937 rng(5);
    constexpr int Q = 40, G = 30, k = 5;
    std::vector<int> gallery, queries;
    std::vector<float> scores;
    for (int g = 0; g < G; ++g) gallery.push_back(g % 10);
    for (int i = 0; i < Q * G; ++i) scores.push_back(static_cast<float>(rng()));
    int found = 0;
    for (int q = 0; q < Q; ++q) {
        queries.push_back(q % 10);
        const std::vector<int> best = shortlist(std::span(scores).subspan(q * G, G), k);
        found += std::any_of(best.begin(), best.end(), [&](int g) { return gallery[g] == queries[q]; });
    }
    const double recall = shortlist_recall(scores, queries, gallery, k);
    EXPECT_EQ(recall, found / double(Q));
    EXPECT_GT(recall, evaluate(scores, queries, gallery).R1);
    EXPECT_EQ(shortlist_recall(scores, queries, gallery, 0), 0);
    EXPECT_EQ(shortlist_recall(scores, queries, gallery, 10 * G), 1);
}

}  // namespace
