#pragma once
// Collectives between the ranks of one run. They take tensors: counts and dtypes come from there. Every rank must make
// the same calls in the same order; all return when this rank may use the result (on a GPU: in stream order).
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "engine/comm/transport.h"
#include "engine/tensor.h"

namespace eng {

class Rendezvous;

class Comm {
public:
    Comm() = default;  // alone: every collective is the identity
    // `side` carries what is begun beside the rest. `group` knows who is lost; null: nobody can be (ranks of one process).
    Comm(std::unique_ptr<Transport> main, std::unique_ptr<Transport> side, std::shared_ptr<Rendezvous> group = nullptr);
    ~Comm();
    Comm(const Comm&) = delete;
    Comm& operator=(const Comm&) = delete;

    int rank() const { return main_ ? main_->rank() : 0; }
    int size() const { return main_ ? main_->size() : 1; }
    bool alone() const { return size() == 1; }

    void all_reduce(const Tensor& t);                    // t <- sum over ranks; f32, f64 or bf16
    // in [rows[rank], C] -> out [sum of rows, C], rank by rank; any dtype.
    void all_gather(const Tensor& in, const Tensor& out, const std::vector<std::int64_t>& rows);
    // in [sum of rows, C] -> out [rows[rank], C]: this rank's rows of the sum over ranks.
    void reduce_scatter(const Tensor& in, const Tensor& out, const std::vector<std::int64_t>& rows);
    void broadcast(const Tensor& t, int root);
    void barrier();

    // all_reduce beside whatever the caller does meanwhile, in the order of the calls. t may be used after finish().
    void begin_all_reduce(const Tensor& t);
    void finish();
    // What was begun and will not be finished, because of an error: afterwards nothing touches its tensors any more.
    void give_up() noexcept;

    // The same number of every rank, rank by rank; and the sum of small vectors, for what a log shows.
    std::vector<std::int64_t> gather_number(std::int64_t n);
    std::vector<double> sum_numbers(std::vector<double> values);

    struct Traffic {
        std::int64_t calls = 0, bytes = 0;  // bytes this rank sent
        double beside = 0, waited = 0;      // seconds of begun all-reduces, and of those the seconds that finish() waited
    };
    const Traffic& traffic() const { return traffic_; }

private:
    template <class Call> void run(Transport&, const std::string& name, std::int64_t sent, Call&&);
    void sum(Transport&, const std::string& name, const Tensor&);
    void work();
    Arena& host();  // for numbers that no device holds

    std::unique_ptr<Transport> main_, side_;
    std::shared_ptr<Rendezvous> group_;
    std::unique_ptr<Arena> arena_;
    Traffic traffic_;
    std::thread worker_;
    std::mutex mutex_;
    std::condition_variable more_, done_;
    std::deque<Tensor> queue_;
    bool begun_ = false, busy_ = false, stop_ = false;
    std::string error_;
};

}  // namespace eng
