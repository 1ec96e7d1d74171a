#pragma once
// Where the bytes of an arena come from, one kind per device. The arena decides which interval a block gets; the
// backing turns intervals into memory.
#include <cstddef>
#include <memory>

#include "engine/dtype.h"

namespace eng {

class Backing {
public:
    virtual ~Backing() = default;
    // How many bytes of addresses there are; an arena never asks beyond them.
    virtual std::size_t capacity() const = 0;
    // Memory for the interval [offset, offset + size), of which `asked` bytes will be used; null: none is left.
    virtual char* take(std::size_t offset, std::size_t size, std::size_t asked) = 0;
    virtual void give_back(char* p, std::size_t size) = 0;
    // For red zones and poison: sets bytes, and finds the first that differs (n if none does).
    virtual void fill(char* p, unsigned char byte, std::size_t n) = 0;
    virtual std::size_t first_other(const char* p, unsigned char byte, std::size_t n) = 0;
    // Whether writes behind the asked bytes are noticed without red zones (AddressSanitizer, the emulator).
    virtual bool fenced() const { return false; }
};

// `capacity` is in bytes; 0: as much as the device has.
namespace cpu { std::unique_ptr<Backing> make_backing(std::size_t capacity); }
namespace cuda {
std::unique_ptr<Backing> make_backing(std::size_t capacity);
std::size_t scratch_peak();  // the most bytes that kernels have had beside their tensors (Scratch, context_cuda.h)
}  // namespace cuda

}  // namespace eng
