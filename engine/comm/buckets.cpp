#include "engine/comm/buckets.h"

#include <algorithm>

namespace eng {

Buckets::Buckets(ParamStore& params, Comm& comm, std::size_t bucket_bytes) : params_(params), comm_(comm), of_param_(params.all().size()) {
    std::int64_t end = params.master.numel();
    for (int i = int(params.all().size()); i-- > 0;) {
        const std::int64_t first = params.all()[i].offset;
        const bool full = buckets_.empty() || std::size_t(buckets_.back().n) * size_of(params.master_dtype()) >= bucket_bytes;
        if (full) buckets_.push_back({end, 0});
        Bucket& b = buckets_.back();
        b.n += b.first - first, b.first = first;
        end = first;
        of_param_[i] = int(buckets_.size()) - 1;
    }
}

int Buckets::bucket_of(const Param& p) const {
    const auto& all = params_.all();
    const auto at = std::lower_bound(all.begin(), all.end(), p.offset, [](const Param& q, std::int64_t offset) { return q.offset < offset; });
    return of_param_[std::size_t(at - all.begin())];
}

void Buckets::begin(const Tape& tape) {
    next_ = 0;
    left_.assign(buckets_.size(), 0);
    for (const Param* p : tape.params()) ++left_[bucket_of(*p)];
}

void Buckets::final(const Param& p) {
    if (comm_.alone()) return;
    --left_[bucket_of(p)];
    start_ready();
}

void Buckets::start_ready() {
    for (; next_ < buckets_.size() && left_[next_] == 0; ++next_) comm_.begin_all_reduce(params_.grad.slice(buckets_[next_].first, buckets_[next_].n));
}

void Buckets::finish() {
    if (comm_.alone()) return;
    std::fill(left_.begin(), left_.end(), 0);
    start_ready();
    comm_.finish();
}

}  // namespace eng
