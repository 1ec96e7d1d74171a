#pragma once
// Does TVL look where the phrase is? Only a synthetic set knows: its regions.jsonl has the pixels behind every mention.
#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "train/evaluate.h"

namespace scvd {

struct Mention {
    std::size_t begin = 0, end = 0;  // bytes of the caption
    int region = 0;
    std::string phrase_class;        // "upper", "bag" ...
};
struct PictureRegions {
    int width = 0, height = 0;
    std::vector<std::vector<std::int32_t>> runs;  // per region: lengths of alternating runs of 0s and 1s, zeros first
    std::vector<std::vector<Mention>> captions;
    std::vector<std::uint8_t> mask(int region) const;  // [height, width], 1 inside
};

// The regions of the split's pictures, in its order; nothing for a set without regions.jsonl.
// Errors name file and line: not JSON, a missing key, a mask that does not fill its picture, a picture without a line.
std::optional<std::vector<PictureRegions>> load_regions(const std::string& root, const Split&);

// The mention that shares most bytes with [begin, end); nullptr if none shares any.
const Mention* mention_at(const std::vector<Mention>&, std::size_t begin, std::size_t end);

// TVL's map of every phrase of every caption on the caption's own picture, against the region that the phrase means.
LocalisationTable localise_split(const Scvd&, const Config&, const Split&, Pictures&, TextBank&, const std::vector<PictureRegions>&);

nlohmann::json to_json(const LocalisationTable&);
std::string table(const LocalisationTable&);

}  // namespace scvd
