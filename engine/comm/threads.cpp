#include "engine/comm/threads.h"

#include <condition_variable>
#include <cstring>
#include <mutex>

#include "engine/error.h"

namespace eng {
namespace {

// Where the threads meet: each lays down a pointer, waits until all have, reads the others', and waits until all have.
struct Table {
    explicit Table(int size, double timeout) : timeout(timeout), in(size), out(size) {}
    void wait() {
        std::unique_lock lock(mutex);
        const std::int64_t round = rounds;
        if (++arrived == int(in.size())) {
            arrived = 0, ++rounds;
            return all.notify_all();
        }
        const bool met = all.wait_for(lock, std::chrono::duration<double>(timeout), [&] { return rounds != round; });
        if (!met) fail("threads", arrived, " of ", in.size(), " ranks came within ", timeout, " s");
    }
    double timeout;
    std::vector<const void*> in;
    std::vector<void*> out;
    std::mutex mutex;
    std::condition_variable all;
    int arrived = 0;
    std::int64_t rounds = 0;
};

class Threads : public Transport {
public:
    Threads(int rank, std::shared_ptr<Table> table) : rank_(rank), table_(std::move(table)) {}
    int rank() const override { return rank_; }
    int size() const override { return int(table_->in.size()); }

    void all_gather(const void* in, void* out, const std::vector<std::size_t>& bytes) override {
        meet(in, out, [&] {
            std::size_t at = 0;
            for (int r = 0; r < size(); at += bytes[r++])
                if (bytes[r]) std::memmove(static_cast<char*>(out) + at, table_->in[r], bytes[r]);
        });
    }
    void reduce_scatter(const void* in, void* out, const std::vector<std::size_t>& counts, DType dtype) override {
        meet(in, out, [&] {
            std::size_t first = 0;
            for (int r = 0; r < rank_; ++r) first += counts[r];
            std::vector<const void*> parts;
            for (const void* p : table_->in) parts.push_back(static_cast<const char*>(p) + first * size_of(dtype));
            sum_in_order(parts, out, counts[rank_], dtype);
        });
    }
    void broadcast(void* data, std::size_t bytes, int root) override {
        meet(data, data, [&] {
            if (rank_ != root && bytes) std::memcpy(data, table_->in[root], bytes);
        });
    }
    void barrier() override { meet(nullptr, nullptr, [] {}); }

private:
    template <class Read> void meet(const void* in, void* out, Read&& read) {
        table_->in[rank_] = in, table_->out[rank_] = out;
        table_->wait();
        read();
        table_->wait();
    }
    int rank_;
    std::shared_ptr<Table> table_;
};

}  // namespace

std::vector<std::unique_ptr<Comm>> thread_comms(int size, double timeout) {
    const auto main = std::make_shared<Table>(size, timeout), side = std::make_shared<Table>(size, timeout);
    std::vector<std::unique_ptr<Comm>> comms;
    for (int r = 0; r < size; ++r) comms.push_back(std::make_unique<Comm>(std::make_unique<Threads>(r, main), std::make_unique<Threads>(r, side)));
    return comms;
}

}  // namespace eng
