#include "engine/comm/comm.h"

#include <numeric>

#include "engine/comm/rendezvous.h"
#include "engine/transfer.h"

namespace eng {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

template <class T>
std::vector<std::size_t> times(const std::vector<T>& rows, std::size_t factor) {
    std::vector<std::size_t> out;
    for (const auto r : rows) out.push_back(std::size_t(r) * factor);
    return out;
}

std::int64_t row_width(const Tensor& t) { return t.shape().rank ? t.numel() / std::max<std::int64_t>(1, t.shape()[0]) : 1; }

void check_rows(const char* what, const Tensor& part, const Tensor& whole, const std::vector<std::int64_t>& rows, int rank, int size) {
    const std::int64_t all = std::accumulate(rows.begin(), rows.end(), std::int64_t{0}), width = std::max(row_width(part), row_width(whole));
    ENG_CHECK(int(rows.size()) == size, what, rows.size(), " row counts for ", size, " ranks");
    ENG_CHECK(part.numel() == rows[rank] * width && whole.numel() == all * width && part.dtype() == whole.dtype(), what, "rank ", rank, " of ", size,
              " with ", part.shape(), " of ", name_of(part.dtype()), " and ", whole.shape(), " of ", name_of(whole.dtype()), " for ", rows[rank],
              " of ", all, " rows");
}

}  // namespace

Comm::Comm(std::unique_ptr<Transport> main, std::unique_ptr<Transport> side, std::shared_ptr<Rendezvous> group)
    : main_(std::move(main)), side_(std::move(side)), group_(std::move(group)) {
    if (group_) group_->on_loss([this] { main_->abort(), side_->abort(); });
    if (!side_->enqueues()) worker_ = std::thread([this] { work(); });
}

Comm::~Comm() {
    if (group_) group_->on_loss(nullptr);
    {
        std::lock_guard lock(mutex_);
        stop_ = true;
    }
    more_.notify_all();
    if (worker_.joinable()) worker_.join();
}

// One collective: counted, announced to the group, and a failure told in one sentence.
template <class Call>
void Comm::run(Transport& via, const std::string& name, std::int64_t sent, Call&& call) {
    const std::int64_t number = [&] {
        std::lock_guard lock(mutex_);
        traffic_.bytes += sent;
        return ++traffic_.calls;
    }();
    const std::string what = name + " number " + std::to_string(number);
    const int channel = &via == side_.get();
    if (group_) group_->doing(channel, what);
    try {
        call(via);
    } catch (const std::exception& e) {
        fail("comm", "rank ", rank(), " of ", size(), " gave up in ", what, ": ", group_ ? group_->reason(e.what()) + kStartAgain : e.what());
    }
    if (group_) group_->doing(channel, "");
}

void Comm::sum(Transport& via, const std::string& name, const Tensor& t) {
    const std::int64_t n = t.numel(), own = share_of(n, rank(), size()).n, sent = n - own + own * (size() - 1);
    run(via, name, sent * std::int64_t(size_of(t.dtype())), [&](Transport& v) { v.all_reduce(t.raw(), std::size_t(n), t.dtype()); });
}

void Comm::all_reduce(const Tensor& t) {
    if (!alone()) sum(*main_, "all_reduce", t);
}

void Comm::all_gather(const Tensor& in, const Tensor& out, const std::vector<std::int64_t>& rows) {
    check_rows("all_gather", in, out, rows, rank(), size());
    if (alone()) return copy(out, in);
    const std::size_t width = std::size_t(std::max(row_width(in), row_width(out))) * size_of(in.dtype());
    run(*main_, "all_gather", std::int64_t(in.bytes()) * (size() - 1), [&](Transport& via) { via.all_gather(in.raw(), out.raw(), times(rows, width)); });
}

void Comm::reduce_scatter(const Tensor& in, const Tensor& out, const std::vector<std::int64_t>& rows) {
    check_rows("reduce_scatter", out, in, rows, rank(), size());
    if (alone()) return copy(out, in);
    const std::size_t width = std::size_t(std::max(row_width(in), row_width(out)));
    run(*main_, "reduce_scatter", std::int64_t(in.bytes()) - std::int64_t(out.bytes()),
        [&](Transport& via) { via.reduce_scatter(in.raw(), out.raw(), times(rows, width), in.dtype()); });
}

void Comm::broadcast(const Tensor& t, int root) {
    if (alone()) return;
    run(*main_, "broadcast", rank() == root ? std::int64_t(t.bytes()) * (size() - 1) : 0, [&](Transport& via) { via.broadcast(t.raw(), t.bytes(), root); });
}

void Comm::barrier() {
    if (!alone()) run(*main_, "barrier", 0, [](Transport& via) { via.barrier(); });
}

void Comm::begin_all_reduce(const Tensor& t) {
    if (alone()) return;
    begun_ = true;
    if (side_->enqueues()) {
        side_->begin();
        return sum(*side_, "all_reduce beside backward", t);
    }
    std::lock_guard lock(mutex_);
    queue_.push_back(t);
    more_.notify_one();
}

void Comm::work() {
    std::unique_lock lock(mutex_);
    while (true) {
        more_.wait(lock, [&] { return stop_ || !queue_.empty(); });
        if (stop_) return;
        const Tensor t = std::move(queue_.front());
        queue_.pop_front();
        busy_ = true;
        lock.unlock();
        const double started = now();
        std::string error;
        try {
            sum(*side_, "all_reduce beside backward", t);
        } catch (const std::exception& e) {
            error = e.what();
        }
        lock.lock();
        traffic_.beside += now() - started;
        busy_ = false;
        if (error_.empty()) error_ = error;
        done_.notify_all();
    }
}

void Comm::finish() {
    if (alone()) return;
    if (side_->enqueues()) {
        side_->join();
    } else {
        const double started = now();
        std::unique_lock lock(mutex_);
        done_.wait(lock, [&] { return !error_.empty() || (queue_.empty() && !busy_); });
        traffic_.waited += now() - started;
        if (!error_.empty()) throw Error(error_);
    }
    begun_ = false;
}

void Comm::give_up() noexcept {
    if (!begun_) return;
    begun_ = false;
    if (side_->enqueues()) {
        try {
            side_->join();  // memory is freed in the order of the compute stream
        } catch (const std::exception&) {  // a device that failed touches nothing
        }
        return;
    }
    std::unique_lock lock(mutex_);
    queue_.clear();
    if (busy_) side_->abort();
    done_.wait(lock, [&] { return !busy_; });
}

Arena& Comm::host() {
    if (!arena_) arena_ = std::make_unique<Arena>();
    return *arena_;
}

std::vector<std::int64_t> Comm::gather_number(std::int64_t n) {
    if (alone()) return {n};
    const Tensor in = upload<std::int32_t>(host(), {1}, {std::int32_t(n)}), out(host(), {size()}, DType::i32);
    all_gather(in, out, std::vector<std::int64_t>(size(), 1));
    const auto v = download<std::int32_t>(out);
    return {v.begin(), v.end()};
}

std::vector<double> Comm::sum_numbers(std::vector<double> values) {
    if (alone()) return values;
    const Tensor t = upload<double>(host(), {std::int64_t(values.size())}, values);
    all_reduce(t);
    return download<double>(t);
}

}  // namespace eng
