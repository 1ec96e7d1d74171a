#include "engine/arena.h"

#include <sys/mman.h>

#include <cstring>

// AddressSanitizer does not know our allocator: tell it which bytes are live, and it fences every tensor.
#if defined(__SANITIZE_ADDRESS__)
#define SCVD_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SCVD_ASAN 1
#endif
#endif
#ifdef SCVD_ASAN
#include <sanitizer/asan_interface.h>
constexpr bool kFenced = true;
#else
constexpr bool kFenced = false;
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

namespace eng {
namespace {
constexpr std::size_t kRedzone = 512;
constexpr unsigned char kRedzoneByte = 0xA5, kFreshByte = 0xFF;  // 0xFF.. is NaN in f32, bf16 and f64
}  // namespace

Arena::Arena(std::size_t capacity, Device device, bool debug)
    : capacity_(round_up(capacity)), device_(device), debug_(debug) {
    ENG_CHECK(device == Device::cpu, "arena", "this build has no memory on device ", name_of(device));
    void* p = mmap(nullptr, capacity_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ENG_CHECK(p != MAP_FAILED, "arena", "cannot reserve ", capacity_, " bytes of addresses: ", std::strerror(errno));
    base_ = static_cast<char*>(p);
    free_[0] = capacity_;
}

Arena::~Arena() {
    ASAN_UNPOISON_MEMORY_REGION(base_, high_water_);
    munmap(base_, capacity_);
}

void* Arena::alloc(std::size_t bytes) {
    const std::size_t asked = bytes ? bytes : 1;
    const std::size_t want = round_up(asked + (debug_ || kFenced ? kRedzone : 0));
    auto best = free_.end();
    for (auto it = free_.begin(); it != free_.end(); ++it)
        if (it->second >= want && (best == free_.end() || it->second < best->second)) best = it;
    ENG_CHECK(best != free_.end(), "arena", "out of memory: ", bytes, " bytes wanted, ", in_use_, " in use, peak ",
              peak_, ", capacity ", capacity_);
    const auto [offset, size] = *best;
    ENG_CHECK(!frozen_ || offset + want <= high_water_, "arena",
              "grew while frozen (during graph capture): warm up with the largest shapes first");
    free_.erase(best);
    if (size > want) free_[offset + want] = size - want;
    used_[offset] = {want, asked};
    in_use_ += want;
    peak_ = std::max(peak_, in_use_);
    high_water_ = std::max(high_water_, offset + want);
    char* p = base_ + offset;
    ASAN_UNPOISON_MEMORY_REGION(p, want);
    if (debug_) {
        std::memset(p, kFreshByte, asked);
        std::memset(p + asked, kRedzoneByte, want - asked);
    }
    ASAN_POISON_MEMORY_REGION(p + asked, want - asked);
    return p;
}

void Arena::release(void* p) {
    const std::size_t offset = offset_of(p);
    auto it = used_.find(offset);
    ENG_CHECK(it != used_.end(), "arena", "release of a pointer that is not live");
    const auto [size, asked] = it->second;
    ASAN_UNPOISON_MEMORY_REGION(base_ + offset, size);
    if (debug_)
        for (std::size_t i = asked; i < size; ++i)
            if (static_cast<unsigned char>(base_[offset + i]) != kRedzoneByte)
                fail("arena", "a kernel wrote ", i - asked, " bytes past the end of a block of ", asked, " bytes");
    ASAN_POISON_MEMORY_REGION(base_ + offset, size);
    in_use_ -= size;
    used_.erase(it);
    auto here = free_.emplace(offset, size).first;
    if (auto next = std::next(here); next != free_.end() && here->first + here->second == next->first) {
        here->second += next->second;
        free_.erase(next);
    }
    if (here == free_.begin()) return;
    if (auto prev = std::prev(here); prev->first + prev->second == here->first) {
        prev->second += here->second;
        free_.erase(here);
    }
}

}  // namespace eng
