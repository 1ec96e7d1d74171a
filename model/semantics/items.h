#pragma once
// Things that the text mentions of the described person, while they are being collected.
#include <string>
#include <string_view>
#include <vector>

#include "model/semantics/deconstructor.h"
#include "model/semantics/noun_phrase.h"

namespace scvd::sd {

struct Piece {
    std::string_view text;
    bool hyphen = false;  // written with a hyphen to the piece before
    Classes classes = 0;
};
using Pieces = std::vector<Piece>;

struct Item {
    Pieces front;                 // modifiers, in canonical order
    Piece head;
    Pieces content;               // "of coffee"
    std::vector<Pieces> details;  // "white stripes", "red logo": printed behind "with"
    Pieces behind;                // "pulled back"
    Classes head_classes = 0;
    std::size_t begin = 0, end = 0;  // bytes
    bool absent = false, gone = false, plural = false, indefinite = false;
};

// Modifiers of an item as they are printed: no degree words, sides and conjunctions that join nothing.
Pieces modifier_pieces(const std::vector<Token>& tokens, const NounPhrase& np);
Pieces pieces_of(const std::vector<Token>& tokens, std::span<const std::uint32_t> indices);

bool has_word(const Pieces& pieces, std::string_view text);
bool has_colour(const Pieces& pieces);
// Puts what `item` does not say yet in front of its modifiers.
void add_front(Item& item, const Pieces& more);
void add_detail(Item& item, Pieces detail);
// False if both name colours and none in common: then they are two things.
bool colours_agree(const Pieces& a, const Pieces& b);

Category category_of(Classes head);
std::string text_of(const Item& item);

}  // namespace scvd::sd
