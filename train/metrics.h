#pragma once
// Retrieval metrics from a score matrix, and how well attention maps point at the regions that phrases name.
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace scvd {

// All in 0..1, means over queries.
struct Retrieval {
    double R1 = 0, R5 = 0, R10 = 0;  // share of queries with a match among the first 1, 5, 10
    double mAP = 0;                  // mean over the matches of (matches so far / rank)
    double mINP = 0;                 // matches / rank of the last match
    double trapezoid_AP = 0;         // AP by the trapezoid rule, as the authors' evaluator has it
    std::vector<double> cmc;         // cmc[k-1] = share of queries with a match among the first k
    int queries = 0, gallery = 0;
};

// scores row-major [queries, gallery], higher is better; an item matches when it has the query's identity. Ties are
// resolved against us: among equal scores, items of other people come first, so a constant score earns nothing.
// Errors: sizes that do not fit, a NaN (names the query), a query whose identity is not in the gallery.
Retrieval evaluate(std::span<const float> scores, std::span<const int> query_ids, std::span<const int> gallery_ids);

// Rank@1 that a random ranking expects: the mean share of matches in the gallery. Error when either side is empty.
double chance_R1(std::span<const int> query_ids, std::span<const int> gallery_ids);

// Two-stage search of one query. The k best items of stage 1 (all of them when there are fewer), best first, equal
// scores in the gallery's order. Errors: NaN, k < 0.
std::vector<int> shortlist(std::span<const float> stage1, int k);

// Share of queries that have a match among the k best of `scores` (ties against us): no re-ranking gets more at rank k.
double shortlist_recall(std::span<const float> scores, std::span<const int> query_ids, std::span<const int> gallery_ids,
                        int k);

// How one map points at one region. A map that says nothing (all cells equal) has hit = mass = area, exactly the chance
// level, so hit / area and mass / area are the factors over chance.
struct Localisation {
    double hit = 0;   // pointing game: probability that a random one of the map's highest pixels lies in the region
    double mass = 0;  // share of the map's total that lies in the region
    double area = 0;  // share of the picture that the region covers
};

// map [grid_height, grid_width] of weights >= 0 covers the picture evenly; mask [height, width] is non-zero in the
// region. For the hit the map is upsampled bilinearly between the cells' centres (edges repeated); for the mass each
// cell spreads evenly over its rectangle, cells and pixels intersected exactly whatever their ratio.
// Errors: sizes that do not fit, a weight that is negative or not finite, a map of zeros, an empty region.
Localisation localise(std::span<const float> map, int grid_height, int grid_width, std::span<const std::uint8_t> mask,
                      int height, int width);

// Means over phrases, for each class of phrase ("hat", "bag" ...) and for all.
class LocalisationTable {
public:
    struct Row {
        int phrases = 0;
        Localisation mean;
        // The pointing game against a uniform map: 1 is chance.
        double hit_over_chance() const { return mean.area > 0 ? mean.hit / mean.area : 0; }
    };

    void add(const std::string& phrase_class, const Localisation&);
    const std::map<std::string, Row>& classes() const { return classes_; }
    const Row& overall() const { return overall_; }  // every phrase counts the same, whatever its class

private:
    std::map<std::string, Row> classes_;
    Row overall_;
};

}  // namespace scvd
