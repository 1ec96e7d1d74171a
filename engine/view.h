#pragma once
// All that a kernel knows of a tensor: plain data, passed by value, the same on every device.
#include "engine/dtype.h"

namespace eng {

enum class Mode : std::uint8_t { skip, write, accumulate };  // what a kernel does with an output

// A matrix of `rows` x `cols` elements whose rows start `pitch` elements apart. Only attention reads pitched
// views (q, k, v side by side in one projection); every other kernel is handed pitch == cols.
struct View {
    void* p = nullptr;
    DType dtype = DType::f32;
    std::int64_t rows = 0, cols = 0, pitch = 0;
    constexpr std::int64_t numel() const { return rows * cols; }
};
struct Out : View {
    Mode mode = Mode::write;
};

}  // namespace eng
