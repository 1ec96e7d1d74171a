// What the twins of asynchronous instructions share.
#pragma once
#include "cuemu/device.h"

namespace cuemu {

bool land_now();  // whether what is issued now takes effect now, by options().async
// Instructions that take shared addresses are bounds-checked in every build.
void need_shared(const void* p, size_t bytes, size_t align, const char* op);
unsigned swizzled(unsigned address, unsigned bits);
inline float bf16_lo(unsigned v) { return __uint_as_float(v << 16); }
inline float bf16_hi(unsigned v) { return __uint_as_float(v & 0xffff0000u); }

}  // namespace cuemu
