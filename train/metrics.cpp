#include "train/metrics.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "engine/parallel_errors.h"

namespace scvd {
namespace {

void check_scores(std::span<const float> row, int query) {
    for (std::size_t g = 0; g < row.size(); ++g)
        ENG_CHECK(!std::isnan(row[g]), "metrics", "the score of query ", query, " and gallery item ", g, " is NaN");
}

// 0-based ranks of one query's matches, ascending. Match i of the best-first order stands behind i matches and behind
// every other item that scores as much or more. Counting those needs no sort of the gallery.
std::vector<int> match_ranks(std::span<const float> row, int query, int id, std::span<const int> gallery) {
    check_scores(row, query);
    std::vector<float> matches;
    for (std::size_t g = 0; g < row.size(); ++g)
        if (gallery[g] == id) matches.push_back(row[g]);
    ENG_CHECK(!matches.empty(), "metrics", "query ", query, " has identity ", id, ", which no gallery item has");
    std::sort(matches.begin(), matches.end(), std::greater<>());
    std::vector<int> ranks(matches.size(), 0);
    for (std::size_t g = 0; g < row.size(); ++g) {
        if (gallery[g] == id) continue;
        const auto beaten = std::lower_bound(matches.begin(), matches.end(), row[g], std::greater<>());
        if (beaten != matches.end()) ++ranks[beaten - matches.begin()];  // and those behind it, by the sum below
    }
    std::partial_sum(ranks.begin(), ranks.end(), ranks.begin());
    for (std::size_t i = 0; i < ranks.size(); ++i) ranks[i] += static_cast<int>(i);
    return ranks;
}

void add_query(Retrieval& sum, const std::vector<int>& ranks) {
    const auto n = static_cast<double>(ranks.size());
    sum.cmc[ranks[0]] += 1;
    for (std::size_t i = 0; i < ranks.size(); ++i) {
        const double found = static_cast<double>(i), rank = ranks[i];
        const double precision = (found + 1) / (rank + 1);
        const double before = rank > 0 ? found / rank : 1;  // precision one position earlier
        sum.mAP += precision / n;
        sum.trapezoid_AP += (before + precision) / 2 / n;
    }
    sum.mINP += n / (ranks.back() + 1);
}

// Pixels of one axis, bilinearly between cell centres: cells `low` and `low + 1` in shares 1 - t and t.
struct Between {
    int low = 0, high = 0;
    double t = 0;
};

Between between(int pixel, int pixels, int cells) {
    const double at = std::clamp((pixel + 0.5) * cells / pixels - 0.5, 0.0, cells - 1.0);
    const int low = static_cast<int>(at);
    return {low, std::min(low + 1, cells - 1), at - low};
}

// a + (b - a) t instead of a sum of products: equal cells give equal pixels to the last bit, which makes ties ties.
double mix(double a, double b, double t) { return a + (b - a) * t; }

double pointing_hit(std::span<const float> map, int gh, int gw, std::span<const std::uint8_t> mask, int h, int w) {
    std::vector<Between> columns;
    for (int x = 0; x < w; ++x) columns.push_back(between(x, w, gw));
    double best = -1;
    std::int64_t highest = 0, inside = 0;
    for (int y = 0; y < h; ++y) {
        const Between row = between(y, h, gh);
        const float* top = &map[static_cast<std::size_t>(row.low) * gw];
        const float* bottom = &map[static_cast<std::size_t>(row.high) * gw];
        for (int x = 0; x < w; ++x) {
            const Between c = columns[x];
            const double value = mix(mix(top[c.low], top[c.high], c.t), mix(bottom[c.low], bottom[c.high], c.t), row.t);
            if (value < best) continue;
            if (value > best) best = value, highest = inside = 0;
            ++highest;
            inside += mask[static_cast<std::size_t>(y) * w + x] != 0;
        }
    }
    return static_cast<double>(inside) / static_cast<double>(highest);
}

// Calls f(cell, length) for the cells that a pixel overlaps along one axis; lengths are whole numbers in units of
// 1 / (cells * pixels) of the axis, so a cell's lengths add up to exactly `pixels`.
template <class F>
void for_overlaps(int pixel, int pixels, int cells, F f) {
    const std::int64_t begin = std::int64_t{pixel} * cells, end = begin + cells;
    for (std::int64_t cell = begin / pixels; cell * pixels < end; ++cell)
        f(static_cast<int>(cell), std::min(end, (cell + 1) * pixels) - std::max(begin, cell * pixels));
}

double mass_inside(std::span<const float> map, int gh, int gw, std::span<const std::uint8_t> mask, int h, int w) {
    std::vector<std::int64_t> covered(map.size(), 0);  // of each cell, in units of 1 / (w * h) of the cell
    for (int y = 0; y < h; ++y)
        for (int x = 0; x < w; ++x) {
            if (mask[static_cast<std::size_t>(y) * w + x] == 0) continue;
            for_overlaps(y, h, gh, [&](int cy, std::int64_t dy) {
                for_overlaps(x, w, gw, [&](int cx, std::int64_t dx) {
                    covered[static_cast<std::size_t>(cy) * gw + cx] += dy * dx;
                });
            });
        }
    double inside = 0, total = 0;
    for (std::size_t c = 0; c < map.size(); ++c) {
        inside += map[c] * (static_cast<double>(covered[c]) / (static_cast<double>(w) * h));
        total += map[c];
    }
    return inside / total;
}

}  // namespace

Retrieval evaluate(std::span<const float> scores, std::span<const int> query_ids, std::span<const int> gallery_ids) {
    const std::size_t n = query_ids.size(), width = gallery_ids.size();
    ENG_CHECK(n > 0 && scores.size() == n * width, "metrics", scores.size(), " scores for ", n, " queries and ", width,
              " gallery items");
    Retrieval r;
    r.queries = static_cast<int>(n);
    r.gallery = static_cast<int>(width);
    r.cmc.assign(width, 0);
    std::vector<std::vector<int>> ranks(n);
    eng::all_or_throw(static_cast<std::int64_t>(n), 16, [&](std::int64_t q) {
        ranks[q] = match_ranks(scores.subspan(q * width, width), static_cast<int>(q), query_ids[q], gallery_ids);
    });
    for (const auto& of_query : ranks) add_query(r, of_query);  // in their order: the same sums for any number of threads
    std::partial_sum(r.cmc.begin(), r.cmc.end(), r.cmc.begin());
    for (double& c : r.cmc) c /= r.queries;
    r.mAP /= r.queries;
    r.mINP /= r.queries;
    r.trapezoid_AP /= r.queries;
    const auto at = [&](std::size_t k) { return r.cmc[std::min(k, width) - 1]; };
    r.R1 = at(1), r.R5 = at(5), r.R10 = at(10);
    return r;
}

double chance_R1(std::span<const int> query_ids, std::span<const int> gallery_ids) {
    ENG_CHECK(!query_ids.empty() && !gallery_ids.empty(), "metrics", "no chance level of ", query_ids.size(),
              " queries in ", gallery_ids.size(), " gallery items");
    std::map<int, int> images;
    for (const int id : gallery_ids) ++images[id];
    double matches = 0;
    for (const int id : query_ids)
        if (const auto found = images.find(id); found != images.end()) matches += found->second;
    return matches / static_cast<double>(query_ids.size()) / static_cast<double>(gallery_ids.size());
}

std::vector<int> shortlist(std::span<const float> stage1, int k) {
    ENG_CHECK(k >= 0, "metrics", "a shortlist of ", k, " items");
    for (std::size_t g = 0; g < stage1.size(); ++g)
        ENG_CHECK(!std::isnan(stage1[g]), "metrics", "the score of gallery item ", g, " is NaN");
    std::vector<int> order(stage1.size());
    std::iota(order.begin(), order.end(), 0);
    const auto length = std::min(static_cast<std::size_t>(k), order.size());
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(length), order.end(),
                      [&](int a, int b) { return stage1[a] != stage1[b] ? stage1[a] > stage1[b] : a < b; });
    order.resize(length);
    return order;
}

