#pragma once
// Bytes between host and devices. Everything here is ordered after the device work that was issued before it, and
// copies to the host have arrived when they return.
#include <cstddef>

#include "engine/dtype.h"

namespace eng {

// How a device moves bytes; one table per device, so that a build without CUDA links a twin that says so.
struct Transfers {
    void (*to_device)(void* device, const void* host, std::size_t bytes);
    void (*to_host)(void* host, const void* device, std::size_t bytes);
    void (*on_device)(void* to, const void* from, std::size_t bytes);
    void (*zero)(void* device, std::size_t bytes);
};
namespace cpu { extern const Transfers transfers; }
namespace cuda { extern const Transfers transfers; }

// Where arenas are unless told otherwise; a program sets it once, before it makes any.
inline Device default_device = Device::cpu;
inline int default_gpu = 0;  // which of the machine's; counted around when there are fewer

inline const Transfers& transfers_of(Device d) { return d == Device::cpu ? cpu::transfers : cuda::transfers; }

}  // namespace eng
