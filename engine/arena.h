#pragma once
// Step memory: best-fit intervals over one reserved address range.
// Deterministic: the same alloc/release sequence from the same state gives the same addresses, so a captured
// CUDA graph of a step stays valid for the next one, and memory reports can be reproduced.
#include <map>
#include <string>

#include "engine/backing.h"
#include "engine/device.h"

namespace eng {

class Arena {
public:
    // Reserves addresses only; memory is committed as it is used. A capacity of 0: all that a GPU has free, 64 GiB of
    // addresses on the CPU.
    // `debug` adds a red zone behind every block (checked on release) and fills fresh memory with NaN.
    explicit Arena(std::size_t capacity = 0, Device device = default_device, bool debug = false);
    ~Arena();
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    // Errors: no free interval large enough (names what is wanted, who holds what, and which batch may fit), or growth
    // while frozen.
    void* alloc(std::size_t bytes);
    void release(void* p);

    Device device() const { return device_; }
    std::size_t in_use() const { return in_use_; }
    std::size_t peak() const { return peak_; }
    void freeze(bool on) { frozen_ = on; }  // growth becomes an error: a graph is being captured
    // A step over `batch` samples begins: what is in use now stays, what comes on top grows with the batch.
    void begin_step(std::int64_t batch) { batch_ = batch, resident_ = in_use_; }
    std::size_t offset_of(const void* block) const { return used_.at(block).offset; }
    std::map<std::string, std::size_t> in_use_by_scope() const;

private:
    static constexpr std::size_t kAlign = 512;
    static std::size_t round_up(std::size_t n) { return (n + kAlign - 1) / kAlign * kAlign; }
    struct Block { std::size_t offset, size, asked; std::string scope; };
    [[noreturn]] void out_of_memory(std::size_t bytes) const;
    void release_interval(std::size_t offset, std::size_t size);

    Device device_;
    bool debug_, frozen_ = false;
    std::unique_ptr<Backing> backing_;
    std::map<std::size_t, std::size_t> free_;  // offset -> size
    std::map<const void*, Block> used_;
    std::size_t in_use_ = 0, peak_ = 0, high_water_ = 0, resident_ = 0;
    std::int64_t batch_ = 0;
};

}  // namespace eng
