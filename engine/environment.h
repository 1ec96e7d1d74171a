#pragma once
// What the environment asks for: by one exact value, SCVD_CLUSTERS=0, say, or by a name in place of a usual one.
#include <cstdlib>
#include <string_view>

namespace eng {
inline bool environment_says(const char* name, std::string_view value) {
    const char* said = std::getenv(name);
    return said && said == value;
}
inline const char* environment_or(const char* name, const char* usual) {
    const char* said = std::getenv(name);
    return said && *said ? said : usual;
}
}  // namespace eng
