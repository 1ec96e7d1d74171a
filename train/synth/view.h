#pragma once
// How an identity is seen in one picture: pose, camera, what stands in the way.
#include "train/synth/canvas.h"
#include "train/synth/figure.h"

namespace scvd::synth {

enum Facing { front, back, left, right };
enum Occluder { nothing, low_object, pole, passer_by };

struct View {
    int facing = front;
    int phase = 0;   // of the step, 0..15
    int camera = 1;  // 1..15
    int occluder = nothing;
    int fit = 90;                  // height of the figure in percent of the picture's
    int shift_x = 0, shift_y = 0;  // of the figure, in thousandths of the picture
    std::uint64_t stream = 0;      // of the remaining random choices
    bool sideways() const { return facing >= left; }
};

// What a pixel shows. `person` is skin and whatever of the figure has no part of its own.
enum Part {
    part_none,
    part_person,
    part_upper,
    part_inner,
    part_lower,
    part_shoes,
    part_hat,
    part_hair,
    part_glasses,
    part_scarf,
    part_bag,
    part_held,
    part_count
};

// View number `image` of an identity: its facing differs from that of the views before, as far as possible.
View make_view(std::uint64_t seed, int identity, int image);

// A stream number from what it is for and two counters, so that no two uses share random numbers.
std::uint64_t stream_for(const char* use, int identity, int image = 0);

struct Picture {
    int width = 0, height = 0;
    std::vector<std::uint8_t> rgb;                // [height, width, 3]
    std::vector<std::uint8_t> parts;              // [height, width], a Part per pixel
    std::array<int, part_count> drawn{}, seen{};  // pixels per part before and after occlusion
    int quality = 80;                             // of the JPEG
};
Picture render(std::uint64_t seed, const Figure&, const View&, int width, int height);

// The rooms behind render(). Streets and occluders are drawn in a frame of 100 x 200 units, people in a frame where the
// head's top is y = 0, the soles y = 100 and the spine x = 0.
void draw_street(Canvas&, eng::Rng&);
void draw_person(Canvas&, const Figure&, const View&);
void draw_occluder(Canvas&, const View&, eng::Rng&);
// Light, colour cast, resolution, blur and noise of camera number `view.camera`, in integers only.
void apply_camera(Picture&, std::uint64_t seed, const View&);

}  // namespace scvd::synth
