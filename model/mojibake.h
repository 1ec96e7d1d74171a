#pragma once
// Undoes the decoding of UTF-8 with a wrong code page: "cafÃ©" becomes "café". The repair that ftfy 6 (R. Speer) made known,
// step by step, because CLIP's texts went through it.
#include <string>

namespace scvd {

// Text without signs of such a mistake (model/badness.h) is returned as it is.
std::u32string fix_encoding(std::u32string text);

}  // namespace scvd
