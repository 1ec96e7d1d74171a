#pragma once
// Which build made a run: version, commit, compiler and flags, one line.
#include <string>

namespace scvd {
std::string build_id();
}  // namespace scvd
