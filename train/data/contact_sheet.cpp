#include "train/data/contact_sheet.h"

#include <cstring>

#include "engine/io/file.h"
#include "train/data/image.h"
#include "train/data/image_write.h"
#include "train/data/resize.h"

namespace scvd {

void write_contact_sheet(const std::string& path, const Dataset& data) {
    constexpr int columns = 12, cell_width = 64, cell_height = 160, gap = 4;
    std::vector<const Split*> rows;
    for (const Split* s : {&data.train, &data.val, &data.test})
        if (!s->images.empty()) rows.push_back(s);
    const int width = columns * (cell_width + gap) + gap, height = int(rows.size()) * (cell_height + gap) + gap;
    std::vector<std::uint8_t> sheet(std::size_t(width) * height * 3, 255);
    for (std::size_t r = 0; r < rows.size(); ++r) {
        const auto& images = rows[r]->images;
        const int n = std::min(columns, int(images.size()));
        for (int i = 0; i < n; ++i) {
            const Image cell = resize(load_image(images[images.size() * std::size_t(i) / std::size_t(n)].path), cell_width, cell_height);
            const int x = gap + i * (cell_width + gap), y = gap + int(r) * (cell_height + gap);
            for (int line = 0; line < cell_height; ++line)
                std::memcpy(&sheet[(std::size_t(y + line) * width + x) * 3], &cell.rgb[std::size_t(line) * cell_width * 3], cell_width * 3);
        }
    }
    const auto png = encode_png(width, height, sheet.data());
    eng::write_file(path, std::as_bytes(std::span(png)));
}

}  // namespace scvd
