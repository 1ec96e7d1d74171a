#pragma once
// Tensors to and from host memory. Outside of kernels nobody else may look into a tensor: its bytes may lie on a device.
#include <vector>

#include "engine/device.h"
#include "engine/tensor.h"

namespace eng {

// Overwrites t with as many bytes from host memory, in t's dtype.
inline void write_host(const Tensor& t, const void* host) { transfers_of(t.device()).to_device(t.raw(), host, t.bytes()); }
inline void read_host(const Tensor& t, void* host) { transfers_of(t.device()).to_host(host, t.raw(), t.bytes()); }
inline void fill_zero(const Tensor& t) { transfers_of(t.device()).zero(t.raw(), t.bytes()); }
inline void copy(const Tensor& to, const Tensor& from) {
    ENG_CHECK(to.device() == from.device() && to.bytes() == from.bytes(), "copy", from.shape(), " onto ", to.shape());
    transfers_of(to.device()).on_device(to.raw(), from.raw(), to.bytes());
}

template <class T> struct TypeTag;
template <> struct TypeTag<float> { static constexpr DType dtype = DType::f32; };
template <> struct TypeTag<bf16> { static constexpr DType dtype = DType::bf16; };
template <> struct TypeTag<double> { static constexpr DType dtype = DType::f64; };
template <> struct TypeTag<std::int32_t> { static constexpr DType dtype = DType::i32; };
template <> struct TypeTag<std::uint8_t> { static constexpr DType dtype = DType::u8; };

template <class T>
Tensor upload(Arena& arena, Shape shape, const std::vector<T>& values) {
    Tensor t(arena, shape, TypeTag<T>::dtype);
    ENG_CHECK(std::int64_t(values.size()) == shape.numel(), "upload", values.size(), " values for ", shape);
    write_host(t, values.data());
    return t;
}

// Values given as doubles, in any floating dtype.
inline Tensor upload_as(Arena& arena, Shape shape, const std::vector<double>& values, DType dtype) {
    Tensor t;
    dispatch_float(dtype, "upload", [&](auto tag) {
        std::vector<decltype(tag)> v;
        for (const double x : values) v.push_back(decltype(tag)(x));
        t = upload(arena, shape, v);
    });
    return t;
}

// The elements of a tensor of exactly this type, row-major.
template <class T>
std::vector<T> download(const Tensor& t) {
    ENG_CHECK(t.dtype() == TypeTag<T>::dtype, "download", "a tensor of ", name_of(t.dtype()), " read as ", name_of(TypeTag<T>::dtype));
    std::vector<T> values(std::size_t(t.numel()));
    read_host(t, values.data());
    return values;
}

// Any floating tensor as doubles, without a kernel.
inline std::vector<double> download_wide(const Tensor& t) {
    std::vector<double> wide;
    dispatch_float(t.dtype(), "download", [&](auto tag) {
        for (const auto v : download<decltype(tag)>(t)) wide.push_back(double(v));
    });
    return wide;
}
inline double first_element(const Tensor& t) {
    Tensor one = t.view({t.numel()}).slice(0, 1);
    return download_wide(one)[0];
}

}  // namespace eng
