// Device buffers, random data, comparison. Works with either build.
#pragma once
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "ops/cuda/gpu.h"

using bf16 = __nv_bfloat16;

template <class T>
struct Device {
    T* p = nullptr;
    size_t n;
    explicit Device(size_t n) : n(n) {
        eng::cuda::stream();  // or the sentence that says what is missing
        CUDA_CHECK(cudaMalloc(reinterpret_cast<void**>(&p), n * sizeof(T)));
    }
    explicit Device(const std::vector<T>& v) : Device(v.size()) {
        move(p, v.data(), cudaMemcpyHostToDevice);
    }
    Device(const Device&) = delete;
    ~Device() { cudaFree(p); }
    std::vector<T> host() const {
        std::vector<T> v(n);
        move(v.data(), p, cudaMemcpyDeviceToHost);
        return v;
    }
    operator T*() const { return p; }

private:
    void move(void* to, const void* from, cudaMemcpyKind kind) const {  // where kernels are: cudaMemcpy would not wait for them
        CUDA_CHECK(cudaMemcpyAsync(to, from, n * sizeof(T), kind, eng::cuda::stream()));
        CUDA_CHECK(cudaStreamSynchronize(eng::cuda::stream()));
    }
};

inline std::vector<bf16> to_bf16(const std::vector<float>& v) {
    std::vector<bf16> r(v.size());
    for (size_t i = 0; i < v.size(); ++i) r[i] = __float2bfloat16(v[i]);
    return r;
}

// Largest |got - want| in units of the reference's root mean square; NaN counts as infinite.
inline double error(const std::vector<float>& got, const std::vector<double>& want) {
    double worst = 0, square = 0;
    for (double w : want) square += w * w;
    const double rms = std::sqrt(square / double(want.size())) + 1e-30;
    for (size_t i = 0; i < want.size(); ++i) {
        const double e = std::fabs(double(got[i]) - want[i]) / rms;
        if (!(e <= worst)) worst = std::isnan(e) ? INFINITY : e;
    }
    return worst;
}

inline int failures = 0;
inline void expect(const std::string& what, double err, double limit) {
    const bool ok = err <= limit;
    printf("%-44s error %.2e (limit %.0e) %s\n", what.c_str(), err, limit, ok ? "ok" : "FAILED");
    fflush(stdout);  // a kernel that hangs takes with it what was not written
    failures += !ok;
}
