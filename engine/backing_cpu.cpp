// Host memory: addresses are reserved at once, pages committed as they are touched.
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "engine/backing.h"

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

namespace eng::cpu {
namespace {

class HostMemory : public Backing {
public:
    explicit HostMemory(std::size_t capacity) : capacity_(capacity ? capacity : std::size_t(1) << 36) {
        void* p = mmap(nullptr, capacity_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        ENG_CHECK(p != MAP_FAILED, "arena", "cannot reserve ", capacity_, " bytes of addresses: ", std::strerror(errno));
        base_ = static_cast<char*>(p);
    }
    ~HostMemory() override {
        ASAN_UNPOISON_MEMORY_REGION(base_, touched_);
        munmap(base_, capacity_);
    }
    std::size_t capacity() const override { return capacity_; }
    bool fenced() const override { return kFenced; }

    char* take(std::size_t offset, std::size_t size, std::size_t asked) override {
        touched_ = std::max(touched_, offset + size);
        ASAN_UNPOISON_MEMORY_REGION(base_ + offset, asked);
        ASAN_POISON_MEMORY_REGION(base_ + offset + asked, size - asked);
        return base_ + offset;
    }
    void give_back(char* p, std::size_t size) override { ASAN_POISON_MEMORY_REGION(p, size); }

    void fill(char* p, unsigned char byte, std::size_t n) override { std::memset(p, byte, n); }
    std::size_t first_other(const char* p, unsigned char byte, std::size_t n) override {
        std::size_t i = 0;
        while (i < n && static_cast<unsigned char>(p[i]) == byte) ++i;
        return i;
    }

private:
    char* base_ = nullptr;
    std::size_t capacity_, touched_ = 0;
};

}  // namespace

std::unique_ptr<Backing> make_backing(std::size_t capacity) { return std::make_unique<HostMemory>(capacity); }

}  // namespace eng::cpu
