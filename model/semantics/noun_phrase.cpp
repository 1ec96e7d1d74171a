#include "model/semantics/noun_phrase.h"

namespace scvd::sd {
namespace {

constexpr Classes adjective = modifier | suffix;

// Two nouns in a row that are no compound: "the girl backpack", "sneakers glasses", "ponytail shirt".
bool splits(const Token& last, const Token& next) {
    if (last.is(people)) return !next.is(people);
    if (last.is(hair | style | facial)) return !next.is(headwear | hair);
    if (next.is(people)) return last.is(worn | accessory | bag);
    if (next.is(hair | style | bodypart)) return last.is(scope);
    if (next.is(place) && !next.is(scope | part)) return last.is(worn | accessory | bag);
    return last.is(worn | accessory | bag) && last.has(f_plural) && !last.has(f_noshare);
}

class Reader {
public:
    Reader(const std::vector<Token>& t, std::size_t i, Place place, NounPhrase& np) : t_(t), k_(i), place_(place), np_(np) {
        np_ = {};
        np_.begin = i;
    }

    bool run() {
        determiners();
        while (step()) {}
        if (noun_ != none) {
            np_.head = noun_;
            np_.head_classes = at(noun_).classes;
            --np_.mods.size;  // the head was pushed last
            complement();
        }
        np_.end = k_;
        return np_.end > np_.begin && (np_.head != none || np_.mods.size > 0 || np_.determined);
    }

private:
    const std::vector<Token>& t_;
    std::size_t k_;
    Place place_;
    NounPhrase& np_;
    int commas_ = 0;           // crossed so far
    std::size_t noun_ = none;  // the noun read last, as long as nothing came behind it

    const Token& at(std::size_t i) const {
        static const Token stop{".", 0, 0, 0, 0, false, false, Rule::none};
        return i < t_.size() ? t_[i] : stop;
    }

    void determiners() {
        for (;; ++k_) {
            const Token& t = at(k_);
            const bool of_all = t.is(of) && np_.determined && at(k_ + 1).is(determiner);  // "all of her clothes"
            if (!t.is(determiner | degree) && !is_number(t) && !of_all) return;
            if (t.is(noun) && !t.is(determiner)) return;
            const bool bit = t.text == "a" && at(k_ + 1).text == "little" && at(k_ + 2).is(adjective) && place_ == Place::predicate;
            if (bit) ++k_;  // "is a little long"
            if (t.is(determiner)) np_.determined = true;
            if (t.is(defdet | poss)) np_.definite = true;
            if (t.is(det) || t.text == "one") np_.indefinite = true;
            np_.other = np_.other || t.has(f_other);
            np_.all = np_.all || t.text == "all";
            if (is_number(t)) {
                np_.determined = true;
                if (t.text != "one" && t.text != "1") np_.many = true, np_.mods.push(k_);
            }
        }
    }

    static bool is_number(const Token& t) { return t.is(num); }

    bool take() {
        np_.mods.push(k_++);
        return true;
    }

    bool step() {
        const Token& t = at(k_);
        if (noun_ != none) return after_noun(t);
        if (t.is(measure | hue) && at(k_ + 1).is(of)) return skip_measure();
        if (t.text == "pair" && at(k_ + 1).is(noun | modifier)) return ++k_, true;
        if (t.is(degree)) return ++k_, np_.mods.size > 0 || np_.determined || at(k_).is(adjective | noun);
        if (t.is(conj) || t.comma()) return crosses() ? take_conjunction() : false;
        if (t.is(noun) && !(t.is(adjective) && leads_to_noun(k_ + 1, 4))) {
            noun_ = k_;
            return take();
        }
        if (t.is(suffix) && !t.is(modifier) && np_.mods.size == 0) return false;  // "shaped like a frog"
        if (t.is(adjective | side)) return take();
        if (premodifier(t)) return take();
        return unknown(t) && unknown_word();
    }

