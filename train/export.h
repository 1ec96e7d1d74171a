#pragma once
// Checkpoints for other programs: a folder that they open as it is.
#include <string>

namespace scvd {

struct ExportOptions {
    std::string weights;  // a checkpoint, or any file that `scvd import` reads
    std::string out;      // folder to make; an existing one must be empty
    std::string format;   // hf: transformers.CLIPModel | openclip: open_clip's "local-dir:FOLDER" | scvd: a checkpoint of ours
    std::string bpe;
};

// Writes the encoders (the other formats know nothing of SCVD's own modules), bit for bit. Errors: an encoder that the
// format cannot express, with the reason.
//
// CLIPModel has square pictures only. A grid of 24 x 8 patches is written as a table of 24 x 24 in which every column
// stands three times: with pictures of 384 x 128 and interpolate_pos_encoding=True its bicubic interpolation looks at the
// middle one of each three alone, so that the table's own values arrive.
void export_weights(const ExportOptions&);

}  // namespace scvd
