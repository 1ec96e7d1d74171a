#include "train/data/loader.h"

#include <cmath>
#include <numeric>

namespace scvd {
namespace {

enum Stream : std::uint64_t { order_stream = 1, augment_stream = 2 };
std::uint64_t stream(Stream kind, std::int64_t n) { return (std::uint64_t(kind) << 56) ^ std::uint64_t(n); }

// flip 0.5, pad and crop, random erasing of 2-40 % of the area with aspect 0.3-3.3 (method: section 8).
void draw_augment(const Config& c, eng::Rng& rng, std::int32_t* a) {
    const int H = c.model.image.height, W = c.model.image.width, pad = c.data.pad;
    std::fill_n(a, 8, 0);
    a[0] = rng.chance(c.data.flip);
    if (pad > 0) a[1] = int(rng.below(2 * pad + 1)) - pad, a[2] = int(rng.below(2 * pad + 1)) - pad;
    if (!rng.chance(c.data.erase)) return;
    for (int attempt = 0; attempt < 10; ++attempt) {
        const float area = rng.uniform(0.02f, 0.4f) * float(H) * float(W), aspect = std::exp(rng.uniform(std::log(0.3f), std::log(3.3f)));
        const int h = int(std::lround(std::sqrt(area * aspect))), w = int(std::lround(std::sqrt(area / aspect)));
        if (h < 1 || w < 1 || h >= H || w >= W) continue;
        a[3] = int(rng.below(H - h + 1)), a[4] = int(rng.below(W - w + 1)), a[5] = h, a[6] = w;
        return;
    }
}

}  // namespace

Loader::Loader(const Config& c, const Split& split, Pictures& pictures, const std::vector<TextItem>& items, std::int64_t first, Rank rank)
    : config_(c), split_(split), pictures_(pictures), items_(items), rank_(rank), next_out_(first), next_in_(first) {
    const std::int64_t pairs = std::int64_t(split.pairs.size()), batch = c.train.batch;
    ENG_CHECK(batch > 0 && pairs >= batch, "loader", "split ", split.name, " has ", pairs, " pairs, less than one batch of ", batch);
    batches_ = (pairs + batch - 1) / batch;
    ENG_CHECK(pairs / batches_ >= rank.size, "loader", "batches of ", pairs / batches_, " pairs (train.batch = ", batch, ") cannot be shared by ", rank.size, " ranks");
    for (int i = 0; i < c.data.workers; ++i) workers_.emplace_back([this] { work(); });
}

Loader::~Loader() {
    {
        std::lock_guard lock(mutex_);
        stop_ = true;
    }
    room_.notify_all();
    for (auto& w : workers_) w.join();
}

std::vector<int> Loader::order(std::int64_t epoch) {
    std::lock_guard lock(mutex_);
    while (orders_.size() > 4) orders_.erase(orders_.begin());
    auto& o = orders_[epoch];
    if (o.empty()) {
        o.resize(split_.pairs.size());
        std::iota(o.begin(), o.end(), 0);
        eng::Rng rng(config_.train.seed, stream(order_stream, epoch));
        rng.shuffle(o);
    }
    return o;
}

HostBatch Loader::make(std::int64_t n) {
    const std::vector<int> o = order(n / batches_);
    const std::int64_t pairs = std::int64_t(o.size());
    const eng::Share batch = eng::share_of(pairs, int(n % batches_), int(batches_)), own = eng::share_of(batch.n, rank_.rank, rank_.size);
    HostBatch b;
    for (std::int64_t i = 0; i < batch.n; ++i) b.labels.push_back(split_.images[split_.pairs[o[batch.first + i]].image].label);
    b.pixels.resize(std::size_t(own.n) * pictures_.bytes());
    b.augment.resize(std::size_t(own.n) * 8);
    for (std::int64_t i = 0; i < own.n; ++i) {
        const std::int64_t place = batch.first + own.first + i, reading = n / batches_ * pairs + place;
        const int p = o[place];
        pictures_.read(split_.pairs[p].image, b.pixels.data() + std::size_t(i) * pictures_.bytes());
        eng::Rng rng(config_.train.seed, stream(augment_stream, reading));
        draw_augment(config_, rng, b.augment.data() + i * 8);
        b.texts.push_back(&items_[p]);
        b.readings.push_back(reading);
    }
    return b;
}

void Loader::work() {
    const std::int64_t ahead = 2 + config_.data.workers;
    while (true) {
        std::int64_t n;
        {
            std::unique_lock lock(mutex_);
            room_.wait(lock, [&] { return stop_ || next_in_ < next_out_ + ahead; });
            if (stop_) return;
            n = next_in_++;
        }
        std::string error;
        HostBatch b;
        try {
            b = make(n);
        } catch (const std::exception& e) {
            error = e.what();
        }
        std::lock_guard lock(mutex_);
        if (!error.empty()) error_ = error, stop_ = true;
        ready_[n] = std::move(b);
        filled_.notify_all();
        if (!error.empty()) return;
    }
}

HostBatch Loader::next() {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return !error_.empty() || ready_.count(next_out_); });
    if (!error_.empty()) throw eng::Error(error_);
    HostBatch b = std::move(ready_[next_out_]);
    ready_.erase(next_out_++);
    room_.notify_all();
    return b;
}

}  // namespace scvd
