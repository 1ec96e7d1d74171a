#include "engine/device.h"

namespace eng::cpu {
namespace {
void copy(void* to, const void* from, std::size_t bytes) {
    if (bytes) std::memcpy(to, from, bytes);
}
void zero(void* p, std::size_t bytes) {
    if (bytes) std::memset(p, 0, bytes);
}
}  // namespace

const Transfers transfers{copy, copy, copy, zero};

}  // namespace eng::cpu
