#pragma once
// Pictures of a split, decoded and resized once (Pillow's bilinear filter, aspect squashed, as IRRA does), kept as u8 on
// disk, or in memory up to a limit.
#include <memory>
#include <mutex>

#include "train/config.h"
#include "train/data/dataset.h"
#include "train/data/picture_cache.h"

namespace scvd {

class Pictures {
public:
    // `cache_file`: where decoded pictures are kept on disk (see PictureCache), "" for nowhere; without it up to cache_mb
    // of memory are used.
    Pictures(std::vector<std::string> paths, int height, int width, int cache_mb, const std::string& cache_file = "");
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
    std::unique_ptr<PictureCache> disk_;
};

// The data set that the configuration names; records left out are named and counted on standard error.
Dataset dataset_of(const Config&);
std::vector<std::string> paths_of(const Split&);
// The pictures of a split, cached as the configuration says: on disk in <data set>/.scvd-cache, one file per split and size.
// Says so once, on standard error, when that folder cannot be written, and goes on without.
std::unique_ptr<Pictures> pictures_of(const Config&, const Split&);
// Pictures [first, first+n) as a tensor u8 [n,H,W,3].
eng::Tensor read_pictures(eng::Arena&, Pictures&, int first, int n, int height, int width);

}  // namespace scvd
