#include "model/semantics/items.h"

#include <algorithm>

namespace scvd::sd {
namespace {

bool is_join(const Piece& p) { return p.classes & conj; }

// "and" is only kept between two modifiers.
void drop_loose_joins(Pieces& p) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < p.size(); ++i) {
        const bool loose = is_join(p[i]) && (kept == 0 || is_join(p[kept - 1]) || i + 1 == p.size() || is_join(p[i + 1]));
        if (!loose) p[kept++] = p[i];
    }
    p.resize(kept);
}

void append(std::string& out, const Piece& piece) {
    if (piece.text.empty()) return;  // "he is bald": the person's class is the head, and known only at the end
    if (!out.empty()) out += piece.hyphen ? '-' : ' ';
    out += piece.text;
}

void append(std::string& out, const Pieces& pieces) {
    for (const Piece& p : pieces) append(out, p);
}

}  // namespace

Pieces pieces_of(const std::vector<Token>& tokens, std::span<const std::uint32_t> indices) {
    Pieces out;
    out.reserve(indices.size() + 2);
    std::size_t last = none;
    for (const std::uint32_t i : indices) {
        const Token& t = tokens[i];
        out.push_back({t.text, t.hyphen && last + 1 == i, t.classes});
        last = i;
    }
    return out;
}

Pieces modifier_pieces(const std::vector<Token>& tokens, const NounPhrase& np) {
    Pieces out;
    out.reserve(np.mods.size + 2);
    std::size_t last = none;
    for (const std::uint32_t i : np.mods.all()) {
        const Token& t = tokens[i];
        const bool side_only = t.is(side) && !t.is(modifier | noun) && !(np.head_classes & part);
        const bool hue_word = t.is(hue) && out.size() && (out.back().classes & (colour | shade)) && !t.hyphen;
        // "black color shirt" is a black shirt; "light colored" keeps its suffix.
        if (side_only || (hue_word && np.head != none)) continue;
        out.push_back({t.text, t.hyphen && last + 1 == i, t.classes});
        last = i;
    }
    drop_loose_joins(out);
    return out;
}

bool has_word(const Pieces& pieces, std::string_view text) {
    return std::any_of(pieces.begin(), pieces.end(), [&](const Piece& p) { return stem_of(p.text) == stem_of(text); });
}

bool has_colour(const Pieces& pieces) {
    return std::any_of(pieces.begin(), pieces.end(), [](const Piece& p) { return p.classes & colour; });
}

constexpr std::size_t most_pieces = 64;  // nobody says more of a thing; keeps time linear

void add_front(Item& item, const Pieces& more) {
    if (item.front.size() > most_pieces) return;
    Pieces fresh;
    fresh.reserve(more.size() + item.front.size());
    for (const Piece& p : more)
        if (is_join(p) || (!has_word(item.front, p.text) && stem_of(p.text) != stem_of(item.head.text))) fresh.push_back(p);
    drop_loose_joins(fresh);
    fresh.insert(fresh.end(), item.front.begin(), item.front.end());
    item.front = std::move(fresh);
}

void add_detail(Item& item, Pieces detail) {
    if (detail.empty() || item.details.size() > most_pieces) return;
    for (const Pieces& old : item.details) {
        const bool same = old.size() == detail.size() &&
                          std::equal(old.begin(), old.end(), detail.begin(),
                                     [](const Piece& a, const Piece& b) { return a.text == b.text; });
        if (same) return;
    }
    item.details.push_back(std::move(detail));
}

bool colours_agree(const Pieces& a, const Pieces& b) {
    if (!has_colour(a) || !has_colour(b)) return true;
    return std::any_of(a.begin(), a.end(), [&](const Piece& p) { return (p.classes & colour) && has_word(b, p.text); });
}

Category category_of(Classes head) {
    if (head & people) return head & child ? Category::carried : Category::person;
    if (head & (hair | style | facial)) return Category::hair;
    if (head & upper) return Category::garment_upper;
    if (head & lower) return Category::garment_lower;
    if (head & (full | generic)) return Category::garment_full;
    if (head & foot) return Category::footwear;
    if (head & headwear) return Category::headwear;
    if (head & bag) return Category::bag;
    if (head & ridden) return Category::ridden;
    if (head & pushed) return Category::pushed;
    if (head & (screen | held)) return Category::held;
    if (head & (carried | animal | thing | container)) return Category::carried;
    if (head & (body | bodypart)) return Category::body;
    return Category::accessory;
}

std::string text_of(const Item& item) {
    std::string out;
    append(out, item.front);
    append(out, item.head);
    append(out, item.content);
    append(out, item.behind);
    for (std::size_t i = 0; i < item.details.size(); ++i) {
        out += i ? " and" : " with";
        append(out, item.details[i]);
    }
    return out;
}

}  // namespace scvd::sd
