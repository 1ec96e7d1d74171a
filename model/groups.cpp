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

GroupPairs pair_up(const std::vector<std::vector<int>>& groups, const BatchShare& batch, int size) {
    struct Place { const std::vector<int>* group; int at; };
    std::vector<Place> place(batch.labels.size());
    for (const auto& g : groups)
        for (int a = 0; a < int(g.size()); ++a) place[g[a]] = {&g, a};
    GroupPairs p;
    p.match = {int(batch.n), size, {}};
    for (int i = 0; i < int(batch.n); ++i) {
        const int me = int(batch.first) + i;
        const auto& [group, own] = place[me];
        const int first = p.pairs.size(), n = int(group->size());
        p.own.push_back(own);
        for (const int t : *group) p.pairs.add(i, t);
        for (int b = 0; b < size; ++b) {
            const int other = b < n ? (*group)[b] : me;
            p.by_image.push_back(first + (b < n ? b : 0));
            p.by_text.push_back(other * size + own);
            p.match.at.push_back(b >= n ? -1 : batch.labels[me] == batch.labels[other]);
        }
    }
    return p;
}

}  // namespace scvd
