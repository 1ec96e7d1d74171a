// Index tensors: sequences by number, labels that match, and the groups of pairs that training looks at. A few thousand numbers.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

#include "ops/cpu/store.h"

namespace eng::cpu {

void count_up(const CountUpArgs& a) {
    auto* y = ptr<std::int32_t>(a.y);
    for (std::int64_t i = 0; i < a.y.numel(); ++i) y[i] = std::int32_t(a.first + i / a.inner * a.outer_step + i % a.inner * a.inner_step);
}

void pick_seqs(const PickSeqsArgs& a) {
    std::int32_t rows = 0;
    for (std::int64_t i = 0; i < a.which.numel(); ++i) {
        const std::int32_t s = ptr<std::int32_t>(a.which)[i];
        ENG_CHECK(s >= 0 && s < a.begin.numel(), "pick", "sequence ", s, " of ", a.begin.numel());
        ptr<std::int32_t>(a.y_begin)[i] = ptr<std::int32_t>(a.begin)[s];
        ptr<std::int32_t>(a.y_len)[i] = ptr<std::int32_t>(a.len)[s];
        ptr<std::int32_t>(a.y_out)[i] = rows, rows += ptr<std::int32_t>(a.len)[s];
    }
}

void match_labels(const MatchLabelsArgs& a) {
    for (std::int64_t i = 0; i < a.match.rows; ++i)
        for (std::int64_t j = 0; j < a.match.cols; ++j) row<std::int32_t>(a.match, i)[j] = ptr<std::int32_t>(a.rows)[i] == ptr<std::int32_t>(a.cols)[j];
}

void group_alike(const GroupAlikeArgs& a) {
    const int n = int(a.labels.numel());
    const auto* label = ptr<std::int32_t>(a.labels);
    auto* order = ptr<std::int32_t>(a.order);
    std::vector<int> left(n);
    std::iota(left.begin(), left.end(), 0);
    dispatch_float(a.scores.dtype, "group_alike", [&](auto tag) {
        using T = decltype(tag);
        // Nothing to order by where a score is not finite; the loss says so.
        const auto score = [&](int i, int j) { return std::isfinite(acc_t<T>(row<T>(a.scores, i)[j])) ? acc_t<T>(row<T>(a.scores, i)[j]) : 0; };
        while (!left.empty()) {
            const int head = left.front(), take = std::min(a.size, int(left.size()));
            const auto rank = [&](int j) { return std::tuple{j != head, j != head && label[j] == label[head], -(score(head, j) + score(j, head)), j}; };
            std::partial_sort(left.begin(), left.begin() + take, left.end(), [&](int i, int j) { return rank(i) < rank(j); });
            for (int k = 0; k < take; ++k) *order++ = a.first + left[k];
            left.erase(left.begin(), left.begin() + take);
            std::sort(left.begin(), left.end());
        }
    });
}

void pair_up(const PairUpArgs& a) {
    const std::int64_t B = a.order.numel(), size = a.text.cols;
    const auto *order = ptr<std::int32_t>(a.order), *label = ptr<std::int32_t>(a.labels);
    for (std::int64_t i = 0; i < a.text.rows; ++i) {
        const std::int32_t me = std::int32_t(a.first + i);
        const std::int64_t at = std::find(order, order + B, me) - order, begin = at / size * size, own = at - begin;
        ptr<std::int32_t>(a.own)[i] = std::int32_t(own);
        for (std::int64_t b = 0; b < size; ++b) {
            const bool there = begin + b < B;
            const std::int32_t member = there ? order[begin + b] : me, match = there ? label[me] == label[member] : -1;
            row<std::int32_t>(a.text, i)[b] = member;
            row<std::int32_t>(a.by_text, i)[b] = std::int32_t(member * size + own);
            row<std::int32_t>(a.match, i)[b] = match;
            dispatch_float(a.negative.dtype, "pair_up", [&](auto tag) { row<decltype(tag)>(a.negative, i)[b] = decltype(tag)(match != 0 && b != own ? -1e4f : 0.f); });
        }
    }
}

}  // namespace eng::cpu
