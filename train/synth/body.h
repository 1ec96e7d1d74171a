#pragma once
// The skeleton of a pose. Units: hundredths of the body's height, y down, spine at x = 0; seen from the side the figure
// walks towards +x (the canvas mirrors those who walk to the left). Index 0 is the far or left limb, 1 the near or
// right.
#include "train/synth/view.h"

namespace scvd::synth {

struct Body {
    bool side = false, from_back = false;
    double shoulder_half = 12, waist_half = 9.5, hip_half = 9.5;  // half widths of the torso as seen
    double limb = 1;                                              // thickness of arms and legs
    Point shoulder[2], elbow[2], hand[2], hip[2], knee[2], ankle[2];
    int held_arm = 1, bag_arm = 0;
};
Body pose(const Figure&, const View&);

// Parts of the figure, in drawing order; each is one room.
void draw_legs(Canvas&, const Figure&, const Body&);
void draw_torso(Canvas&, const Figure&, const Body&);
void draw_arm(Canvas&, const Figure&, const Body&, int arm);
void draw_hair_behind(Canvas&, const Figure&, const Body&);
void draw_head(Canvas&, const Figure&, const Body&);
void draw_bag_behind(Canvas&, const Figure&, const Body&);
void draw_bag(Canvas&, const Figure&, const Body&);
void draw_held(Canvas&, const Figure&, const Body&);

}  // namespace scvd::synth
