#pragma once
// The CUDA context as launchers and the engine's CUDA files see it. CUDA's headers appear in *_cuda.* and ops/cuda only.
#include <cuda_runtime_api.h>

#include "engine/error.h"

namespace eng::cuda {

cudaStream_t stream();  // the one compute stream; the first call makes the context, or says what is missing

#define CUDA_CHECK(call)                                                                                       \
    do {                                                                                                       \
        if (const cudaError_t e_ = (call); e_ != cudaSuccess)                                                  \
            ::eng::fail("cuda", #call, " at ", __FILE__, ":", __LINE__, ": ", cudaGetErrorString(e_));         \
    } while (0)

// Device memory for partial results between the kernels of one launcher: a local variable, released in reverse. Work on
// the compute stream is in order, so the next launcher may have the same bytes.
class Scratch {
public:
    explicit Scratch(std::size_t bytes);
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    template <class T> T* as() const { return static_cast<T*>(p_); }

private:
    void* p_ = nullptr;
};

}  // namespace eng::cuda
