#pragma once
// Vectors of pictures and sentences in CLIP's shared space, for other programs.
#include <string>

namespace scvd {

struct EmbedOptions {
    std::string weights, images, texts, out, bpe, dtype;  // dtype: f32 | bf16; "" as the checkpoint says
};

// Writes a safetensors file: "images" [n, d], one row a picture of the folder, sorted by path (names in the metadata), and
// "texts" [m, d], one row a line of the text file. Rows are as the encoders give them, not of unit length.
void embed(const EmbedOptions&);

}  // namespace scvd
