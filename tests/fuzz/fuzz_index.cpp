// What decides the kind of a file of weights, and the JSON index of shards.
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        fuzz::read_all(eng::TensorFile::open(fuzz::file_of(data, size)).tensors());
    } catch (const eng::Error&) {
    }
    return 0;
}
