// Stands in for CUDA graphs in a build without CUDA.
#include "engine/graph.h"

namespace eng::cuda {
std::unique_ptr<Replay> capture(const std::function<void()>&) { fail("device", "this binary was built without CUDA"); }
}  // namespace eng::cuda
