#pragma once
// Counter-based random numbers (Philox4x32-10; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011). A number is a pure function of (seed, stream, index): the same on every device, for any number of
// threads, and again when a checkpointed segment is recomputed. No state to save but seed and step.
#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace eng {

using Philox4 = std::array<std::uint32_t, 4>;

constexpr Philox4 philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
    Philox4 c{std::uint32_t(index), std::uint32_t(index >> 32), std::uint32_t(stream), std::uint32_t(stream >> 32)};
    std::uint32_t k0 = std::uint32_t(seed), k1 = std::uint32_t(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t p0 = std::uint64_t(0xD2511F53u) * c[0], p1 = std::uint64_t(0xCD9E8D57u) * c[2];
        c = {std::uint32_t(p1 >> 32) ^ c[1] ^ k0, std::uint32_t(p1), std::uint32_t(p0 >> 32) ^ c[3] ^ k1, std::uint32_t(p0)};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}
// In (0, 1): never 0, so that log() is safe.
constexpr float to_uniform(std::uint32_t u) { return (float(u >> 8) + 0.5f) * (1.f / 16777216.f); }

constexpr float uniform(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
    return to_uniform(philox(seed, stream, index / 4)[index % 4]);
}
inline double normal(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
    const Philox4 r = philox(seed, stream, index);
    const double u = (double(r[0]) + 0.5) / 4294967296.0, v = (double(r[1]) + 0.5) / 4294967296.0;
    return std::sqrt(-2 * std::log(u)) * std::cos(6.283185307179586 * v);
}
// FNV-1a over bytes; `h` goes on from an earlier call.
inline std::uint64_t fnv1a(std::string_view bytes, std::uint64_t h = 1469598103934665603ull) {
    for (const unsigned char c : bytes) h = (h ^ c) * 1099511628211ull;
    return h;
}
// A stream number from a name, so that a parameter's start does not depend on declaration order.
inline std::uint64_t stream_of(std::string_view name) { return fnv1a(name); }

// A small sequential generator over one stream, for host-side choices (sampling, augmentation, prompt dropout).
class Rng {
public:
    Rng(std::uint64_t seed, std::uint64_t stream) : seed_(seed), stream_(stream) {}
    std::uint32_t bits() {
        if (next_ == 4) block_ = philox(seed_, stream_, index_++), next_ = 0;
        return block_[next_++];
    }
    float uniform() { return to_uniform(bits()); }
    float uniform(float lo, float hi) { return lo + (hi - lo) * uniform(); }
    // 0 .. n-1, n > 0, without modulo bias worth speaking of (multiply-shift on 32 bits).
    std::uint32_t below(std::uint32_t n) { return std::uint32_t((std::uint64_t(bits()) * n) >> 32); }
    bool chance(float p) { return uniform() < p; }
    template <class Vec> void shuffle(Vec& v) {
        for (std::size_t i = v.size(); i > 1; --i) std::swap(v[i - 1], v[below(std::uint32_t(i))]);
    }

private:
    std::uint64_t seed_, stream_, index_ = 0;
    Philox4 block_{};
    int next_ = 4;
};

}  // namespace eng
