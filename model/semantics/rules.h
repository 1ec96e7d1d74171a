#pragma once
// Names of the grammar's rules, for --explain and the tests; rules.def says what each does.
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace scvd::sd {

enum class Rule : std::uint8_t {
    none,
#define RULE(name, meaning, example, phrases, absent) name,
#include "model/semantics/rules.def"
#undef RULE
};

const char* rule_name(Rule);

// Which rule fired at which token, in order. Only kept for --explain.
using Trace = std::vector<std::pair<std::size_t, Rule>>;

}  // namespace scvd::sd
