#pragma once
// What a witness says about one picture. Only what this view shows is said: a part that is hidden, or nearly so, is
// never mentioned.
#include <string>
#include <vector>

#include "train/synth/view.h"

namespace scvd::synth {

// A noun phrase before it is spoken: "red | polka dot | t-shirt | with white dots".
struct Item {
    Part part = part_person;
    Attribute about = top;  // the attribute it speaks of first, so that twins can be told apart
    const char* cls = "person";
    std::string colour, cut, noun, after;
    std::string place;  // for carried things: "on {poss} back"
    bool plural = false;
    std::string style{};            // of hair: "in a bun", a mention of its own
    std::string phrase() const;     // as it is spoken: colour, cut, noun, after; of hair the cut first
    std::string canonical() const;  // without the articles inside: "t-shirt with white logo"
};

struct Mention {
    std::size_t begin = 0, end = 0;  // bytes of the caption, from the first to the last word of the item
    std::string phrase;
    Part part = part_person;
    const char* cls = "person";
};
struct Caption {
    std::string text;
    std::vector<Mention> mentions;
    std::vector<std::string> absent;  // what the text says is not there: "hat"
};

// Everything the picture shows. With a generator words are chosen among synonyms and details are dropped; without one
// the phrases are canonical, as the regions of the sidecar carry them.
std::vector<Item> items_seen(const Figure&, const View&, const Picture&, eng::Rng* rng);
Caption make_caption(const Figure&, const View&, const Picture&, eng::Rng&);

}  // namespace scvd::synth
