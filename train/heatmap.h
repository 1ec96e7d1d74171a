#pragma once
// Attention maps as pictures.
#include <array>
#include <cstdint>
#include <vector>

namespace scvd {

// The colour map: 0 is near black, 1 pale yellow, over violet, red and orange. Lightness (CIE L*) rises evenly, so
// equal differences of the map look equal, in print and to colour-blind eyes too. Values outside 0..1 are clamped.
// RGB, 0..255.
std::array<float, 3> heat_colour(float value);

// rgb [h, w, 3] under a map [gh, gw] that is stretched to its own range, upsampled bilinearly (cell centres on the
// centres of the picture's cells, edges repeated) and coloured. The colour covers `alpha` of the picture where the map
// is highest and a third of that where it is lowest, so that the person stays visible. A constant map shows as low
// everywhere. Returns RGB [h, w, 3]. Errors on empty sizes, alpha outside 0..1 and values that are not finite.
std::vector<std::uint8_t> blend_heatmap(const std::uint8_t* rgb, int w, int h, const float* map, int gh, int gw,
                                        float alpha = 0.65f);

}  // namespace scvd
