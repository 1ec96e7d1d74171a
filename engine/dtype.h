#pragma once
// Element types. Tensors that hold features are f32, bf16 or f64 (f64 exists to check gradients); i32 holds
// indices, u8 holds pixels. Arithmetic on bf16 happens in f32: bf16 is a storage format.
#include <cstdint>
#include <cstring>

#include "engine/error.h"

namespace eng {

enum class Device : std::uint8_t { cpu, cuda };
enum class DType : std::uint8_t { f32, bf16, f64, i32, u8 };

inline std::size_t size_of(DType t) {
    constexpr std::size_t bytes[] = {4, 2, 8, 4, 1};
    return bytes[int(t)];
}
inline const char* name_of(DType t) {
    constexpr const char* names[] = {"f32", "bf16", "f64", "i32", "u8"};
    return names[int(t)];
}
inline const char* name_of(Device d) { return d == Device::cpu ? "cpu" : "cuda"; }

struct bf16 {  // the upper half of an f32, rounded to nearest even; NaN stays NaN
    std::uint16_t bits = 0;
    bf16() = default;
    explicit bf16(float f) {
        std::uint32_t u;
        std::memcpy(&u, &f, 4);
        const std::uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
        const std::uint32_t quiet = (u >> 16) | 0x40u;
        bits = std::uint16_t((u & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
    }
    explicit bf16(double d) : bf16(float(d)) {}
    explicit bf16(int i) : bf16(float(i)) {}
    operator float() const {
        const std::uint32_t u = std::uint32_t(bits) << 16;
        float f;
        std::memcpy(&f, &u, 4);
        return f;
    }
};

// Calls f with a value of the C++ type behind t; integer tensors are an error.
template <class F>
void dispatch_float(DType t, const char* where, F&& f) {
    switch (t) {
        case DType::f32: return f(float{});
        case DType::bf16: return f(bf16{});
        case DType::f64: return f(double{});
        default: fail(where, "expects a floating-point tensor, got ", name_of(t));
    }
}

template <class T> struct Acc { using type = float; };  // what sums over T are kept in
template <> struct Acc<double> { using type = double; };
template <class T> using acc_t = typename Acc<T>::type;
inline DType stats_dtype(DType t) { return t == DType::f64 ? DType::f64 : DType::f32; }

}  // namespace eng
