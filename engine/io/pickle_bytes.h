#pragma once
// The bytes of a pickle, read from the front, and the numbers that are spelled in them.
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "engine/error.h"

namespace eng {

class PickleBytes {
public:
    PickleBytes(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

    std::size_t at() const { return at_; }
    unsigned char opcode() {  // errors name its place
        op_at_ = at_;
        return byte();
    }
    template <class... Parts>
    [[noreturn]] void bad(const Parts&... parts) const { fail("pickle", file_, ": the pickle at byte ", op_at_, " ", parts...); }

    std::span<const std::byte> take(std::uint64_t n) {
        if (n > bytes_.size() - at_) bad("is cut short: it wants ", n, " bytes, ", bytes_.size() - at_, " are left");
        at_ += n;
        return bytes_.subspan(at_ - n, n);
    }
    unsigned char byte() { return std::to_integer<unsigned char>(take(1)[0]); }
    template <class T> T little() {
        T value;
        std::memcpy(&value, take(sizeof value).data(), sizeof value);
        return value;
    }
    std::string string(std::uint64_t n) {
        const auto b = take(n);
        return {reinterpret_cast<const char*>(b.data()), b.size()};
    }
    std::string line() {
        const auto rest = bytes_.subspan(at_);
        const auto end = std::find(rest.begin(), rest.end(), std::byte{'\n'});
        if (end == rest.end()) bad("is cut short in a line of text");
        std::string s = string(std::uint64_t(end - rest.begin()));
        ++at_;
        return s;
    }

    // A whole number of n bytes, two's complement, little endian; n at most 8.
    std::int64_t signed_number(std::size_t n) {
        const std::string s = string(n);
        std::uint64_t v = 0;
        for (std::size_t i = 0; i < n; ++i) v |= std::uint64_t(static_cast<unsigned char>(s[i])) << (8 * i);
        if (n > 0 && n < 8 && (static_cast<unsigned char>(s[n - 1]) & 0x80)) v |= ~std::uint64_t(0) << (8 * n);
        return std::int64_t(v);
    }
    template <class T>
    T parse(const std::string& s) const {
        T v{};
        if (std::from_chars(s.data(), s.data() + s.size(), v).ptr != s.data() + s.size()) bad("holds '", s.substr(0, 40), "' as a number");
        return v;
    }

private:
    std::span<const std::byte> bytes_;
    const std::string& file_;
    std::size_t at_ = 0, op_at_ = 0;
};

}  // namespace eng
