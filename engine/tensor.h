#pragma once
// A Tensor is a cheap handle: shared storage, an element offset, a shape, a dtype. Always contiguous and
// row-major: the only views are reshape and narrow on the first axis, so no kernel ever sees a stride.
#include <array>
#include <initializer_list>
#include <memory>

#include "engine/arena.h"
#include "engine/view.h"

namespace eng {

struct Shape {
    std::array<std::int64_t, 4> dim{1, 1, 1, 1};  // 1 beyond rank
    int rank = 0;
    Shape() = default;
    Shape(std::initializer_list<std::int64_t> d) : rank(int(d.size())) {
        int i = 0;
        for (auto v : d) dim[i++] = v;
    }
    std::int64_t operator[](int i) const { return dim[i]; }
    std::int64_t numel() const { return dim[0] * dim[1] * dim[2] * dim[3]; }
    std::int64_t cols() const { return rank ? dim[rank - 1] : 1; }
    std::int64_t rows() const { return cols() ? numel() / cols() : 0; }
    bool operator==(const Shape& o) const { return rank == o.rank && dim == o.dim; }
    friend std::ostream& operator<<(std::ostream& os, const Shape& s) {
        os << '[';
        for (int i = 0; i < s.rank; ++i) os << (i ? "," : "") << s.dim[i];
        return os << ']';
    }
};

struct Storage {
    Arena* home;
    void* data;
    Storage(Arena& a, std::size_t bytes) : home(&a), data(a.alloc(bytes)) {}
    ~Storage() { home->release(data); }
    Storage(const Storage&) = delete;
    Storage& operator=(const Storage&) = delete;
};

struct Param;

class Tensor {
public:
    Tensor() = default;
    // Uninitialised memory of arena's device.
    Tensor(Arena& arena, Shape shape, DType dtype)
        : storage_(std::make_shared<Storage>(arena, std::size_t(shape.numel()) * size_of(dtype))),
          shape_(shape),
          dtype_(dtype) {}

    bool defined() const { return storage_ != nullptr; }
    bool sole() const { return storage_.use_count() == 1; }  // no other handle shares the memory
    const Shape& shape() const { return shape_; }
    DType dtype() const { return dtype_; }
    Arena& arena() const { return *storage_->home; }
    Device device() const { return arena().device(); }
    std::int64_t numel() const { return shape_.numel(); }
    std::int64_t rows() const { return shape_.rows(); }
    std::int64_t cols() const { return shape_.cols(); }
    std::size_t bytes() const { return std::size_t(numel()) * size_of(dtype_); }
    void* raw() const { return static_cast<char*>(storage_->data) + std::size_t(offset_) * size_of(dtype_); }
    template <class T> T* as() const { return static_cast<T*>(raw()); }

    // Fresh uninitialised tensors beside this one.
    Tensor like(Shape s, DType t) const { return Tensor(arena(), s, t); }
    Tensor like(Shape s) const { return like(s, dtype_); }
    Tensor like() const { return like(shape_); }

    // Same data, another shape; still the same value on the tape.
    Tensor view(Shape s) const {
        ENG_CHECK(s.numel() == numel(), "view", shape_, " cannot be viewed as ", s);
        Tensor t = *this;
        t.shape_ = s;
        return t;
    }
    // Rows [first, first+n) of the first axis, sharing memory. Detached: gradients flow through gather_rows instead.
    Tensor slice(std::int64_t first, std::int64_t n) const {
        ENG_CHECK(shape_.rank > 0 && first >= 0 && n >= 0 && first + n <= shape_[0], "slice", "rows ", first, " to ",
                  first + n, " of ", shape_);
        Tensor t = *this;
        t.offset_ += shape_[0] ? first * (numel() / shape_[0]) : 0;
        t.shape_.dim[0] = n;
        t.value = -1;
        t.param = nullptr;
        return t;
    }
    Tensor detach() const {
        Tensor t = *this;
        t.value = -1;
        t.param = nullptr;
        return t;
    }

    int value = -1;          // slot on the recording tape; -1: not recorded, needs no gradient
    Param* param = nullptr;  // set on parameters: their gradient lives in the parameter, not on the tape

private:
    std::shared_ptr<Storage> storage_;
    std::int64_t offset_ = 0;  // in elements
    Shape shape_;
    DType dtype_ = DType::f32;
};

}  // namespace eng
