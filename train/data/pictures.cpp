#include "train/data/pictures.h"

#include <cstring>

#include "engine/parallel.h"
#include "engine/transfer.h"
#include "train/data/image.h"
#include "train/data/resize.h"

namespace scvd {

Pictures::Pictures(std::vector<std::string> paths, int height, int width, int cache_mb)
    : paths_(std::move(paths)),
      height_(height),
      width_(width),
      bytes_(std::size_t(height) * width * 3),
      room_(std::size_t(std::max(0, cache_mb)) << 20),
      cache_(paths_.size()) {}

void Pictures::read(int i, std::uint8_t* out) {
    {
        std::lock_guard lock(mutex_);
        if (!cache_[i].empty()) {
            std::memcpy(out, cache_[i].data(), bytes_);
            return;
        }
    }
    Image picture = resize(load_image(paths_[i]), width_, height_);
    std::memcpy(out, picture.rgb.data(), bytes_);
    std::lock_guard lock(mutex_);
    if (room_ < bytes_ || !cache_[i].empty()) return;
    room_ -= bytes_;
    cache_[i] = std::move(picture.rgb);
}

std::vector<std::string> paths_of(const Split& s) {
    std::vector<std::string> paths;
    for (const Record& r : s.images) paths.push_back(r.path);
    return paths;
}

eng::Tensor read_pictures(eng::Arena& arena, Pictures& pictures, int first, int n, int height, int width) {
    std::vector<std::uint8_t> pixels(std::size_t(n) * pictures.bytes());
    std::vector<std::string> errors(n);  // an exception must not leave a parallel region
    eng::parallel_for(n, 1, [&](std::int64_t b, std::int64_t e) {
        for (std::int64_t i = b; i < e; ++i) try {
                pictures.read(first + int(i), pixels.data() + std::size_t(i) * pictures.bytes());
            } catch (const std::exception& error) {
                errors[i] = error.what();
            }
    });
    for (const auto& e : errors)
        if (!e.empty()) throw eng::Error(e);
    return eng::upload(arena, {n, height, width, 3}, pixels);
}

}  // namespace scvd