    bool after_noun(const Token& t) {
        const Token& last = at(noun_);
        if (names_role(last) && t.text == "'s" && np_.indefinite && at(k_ + 1).is(noun | modifier)) {
            noun_ = none;  // "a chef's hat"
            return ++k_, true;
        }
        if (t.is(noun)) {
            const bool kind = at(k_ + 1).is(worn | accessory | bag) && t.is(bodypart);       // "shark tooth necklace"
            const bool role = place_ == Place::wear && last.is(people) && !np_.definite && t.is(worn | bag);  // "ripped boyfriend jeans"
            const bool compound = last.has(f_guessed) && last.is(people) && t.is(scope | container);  // "tackle box"
            if (splits(last, t) && !kind && !role && !compound) return false;
            noun_ = t.is(adjective) && leads_to_noun(k_ + 1, 3) ? none : k_;
            return take();
        }
        const bool finished = last.is(part) && t.is(participle) && !t.hyphen && !leads_to_noun(k_ + 1, 2);  // "a skull printed on"
        if (t.is(suffix) && !finished && (!last.is(scope | people) || leads_to_noun(k_ + 1, 2))) return noun_ = none, take();
        if (t.is(modifier) && !last.is(scope | people | hue) && t.hyphen) return noun_ = none, take();
        if (t.is(modifier) && last.is(place | bodypart) && !last.is(scope) && leads_to_noun(k_, 4) && !np_.definite)
            return noun_ = none, take();
        if (t.is(participle) && t.hyphen) return noun_ = none, take();  // "fur-trimmed"
        const bool treated = t.is(modifier | participle) && t.text.ends_with("ed") && !last.is(people | worn | accessory | bag | hair | style | hue) && np_.determined;
        if (treated && leads_to_noun(k_ + 1, 3)) return noun_ = none, take();  // "a paint splattered white shirt"
        return false;
    }

    static bool names_role(const Token& t) {
        if (!t.is(person)) return false;
        for (const std::string_view anybody : {"person", "pedestrian", "individual", "someone", "figure", "subject"})
            if (t.text == anybody) return false;
        return true;
    }

    // From token i on: only modifiers and unknown words up to a noun, within `most` tokens.
    bool leads_to_noun(std::size_t i, int most) const {
        for (; most > 0; --most, ++i) {
            const Token& t = at(i);
            if (t.is(noun)) return true;
            if (!t.is(adjective | degree) && !unknown(t) && !premodifier_at(i)) return false;
        }
        return false;
    }

    // "brightly colored", "rolled up sleeves", "tied back hair": words that modify only what follows.
    bool premodifier(const Token&) const { return premodifier_at(k_); }
    bool premodifier_at(std::size_t i) const {
        const Token &t = at(i), &next = at(i + 1);
        if (t.text.ends_with("ly") && t.word && !t.is(degree | verbs) && next.is(adjective | participle) &&
            (next.text.ends_with("ed") || next.text.ends_with("en") || next.text.ends_with("ing") || next.is(suffix)))
            return true;
        if (t.is(adv) && i > np_.begin && at(i - 1).is(participle) && next.is(noun)) return true;
        if (!t.is(participle)) return false;
        if (i > 0 && at(i - 1).is(noun) && !t.hyphen) return false;
        const std::size_t noun_at = next.is(adv) ? i + 2 : i + 1;
        return at(noun_at).is(noun | modifier) && !at(noun_at).is(determiner | preposition);
    }

    // An unknown word modifies a noun that follows, or is itself the head behind a determiner or a modifier.
    bool unknown_word() {
        const Token& t = at(k_);
        const bool first = np_.mods.size == 0 && !np_.determined;
        const bool verb_like = first && (t.text.ends_with("ing") || t.text.ends_with("ed") ||
                                         (k_ > 0 && at(k_ - 1).is(he | she | they | rel | people)));
        if (leads_to_noun(k_ + 1, 3) && !verb_like) return take();
        if (first || np_.head != none || t.text.ends_with("ly")) return false;
        noun_ = k_;
        return take();
    }

    bool skip_measure() {
        np_.measured = true;
        k_ += 2;
        while (np_.mods.size && at(np_.mods.at[np_.mods.size - 1]).is(num)) --np_.mods.size;  // "two pairs of"
        np_.determined = true;
        for (; at(k_).is(determiner | num); ++k_) np_.definite = np_.definite || at(k_).is(defdet | poss);
        return true;
    }

