#pragma once
// Signs that text was decoded with the wrong code page, after ftfy 6 (R. Speer): pairs and triples of characters that nobody
// writes, and runs of characters that are UTF-8's bytes under some code page.
#include <cstddef>
#include <string_view>

namespace scvd {

bool is_bad(std::u32string_view text);

// Length of the run at `at` that reads like UTF-8 sequences under some code page; 0 where there is none. A blank may stand
// for a lost no-break space, and no run begins behind what looks like the inside of a sequence.
std::size_t utf8_run(std::u32string_view text, std::size_t at);

}  // namespace scvd
