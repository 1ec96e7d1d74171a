// The safetensors header against the file's size; every tensor's bytes.
#include "engine/io/safetensors.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        const auto file = eng::SafeTensors::open(fuzz::file_of(data, size));
        for (const auto& t : file.tensors()) {
            std::vector<float> out(std::size_t(t.count()));
            try {
                eng::copy_as_float(t, out);
            } catch (const eng::Error&) {  // integers
            }
        }
    } catch (const eng::Error&) {
    }
    return 0;
}
