// The emulated GPU's memory: every block of an arena is an allocation of its own, so that the sanitizer or the access
// checker sees the bounds of each tensor.
#include "engine/backing.h"
#include "engine/context_cuda.h"

namespace eng::cuda {
namespace {

class EmulatedMemory : public Backing {
public:
    explicit EmulatedMemory(std::size_t capacity) : capacity_(capacity ? capacity : std::size_t(1) << 32) {}
    std::size_t capacity() const override { return capacity_; }
    bool fenced() const override { return true; }
    char* take(std::size_t, std::size_t, std::size_t asked) override {
        void* p = nullptr;
        return cudaMalloc(&p, asked) == cudaSuccess ? static_cast<char*>(p) : nullptr;
    }
    void give_back(char* p, std::size_t) override { cudaFree(p); }
    // cudaMalloc here fills with NaN already; to fill again would tell the checker that somebody wrote these bytes.
    void fill(char*, unsigned char, std::size_t) override {}
    std::size_t first_other(const char*, unsigned char, std::size_t n) override { return n; }

private:
    std::size_t capacity_;
};

}  // namespace

std::unique_ptr<Backing> make_backing(std::size_t capacity) { return std::make_unique<EmulatedMemory>(capacity); }

// As large as asked and gone afterwards, so that overruns and stale values are seen.
Scratch::Scratch(std::size_t bytes) {
    if (bytes) CUDA_CHECK(cudaMalloc(&p_, bytes));
}
Scratch::~Scratch() { cudaFree(p_); }

}  // namespace eng::cuda
