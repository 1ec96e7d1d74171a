#pragma once
// Tensors in PyTorch's own files (see tensor_file.h). Errors name `file`.
#include "engine/io/tensor_file.h"

namespace eng {

// A zip archive: torch.save's ("x/data.pkl", "x/data/0", ..) or TorchScript's (the same, "x/constants.pkl", "x/code/..").
std::vector<StoredTensor> torch_zip_tensors(std::span<const std::byte> bytes, const std::string& file, bool& script);

// A bare pickle, as torch.save wrote before 2020: five pickles, then the storages one after another.
bool is_torch_legacy(std::span<const std::byte> bytes);
std::vector<StoredTensor> torch_legacy_tensors(std::span<const std::byte> bytes, const std::string& file);

}  // namespace eng
