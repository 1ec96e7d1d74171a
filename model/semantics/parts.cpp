// A stripe, a logo, a hood belongs to something worn: to what it stands next to, to what is named ahead ("on the back of
// his coat"), or to the last thing mentioned.
#include "model/semantics/grammar.h"

namespace scvd::sd {

// "the backpack straps": a backpack with straps; what follows is said of the straps.
std::size_t Grammar::mention_bearer_in_front(const NounPhrase& np) {
    fired(Rule::bearer_in_front, np.head);
    NounPhrase whole = np;
    whole.head = np.mods.at[np.mods.size - 1];
    whole.head_classes = at(whole.head).classes;
    whole.content.size = 0;
    --whole.mods.size;
    mention_item(whole);
    add_detail(items_[last_item_], {{at(np.head).text, false, np.head_classes}});
    part_is_subject_ = true;
    return np.end;
}

// The words of the part, and right behind it what tells how it is: "sleeves rolled up", "the hood up", "the collar is
// white", "the top button undone". `end` is moved behind them.
Pieces Grammar::read_detail(const NounPhrase& np, std::size_t& end) const {
    Pieces detail = modifier_pieces(t_, np);
    detail.push_back({at(np.head).text, at(np.head).hyphen && !detail.empty(), np.head_classes});
    const Pieces content = pieces_of(t_, np.content.all());
    detail.insert(detail.end(), content.begin(), content.end());
    const std::size_t after = skip_adverbs(np.end);
    const std::size_t verb = at(after).is(be) ? skip_adverbs(after + 1) : np.end;
    const bool turned = at(verb).is(participle) && (at(verb + 1).is(adv) || at(verb).text == "rolled");
    const bool up_or_down = at(np.end).is(adv) && (at(np.end).text == "up" || at(np.end).text == "down");
    NounPhrase said;
    if (turned || up_or_down) {
        const std::size_t first = turned ? verb : np.end;
        end = first + (turned && at(first + 1).is(adv) && !at(first + 1).is(preposition) ? 2 : 1);
        for (std::size_t k = first; k < end; ++k) detail.push_back({at(k).text, false, 0});
        return detail;
    }
    const bool predicate = at(after).is(be) && !at(verb).is(verbs);
    if (predicate && parse_noun_phrase(t_, verb, Place::predicate, said) && said.head == none && said.mods.size) {
        const Pieces front = modifier_pieces(t_, said);
        detail.insert(detail.begin(), front.begin(), front.end());
        end = said.end;
    } else if (parse_noun_phrase(t_, np.end, Place::predicate, said) && said.head == none && said.mods.size && !said.determined &&
               !at(said.begin).is(participle)) {
        const Pieces behind = modifier_pieces(t_, said);
        detail.insert(detail.end(), behind.begin(), behind.end());
        end = said.end;
    }
    return detail;
}

std::size_t Grammar::mention_part(const NounPhrase& np) {
    const bool direct = (last_ == Last::item || last_ == Last::part) && (last_prep_ == last_end_ || link_ != Link::none) &&
                        prep_ == Prep::with;
    const bool inside = prep_ == Prep::in && np.definite;  // "a pen in his shirt pocket"
    const Token& owner = at(np.mods.size ? np.mods.at[np.mods.size - 1] : t_.size());
    if (owner.is(worn | bag) && !owner.is(modifier) && !direct && !inside && !negated_ && !unseen_) return mention_bearer_in_front(np);
    std::size_t end = np.end;
    Pieces detail = read_detail(np, end);
    const bool of_subject = subject_ == Subject::item && !subjects_.empty() && governor_ == Governor::have && prep_ == Prep::none;
    const std::size_t ahead = np.bearer != none ? np.bearer : of_subject || direct ? none : find_bearer_ahead(np);
    const bool place = unseen_ || prep_ == Prep::loc || (prep_ == Prep::in && (last_ != Last::item || np.definite)) ||
                       (prep_ == Prep::on && ahead == none);  // "hands in his pockets", "on the sleeves"
    if (negated_) {
        if (prep_ == Prep::none || prep_ == Prep::with) {
            const std::size_t denied = new_item(np, {});
            if (last_item_ == none) last_item_ = denied;
        }
        negation_used_ = true;
    } else if (place) {
        fired(Rule::place_dropped, np.head);
    } else if (ahead != none) {
        fired(Rule::part_ahead, np.head);
        pending_details_.push_back(std::move(detail));
        pending_at_ = ahead;
        pending_of_ = np.bearer != none;
    } else if (of_subject) {
        fired(Rule::part_of_subject, np.head);
        for (const std::size_t s : subjects_) add_detail(items_[s], detail);
    } else if (last_item_ != none && (items_[last_item_].head_classes & (worn | bag | accessory | generic | handled))) {
        fired((np.head_classes & part) ? Rule::part_of_item : Rule::thing_as_part, np.head);
        if (!items_[last_item_].absent) add_detail(items_[last_item_], std::move(detail));
    }
    finish(np, Last::part);
    last_end_ = end;
    return end;
}

// "... on the back of his coat", "... down the side of the pants": the token where the coat's phrase starts.
std::size_t Grammar::find_bearer_ahead(const NounPhrase& np) const {
    std::size_t i = np.end;
    for (int hops = 0; hops < 3; ++hops) {
        while (at(i).is(participle | adv) && !at(i).is(preposition)) ++i;
        if (!at(i).is(on | of | in) && at(i).text != "along" && at(i).text != "at" && at(i).text != "from") return none;
        NounPhrase next;
        if (!parse_noun_phrase(t_, i + 1, Place::open, next)) return none;
        if (next.head != none && (next.head_classes & (worn | bag | accessory))) return i + 1;
        if (next.bearer != none) return next.bearer;
        i = next.end;
    }
    return none;
}

}  // namespace scvd::sd
