#pragma once
// Step memory: best-fit intervals over one reserved address range.
// Deterministic: the same alloc/release sequence from the same state gives the same addresses, so a captured
// CUDA graph of a step stays valid for the next one, and memory reports can be reproduced.
#include <cstddef>
#include <map>

#include "engine/dtype.h"

namespace eng {

class Arena {
public:
    // Reserves addresses only; pages are committed as they are touched. `debug` adds a red zone behind every
    // block (checked on release) and fills fresh memory with NaN.
    explicit Arena(std::size_t capacity = std::size_t(1) << 36, Device device = Device::cpu, bool debug = false);
    ~Arena();
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    // Errors: no free interval large enough (names what is wanted, in use and the peak), or growth while frozen.
    void* alloc(std::size_t bytes);
    void release(void* p);

    Device device() const { return device_; }
    std::size_t in_use() const { return in_use_; }
    std::size_t peak() const { return peak_; }
    void reset_peak() { peak_ = in_use_; }
    void freeze(bool on) { frozen_ = on; }  // growth becomes an error: a graph is being captured
    std::size_t offset_of(const void* p) const { return std::size_t(static_cast<const char*>(p) - base_); }

private:
    static constexpr std::size_t kAlign = 512;
    static std::size_t round_up(std::size_t n) { return (n + kAlign - 1) / kAlign * kAlign; }
    struct Block { std::size_t size, asked; };

    char* base_ = nullptr;
    std::size_t capacity_;
    Device device_;
    bool debug_, frozen_ = false;
    std::map<std::size_t, std::size_t> free_;  // offset -> size
    std::map<std::size_t, Block> used_;        // offset -> size and what was asked for
    std::size_t in_use_ = 0, peak_ = 0, high_water_ = 0;
};

}  // namespace eng
