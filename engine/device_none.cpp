// Stands in for CUDA's copies in a build without CUDA.
#include "engine/device.h"

namespace eng::cuda {
namespace {
[[noreturn]] void none() { fail("device", "this binary was built without CUDA"); }
}  // namespace

const Transfers transfers{[](void*, const void*, std::size_t) { none(); }, [](void*, const void*, std::size_t) { none(); },
                          [](void*, const void*, std::size_t) { none(); }, [](void*, std::size_t) { none(); }};

}  // namespace eng::cuda
