#pragma once
// Ranks that are threads of one process: for tests, and to see what a collective does without a network.
#include <memory>

#include "engine/comm/comm.h"

namespace eng {

// The Comms of a world of `size` ranks, one for each thread. A rank that waits longer than `timeout_seconds` for the others gives
// up with an error.
std::vector<std::unique_ptr<Comm>> thread_comms(int size, double timeout_seconds = 60);

}  // namespace eng
