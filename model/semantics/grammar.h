#pragma once
// The clause grammar: reads the tokens of a description once, left to right, and keeps what is said of the person.
#include "model/semantics/items.h"

namespace scvd::sd {

enum class Governor { none, wear, carry, have, there, verb };  // the verb of the clause so far
enum class Prep { none, with, in, of, on, loc };               // the preposition in front of the next noun phrase
enum class Last { nothing, item, person, part, other };        // what the last noun phrase was
enum class Subject { none, person, item };
enum class Link { none, comma, conj };

// The described person, as far as known.
struct Described {
    Classes gender = 0;         // man, woman, boy or girl: of the first noun that says so
    Classes kind = 0;           // child, teen or person: of the first noun
    Classes pronoun = 0;        // he or she: the first
    std::size_t noun_begin = 0, noun_end = 0, pronoun_begin = 0, pronoun_end = 0;
    bool known = false;         // a person noun was read
    std::size_t item = none;    // the phrase of the person, once something modifies it
    std::string_view surface;   // the noun as the text has it
};

class Grammar {
public:
    explicit Grammar(const std::vector<Token>& tokens, Trace* trace = nullptr) : t_(tokens), trace_(trace) { items_.reserve(12); }
    void run();
    const std::vector<Item>& items() const { return items_; }
    const Described& described() const { return who_; }

private:
    const std::vector<Token>& t_;
    Trace* trace_;
    std::vector<Item> items_;
    Described who_;

    // State of the clause.
    Governor governor_ = Governor::none;
    Prep prep_ = Prep::none;
    Subject subject_ = Subject::none;
    Link link_ = Link::none;
    bool negated_ = false, negation_used_ = false;
    bool unseen_ = false;       // "cannot see ...": what follows counts neither way
    bool carries_ = false;      // a verb of carrying was read
    bool fresh_subject_ = false;  // a pronoun named the subject just now
    bool closed_ = false;       // another person is being described; until the sentence ends
    std::vector<std::size_t> subjects_;  // items, where the subject is items
    std::vector<std::size_t> group_;     // items coordinated so far: "shirt and shorts"
    Governor group_governor_ = Governor::none;
    Prep group_prep_ = Prep::none;

    // What was read last.
    Last last_ = Last::nothing;
    std::size_t last_item_ = none, last_end_ = 0, last_prep_ = none;
    bool last_definite_ = false, last_bare_ = false;
    Pieces last_predicate_;
    bool copies_predicate_ = false;  // "... and so are his shoes"
    Pieces shared_head_mods_;        // "a black and a green folder": the black one waits for its head
    bool waits_for_head_ = false, waiting_absent_ = false;
    std::size_t waiting_begin_ = 0;
    std::vector<Pieces> pending_details_;
    bool pending_of_ = false, part_is_subject_ = false;  // "the collar of his coat is ...": it is the collar that is
    std::size_t pending_at_ = none;  // token where the bearer's noun phrase starts

    void fired(Rule r, std::size_t i) { if (trace_) trace_->emplace_back(i, r); }
    const Token& at(std::size_t i) const;
    std::size_t skip_adverbs(std::size_t i) const;
    Place place() const;

    // grammar.cpp: the walk and function words
    std::size_t step(std::size_t i);
    void end_sentence();
    void new_clause();
    std::size_t comma(std::size_t i);
    std::size_t conjunction(std::size_t i);
    std::size_t negation(std::size_t i);
    std::size_t relative(std::size_t i);
    std::size_t personal_pronoun(std::size_t i);
    std::size_t preposition_at(std::size_t i);
    std::size_t verb_at(std::size_t i);
    std::size_t skip_quotation(std::size_t i) const;
    void set_governor(Governor g);
    void note_pronouns(std::size_t begin, std::size_t end);

    // predicates.cpp: subjects, "is ...", hair participles
    void resolve_subject(std::size_t i);
    std::size_t part_predicate(std::size_t i);
    std::size_t be_at(std::size_t i);
    bool agrees(std::size_t verb) const;
    bool denies_sight(std::size_t i) const;
    std::size_t made_of(std::size_t i);
    std::size_t predicate(const NounPhrase& np);
    void apply_predicate(const NounPhrase& np);
    std::size_t participle_at(std::size_t i);
    std::size_t hair_participle(std::size_t i, Item& hair);

    // mentions.cpp: what a noun phrase does
    std::size_t mention(const NounPhrase& np);
    std::size_t mention_item(const NounPhrase& np);
    std::size_t mention_modifiers(const NounPhrase& np);
    std::size_t mention_body(const NounPhrase& np);
    std::size_t known_item(const NounPhrase& np, const Pieces& mods) const;
    std::size_t new_item(const NounPhrase& np, Pieces front);
    void share_colour(Item& item, const NounPhrase& np);
    void settle_waiting_head(const NounPhrase& np);
    void finish(const NounPhrase& np, Last kind);

    // scope.cpp: does it name something seen on the person?
    bool in_scope(const NounPhrase& np) const;
    bool handled_in_scope(const NounPhrase& np) const;
    bool on_the_body(const NounPhrase& np) const;
    bool held_part(const NounPhrase& np) const;
    bool printed_on(const NounPhrase& np) const;
    bool is_part_here(const NounPhrase& np) const;

    // parts.cpp
    std::size_t mention_part(const NounPhrase& np);
    std::size_t mention_bearer_in_front(const NounPhrase& np);
    Pieces read_detail(const NounPhrase& np, std::size_t& end) const;
    std::size_t find_bearer_ahead(const NounPhrase& np) const;

    // persons.cpp
    std::size_t mention_person(const NounPhrase& np);
    std::size_t mention_carried_person(NounPhrase np);
    bool carries_child(const NounPhrase& np) const;
    bool is_someone_else(const NounPhrase& np, Classes gender) const;
    void describe_person(const NounPhrase& np);
    Classes gender_of(const NounPhrase& np) const;
};

}  // namespace scvd::sd
