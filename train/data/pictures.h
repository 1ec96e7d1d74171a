#pragma once
// Pictures of a split, decoded and resized once (Pillow's bilinear filter, aspect squashed, as IRRA does), kept as u8 in
// memory up to a limit.
#include <mutex>

#include "train/config.h"
#include "train/data/dataset.h"

namespace scvd {

class Pictures {
public:
    Pictures(std::vector<std::string> paths, int height, int width, int cache_mb);
    // Copies picture i, [H,W,3] u8. Safe from several threads. Errors name the file.
    void read(int i, std::uint8_t* out);
    std::size_t bytes() const { return bytes_; }
    int count() const { return int(paths_.size()); }
    const std::string& path(int i) const { return paths_[i]; }

private:
    std::vector<std::string> paths_;
    int height_, width_;
    std::size_t bytes_, room_;
    std::mutex mutex_;
    std::vector<std::vector<std::uint8_t>> cache_;
};

std::vector<std::string> paths_of(const Split&);
// Pictures [first, first+n) as a tensor u8 [n,H,W,3].
eng::Tensor read_pictures(eng::Arena&, Pictures&, int first, int n, int height, int width);

}  // namespace scvd