    // May the conjunction or comma at k_ be crossed inside of this noun phrase? Only between modifiers: "black and
    // white shirt", "long, black hair"; not "is white and pants ...", "is pink, black pants", "a black and a green".
    bool crosses() const {
        if (np_.mods.size == 0 || !at(k_ - 1).is(adjective)) return false;
        const bool comma = at(k_).comma();
        std::size_t j = k_ + 1;
        if (comma && at(j).is(conj)) {
            if (!commas_ && place_ != Place::predicate) return false;  // "untucked, and beige pants"
            ++j;
        }
        while (at(j).is(degree)) ++j;
        if (!at(j).is(adjective) || at(j).is(determiner | preposition)) return false;
        if (at(j).is(noun) && !leads_to_noun(j + 1, 3)) return false;
        std::size_t end = j;
        while (at(end).is(adjective | degree) && !at(end).is(noun)) {
            ++end;
            const bool skips = at(end).is(conj) || (at(end).comma() && place_ != Place::predicate);
            const std::size_t skip = skips ? 1 : 0;
            if (skip && at(end + skip).is(adjective) && !at(end + skip).is(noun)) end += skip;
        }
        const bool noun_follows = at(end).is(noun) || (unknown(at(end)) && leads_to_noun(end, 2));
        if (place_ == Place::predicate) return !noun_follows || np_.indefinite || at(end).is(hue | people);
        return noun_follows || (!comma && place_ == Place::wear);
    }

    bool take_conjunction() {
        np_.joined = true;
        if (!at(k_).comma()) {
            np_.mods.push(k_++);
        } else if (++commas_, at(++k_).is(conj)) {
            np_.mods.push(k_++);
        }
        return true;
    }

    // Behind the head: "cup of coffee", "picture of a cat", "collar of his shirt", "number 23".
    void complement() {
        const Token& head = at(noun_);
        if (head.is(part) && (at(k_).is(num) || unknown(at(k_))) && names_text(head)) np_.content.push(k_++);
        // "a bag of brown color": the colour is the bag's
        const bool tells_colour = at(k_ + 1).is(colour | shade) && !at(k_ + 1).is(scope) && (at(k_ + 2).is(hue) || !at(k_ + 2).is(noun | adjective));
        if (!at(k_).is(of) || at(k_).text != "of" || tells_colour || !head.is(part | container | thing | handled | body)) return;
        std::size_t j = k_ + 1;
        while (at(j).is(det | defdet | num) && !at(j).is(noun)) ++j;
        const bool owned = at(j).is(poss) || at(k_ + 1).is(defdet);
        const bool structural = !owned && head.is(part) && !depicts(head) && at(k_ + 1).is(det) && leads_to_bearer(k_ + 2);
        if (head.is(part) && (owned || structural)) {  // "the strap of a bag"
            np_.bearer = k_ + 1;
            return;
        }
        const std::size_t first = j;
        while (at(j).is(noun | adjective | num) || unknown(at(j))) ++j;
        if (j == first) return;
        np_.content.push(k_);
        for (std::size_t i = first; i < j; ++i) np_.content.push(i);
        k_ = j;
    }

    bool leads_to_bearer(std::size_t i) const {
        while (at(i).is(adjective) && !at(i).is(worn | bag)) ++i;
        return at(i).is(worn | bag | accessory);
    }

    static bool depicts(const Token& head) {
        const std::string_view s = stem_of(head.text);
        for (const std::string_view picture : {"picture", "image", "print", "logo", "graphic", "drawing", "photo", "design", "pattern", "illustration"})
            if (s == picture) return true;
        return false;
    }

    static bool names_text(const Token& head) {
        const std::string_view s = stem_of(head.text);
        return s == "number" || s == "word" || s == "letter" || s == "logo" || s == "name" || s == "numeral";
    }
};

}  // namespace

bool parse_noun_phrase(const std::vector<Token>& tokens, std::size_t i, Place place, NounPhrase& out) {
    return Reader(tokens, i, place, out).run();
}

}  // namespace scvd::sd
