#include "train/data/pictures.h"

#include <fmt/format.h>

#include <cstring>
#include <filesystem>

#include "engine/parallel_errors.h"
#include "engine/transfer.h"
#include "train/data/image.h"
#include "train/data/resize.h"

namespace scvd {

namespace fs = std::filesystem;

Pictures::Pictures(std::vector<std::string> paths, int height, int width, int cache_mb, const std::string& cache_file)
    : paths_(std::move(paths)),
      height_(height),
      width_(width),
      bytes_(std::size_t(height) * width * 3),
      room_(std::size_t(std::max(0, cache_mb)) << 20),
      cache_(paths_.size()),
      disk_(cache_file.empty() ? nullptr : std::make_unique<PictureCache>(cache_file, paths_, bytes_)) {}

void Pictures::read(int i, std::uint8_t* out) {
    if (disk_) {
        if (disk_->read(i, out)) return;
        const Image picture = resize(load_image(paths_[i]), width_, height_);
        std::memcpy(out, picture.rgb.data(), bytes_);
        return disk_->write(i, out);
    }
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

Dataset dataset_of(const Config& c) {
    ENG_CHECK(c.data.on_bad == "fatal" || c.data.on_bad == "skip", "config", "data.on_bad = \"", c.data.on_bad, "\", want fatal | skip");
    Dataset d = load_dataset(c.data.root, c.data.on_bad == "skip" ? OnBad::skip : OnBad::fatal, c.data.images);
    fmt::print(stderr, "{}", describe_skipped(d));
    return d;
}

std::vector<std::string> paths_of(const Split& s) {
    std::vector<std::string> paths;
    for (const Record& r : s.images) paths.push_back(r.path);
    return paths;
}

std::unique_ptr<Pictures> pictures_of(const Config& c, const Split& s) {
    const auto &im = c.model.image;
    const auto make = [&](const std::string& file) { return std::make_unique<Pictures>(paths_of(s), im.height, im.width, c.data.cache_mb, file); };
    if (!c.data.disk_cache || s.images.empty()) return make("");
    const fs::path root(c.data.root), folder = (fs::is_directory(root) ? root : root.parent_path()) / ".scvd-cache";
    std::error_code error;
    fs::create_directories(folder, error);
    try {
        return make((folder / (s.name + "-" + std::to_string(im.height) + "x" + std::to_string(im.width) + ".u8")).string());
    } catch (const eng::Error& e) {
        fmt::print(stderr, "{}; pictures are decoded again in every epoch (data.disk_cache = false says so silently)\n", e.what());
        return make("");
    }
}

eng::Tensor read_pictures(eng::Arena& arena, Pictures& pictures, int first, int n, int height, int width) {
    std::vector<std::uint8_t> pixels(std::size_t(n) * pictures.bytes());
    eng::all_or_throw(n, 1, [&](std::int64_t i) { pictures.read(first + int(i), pixels.data() + std::size_t(i) * pictures.bytes()); });
    return eng::upload(arena, {n, height, width, 3}, pixels);
}

}  // namespace scvd
