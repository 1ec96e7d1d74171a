// PyTorch's files: the zip directory, the pickle interpreter, shapes and strides against storages.
#include "engine/io/pickle.h"
#include "engine/io/torch_file.h"
#include "engine/io/zip.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span(data, size));
    try {
        bool script = false;
        if (eng::is_zip(bytes)) fuzz::read_all(eng::torch_zip_tensors(bytes, "x", script));
        else if (eng::is_torch_legacy(bytes)) fuzz::read_all(eng::torch_legacy_tensors(bytes, "x"));
        else eng::Pickle(bytes, "x");
    } catch (const eng::Error&) {
    }
    return 0;
}
