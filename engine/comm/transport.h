#pragma once
// What carries bytes between ranks. Comm checks, names and counts collectives; a transport only moves them. Every sum is
// taken in the order of the ranks, so a world of a given size always computes the same bits, whatever carries it.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/dtype.h"

namespace eng {

class Transport {
public:
    virtual ~Transport() = default;
    virtual int rank() const = 0;
    virtual int size() const = 0;
    // out: bytes[0] of rank 0, then bytes[1] of rank 1, ... `in` is this rank's own share of them, maybe in its place.
    virtual void all_gather(const void* in, void* out, const std::vector<std::size_t>& bytes) = 0;
    // out: this rank's interval, counts[rank] elements, of the sum over ranks of `in`.
    virtual void reduce_scatter(const void* in, void* out, const std::vector<std::size_t>& counts, DType) = 0;
    virtual void broadcast(void* data, std::size_t bytes, int root) = 0;
    virtual void barrier() = 0;
    // Sum over ranks, in place. Here: reduce-scatter and all-gather over even shares, 2 (N-1)/N of the bytes.
    virtual void all_reduce(void* data, std::size_t n, DType);

    // Transports that enqueue work on a device: begin() orders what follows behind the device's work so far, and join()
    // orders the device's further work behind it. Others are done when a call returns.
    virtual bool enqueues() const { return false; }
    virtual void begin() {}
    virtual void join() {}
    // Called by another thread when a rank is lost: whoever waits here should end with an error.
    virtual void abort() {}
};

// Elements [first, first + n) of `total` that belong to rank r of `size`: shares differ by one at most.
struct Share { std::int64_t first, n; };
Share share_of(std::int64_t total, int rank, int size);
std::vector<std::int64_t> shares_of(std::int64_t total, int size);

// sum[i] = parts[0][i] + parts[1][i] + ..., from left to right, bf16 in f32.
void sum_in_order(const std::vector<const void*>& parts, void* sum, std::size_t n, DType);

}  // namespace eng