double shortlist_recall(std::span<const float> scores, std::span<const int> query_ids, std::span<const int> gallery_ids,
                        int k) {
    const Retrieval r = evaluate(scores, query_ids, gallery_ids);
    return k < 1 ? 0 : r.cmc[std::min(static_cast<std::size_t>(k), r.cmc.size()) - 1];
}

Localisation localise(std::span<const float> map, int grid_height, int grid_width, std::span<const std::uint8_t> mask,
                      int height, int width) {
    ENG_CHECK(grid_height > 0 && grid_width > 0 && map.size() == std::size_t(grid_height) * grid_width && height > 0 &&
                  width > 0 && mask.size() == std::size_t(height) * width,
              "localise", "a map of ", map.size(), " values and a mask of ", mask.size(), " do not fit grid ",
              grid_height, "x", grid_width, " and picture ", height, "x", width);
    double total = 0;
    for (const float weight : map) {
        ENG_CHECK(weight >= 0 && std::isfinite(weight), "localise", "a map of weights >= 0 cannot hold ", weight);
        total += weight;
    }
    ENG_CHECK(total > 0, "localise", "the map is zero everywhere");
    const auto region = std::count_if(mask.begin(), mask.end(), [](std::uint8_t m) { return m != 0; });
    ENG_CHECK(region > 0, "localise", "the region is empty: nothing can point at it");
    return {pointing_hit(map, grid_height, grid_width, mask, height, width),
            mass_inside(map, grid_height, grid_width, mask, height, width),
            static_cast<double>(region) / static_cast<double>(mask.size())};
}

void LocalisationTable::add(const std::string& phrase_class, const Localisation& one) {
    for (Row* row : {&classes_[phrase_class], &overall_}) {
        ++row->phrases;
        const auto update = [&](double& mean, double value) { mean += (value - mean) / row->phrases; };
        update(row->mean.hit, one.hit);
        update(row->mean.mass, one.mass);
        update(row->mean.area, one.area);
    }
}

}  // namespace scvd
