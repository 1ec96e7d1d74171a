#include "model/groups.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace scvd {

std::vector<std::vector<int>> group_alike(const std::vector<double>& score, const std::vector<std::int32_t>& labels, int size) {
    const int n = int(labels.size());
    std::vector<int> left(n);
    std::iota(left.begin(), left.end(), 0);
    std::vector<std::vector<int>> groups;
    while (!left.empty()) {
        const int head = left.front();
        // Other people first, the most alike in front; the head's own further pictures only when others run out.
        const auto rank = [&](int j) {
            const double mutual = score[std::size_t(head) * n + j] + score[std::size_t(j) * n + head];
            return std::tuple{j != head && labels[j] == labels[head], j == head ? -1e30 : -mutual, j};
        };
        const int take = std::min<int>(size, int(left.size()));
        std::partial_sort(left.begin(), left.begin() + take, left.end(), [&](int a, int b) { return rank(a) < rank(b); });
        groups.emplace_back(left.begin(), left.begin() + take);
        left.erase(left.begin(), left.begin() + take);
        std::sort(left.begin(), left.end());
    }
    return groups;
}

GroupPairs pair_up(const std::vector<std::vector<int>>& groups, const std::vector<std::int32_t>& labels, int size) {
    GroupPairs g;
    g.image_match = g.text_match = {int(labels.size()), size, {}};
    for (const auto& group : groups) {
        const int first = g.pairs.size(), n = int(group.size());
        for (const int i : group)
            for (const int t : group) g.pairs.add(i, t);
        for (int a = 0; a < n; ++a) {
            g.own.push_back(a);
            for (int b = 0; b < size; ++b) {
                const int match = b >= n ? -1 : labels[group[a]] == labels[group[b]];
                g.by_image.push_back(first + (b < n ? a * n + b : 0)), g.image_match.at.push_back(match);
                g.by_text.push_back(first + (b < n ? b * n + a : 0)), g.text_match.at.push_back(match);
            }
        }
    }
    return g;
}

}  // namespace scvd
