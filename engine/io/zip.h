#pragma once
// The part of the zip format that PyTorch's files use: entries stored without compression, found through the central
// directory, read in place. Nothing is ever inflated, so a file cannot ask for more memory than it has bytes.
#include <cstddef>
#include <map>
#include <span>
#include <string>

namespace eng {

// Whether the bytes begin like a zip archive.
bool is_zip(std::span<const std::byte> bytes);

// Every stored entry's bytes by its name; the spans point into `bytes`. Folders are left out, and so are entries that are
// compressed (TorchScript's source code).
// Errors name `file` and the entry: no end record (the archive is cut short), an entry that is encrypted or reaches
// outside of the file, a name that occurs twice, entries that overlap.
std::map<std::string, std::span<const std::byte>> zip_entries(std::span<const std::byte> bytes, const std::string& file);

}  // namespace eng
