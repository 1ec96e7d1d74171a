#pragma once
// What the environment asks for by one exact value: SCVD_CLUSTERS=0, say.
#include <cstdlib>
#include <string_view>

namespace eng {
inline bool environment_says(const char* name, std::string_view value) {
    const char* said = std::getenv(name);
    return said && said == value;
}
}  // namespace eng
