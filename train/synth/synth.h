#pragma once
// A procedural set of pedestrians in the layout of RSTPReid, because the real sets are gated. docs/synthetic-data.md
// describes the files.
#include <cstdint>
#include <string>

namespace scvd {

struct SynthOptions {
    std::string out;
    int train = 2000, val = 100, test = 200;                // identities
    int train_images = 3, val_images = 2, test_images = 2;  // per identity
    std::uint64_t seed = 1;
    int width = 96, height = 192;       // pixels, 32 to 1024
    int threads = 0;                    // 0: as many as the machine has; the bytes do not depend on it
    int jpeg_low = 50, jpeg_high = 95;  // qualities; within, each camera has its own
    float twin_share = 0.2f;            // of the identities, in pairs that differ in one attribute
    bool force = false;                 // replace a set that this function made before
};

struct SynthReport {
    int identities = 0, images = 0, captions = 0;
    double images_per_second = 0;
};

// Writes imgs/*.jpg, data_captions.json, regions.jsonl, identities.jsonl and synth.json under `out`, which appears
// complete or not at all. Errors: options out of range; `out` is a file, or a folder with anything but a set of this
// function's making (and force); a file cannot be written.
SynthReport make_synthetic_set(const SynthOptions&);

}  // namespace scvd
