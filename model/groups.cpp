#include "model/groups.h"

#include <algorithm>

namespace scvd {

// The ranks take turns with the pools. One rank decides for all: a score that rounds differently on another machine must not give ranks
// different groups.
Tensor groups_of(const Tensor& images, const Tensor& texts, const BatchShare& batch, int size, int pool) {
    const std::int64_t B = batch.total();
    eng::Arena& arena = images.arena();
    if (size >= B) return eng::count_up(arena, B);  // one group
    eng::Recording off(nullptr);
    const Tensor v = batch.all(images.detach()), t = batch.all(texts.detach()), order(arena, {B}, eng::DType::i32);
    const std::int64_t step = std::int64_t(size) * std::max(1, pool / size);  // whole groups
    const int ranks = batch.comm.size();
    const auto each_pool = [&](auto&& use) {
        for (std::int64_t first = 0, p = 0; first < B; first += step, ++p) use(first, std::min(step, B - first), int(p % ranks));
    };
    each_pool([&](std::int64_t first, std::int64_t n, int rank) {
        if (rank != batch.comm.rank()) return;
        eng::group_alike(global_scores(v.slice(first, n), t.slice(first, n)), batch.labels.slice(first, n), size, order.slice(first, n), std::int32_t(first));
    });
    if (ranks > 1) each_pool([&](std::int64_t first, std::int64_t n, int rank) { batch.comm.broadcast(order.slice(first, n), rank); });
    return order;
}

}  // namespace scvd
