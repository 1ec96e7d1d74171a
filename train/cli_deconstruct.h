#pragma once
#include <CLI/CLI.hpp>

namespace scvd {

void add_deconstruct(CLI::App& app);  // scvd deconstruct

}  // namespace scvd
