#pragma once
// exp() in a form the compiler can vectorise, and what counts as a maximum.
#include <bit>
#include <cmath>
#include <cstdint>

namespace eng::cpu {

// exp(x) = 2^n exp(r), |r| <= ln2/2, by a polynomial; within 2 ulp of the true value on [-87, 88], clamped outside.
// Branch-free, so loops around it become vector code. NaN stays NaN.
// F is float and U uint32_t, or both are vectors of them.
template <class F, class U>
inline F exp_of(F x) {
    x = x > 88.f ? F{} + 88.f : x;
    x = x < -87.f ? F{} - 87.f : x;
    const F shifted = x * 1.44269504f + 12582912.f;  // adding 1.5 * 2^23 rounds to an integer, kept in the low bits
    const F n = shifted - 12582912.f;
    const F r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    F p = 1.9875691500e-4f * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.f;
    const U bits = (std::bit_cast<U>(shifted) + 127u) << 23;
    return p * std::bit_cast<F>(bits);
}
inline float exp_(float x) { return exp_of<float, std::uint32_t>(x); }
inline double exp_(double x) { return std::exp(x); }

// Whether v is the maximum from here on: the first of equals stays, NaN wins over every number.
template <class A> inline bool beats(A v, A best) { return v > best || v != v; }

template <class A> inline A sigmoid(A x) { return A(1) / (A(1) + exp_(-x)); }

template <class T, class A, class S>
inline A dot(const T* a, const S* b, std::int64_t n) {
    A s = 0;
#pragma omp simd reduction(+ : s)
    for (std::int64_t i = 0; i < n; ++i) s += A(a[i]) * A(b[i]);
    return s;
}

}  // namespace eng::cpu
