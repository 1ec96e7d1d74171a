// Stands in for GPU memory in a build without CUDA.
#include "engine/backing.h"

namespace eng::cuda {
std::unique_ptr<Backing> make_backing(std::size_t) { fail("device", "this binary was built without CUDA"); }
std::size_t scratch_peak() { return 0; }
}  // namespace eng::cuda
