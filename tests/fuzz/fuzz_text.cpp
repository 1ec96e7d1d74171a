// Captions: cleaning as CLIP's tokenizer does it, the repair of wrong code pages included.
#include "model/mojibake.h"
#include "model/text_clean.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        const std::string text(reinterpret_cast<const char*>(data), size);
        const std::u32string clean = scvd::clean_text(text);
        if (clean.starts_with(U' ') || clean.ends_with(U' ') || clean.find(U"  ") != clean.npos) __builtin_trap();
        const std::u32string fixed = scvd::fix_encoding(scvd::decode_utf8(text));
        if (scvd::fix_encoding(fixed) != fixed) __builtin_trap();
    } catch (const eng::Error&) {
    }
    return 0;
}
