#include "engine/arena.h"

#include <algorithm>
#include <vector>

namespace eng {
namespace {
constexpr std::size_t kRedzone = 512;
constexpr unsigned char kRedzoneByte = 0xA5, kFreshByte = 0xFF;  // 0xFF.. is NaN in f32, bf16 and f64
}  // namespace

Arena::Arena(std::size_t capacity, Device device, bool debug)
    : device_(device),
      debug_(debug),
      backing_(device == Device::cpu ? cpu::make_backing(round_up(capacity)) : cuda::make_backing(round_up(capacity))) {
    free_[0] = backing_->capacity();
}
Arena::~Arena() = default;

void* Arena::alloc(std::size_t bytes) {
    const std::size_t asked = bytes ? bytes : 1;
    const std::size_t want = round_up(asked + (debug_ || backing_->fenced() ? kRedzone : 0));
    auto best = free_.end();
    for (auto it = free_.begin(); it != free_.end(); ++it)
        if (it->second >= want && (best == free_.end() || it->second < best->second)) best = it;
    if (best == free_.end()) out_of_memory(bytes);
    const auto [offset, size] = *best;
    ENG_CHECK(!frozen_ || offset + want <= high_water_, "arena",
              "grew while frozen (during graph capture): warm up with the largest shapes first");
    char* p = backing_->take(offset, want, asked);
    if (!p) out_of_memory(bytes);
    free_.erase(best);
    if (size > want) free_[offset + want] = size - want;
    used_[p] = {offset, want, asked, scope_path()};
    in_use_ += want;
    peak_ = std::max(peak_, in_use_);
    high_water_ = std::max(high_water_, offset + want);
    if (debug_) {
        backing_->fill(p, kFreshByte, asked);
        if (!backing_->fenced()) backing_->fill(p + asked, kRedzoneByte, want - asked);
    }
    return p;
}

void Arena::release(void* pointer) {
    auto it = used_.find(pointer);
    ENG_CHECK(it != used_.end(), "arena", "release of a pointer that is not live");
    char* p = static_cast<char*>(pointer);
    const Block block = std::move(it->second);
    std::size_t behind = block.size - block.asked;
    if (debug_ && !backing_->fenced()) behind = backing_->first_other(p + block.asked, kRedzoneByte, behind);
    backing_->give_back(p, block.size);
    in_use_ -= block.size;
    used_.erase(it);
    release_interval(block.offset, block.size);
    if (behind < block.size - block.asked)
        fail("arena", "a kernel wrote ", behind, " bytes past the end of a block of ", block.asked, " bytes",
             block.scope.empty() ? "" : " allocated in ", block.scope);
}

// Back to the free list, joined with free neighbours.
void Arena::release_interval(std::size_t offset, std::size_t size) {
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

std::map<std::string, std::size_t> Arena::in_use_by_scope() const {
    std::map<std::string, std::size_t> bytes;
    for (const auto& [p, block] : used_) bytes[block.scope] += block.size;
    return bytes;
}

// The five largest holders, and the largest batch that could fit if what the step holds so far grows with the batch
// (a bound from above: the rest of the step would have wanted more).
void Arena::out_of_memory(std::size_t bytes) const {
    std::vector<std::pair<std::size_t, std::string>> holders;
    for (const auto& [scope, size] : in_use_by_scope()) holders.emplace_back(size, scope.empty() ? "(no scope)" : scope);
    std::sort(holders.rbegin(), holders.rend());
    std::ostringstream text;
    for (std::size_t i = 0; i < std::min<std::size_t>(5, holders.size()); ++i)
        text << (i ? ", " : "; held by ") << holders[i].second << " " << holders[i].first;
    if (const std::size_t step = in_use_ - std::min(resident_, in_use_) + bytes; batch_ > 1) {
        const double room = double(backing_->capacity()) - double(std::min(resident_, in_use_));
        const std::int64_t fits = std::max<std::int64_t>(0, std::int64_t(double(batch_) * room / double(step)));
        text << "; at most " << std::min(fits, batch_ - 1) << " of the batch of " << batch_ << " can fit";
    }
    fail("arena", "out of memory on ", name_of(device_), ": ", bytes, " bytes wanted, ", in_use_, " in use, peak ", peak_,
         ", capacity ", backing_->capacity(), text.str());
}

}  // namespace eng
