#pragma once
// Position tables of image encoders for another picture size. Row 0 belongs to the class (or mean) token, the others to
// the patches, row by row.
#include <string>
#include <vector>

namespace scvd {

enum class PositionResize {
    bilinear,           // as IRRA, RDE and TBPS-CLIP do: no antialiasing, centres aligned (align_corners false)
    bicubic_antialias,  // as open_clip does
};

struct Grid {
    int height = 0, width = 0;
    int rows() const { return height * width + 1; }
    bool operator==(const Grid&) const = default;
};

// table [from.rows(), dim] -> [to.rows(), dim]; row 0 is kept, equal grids are a copy.
std::vector<float> resize_positions(const std::vector<float>& table, Grid from, Grid to, int dim, PositionResize how);

}  // namespace scvd
