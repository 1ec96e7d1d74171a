#pragma once
// One witness at work: the words for the person, and the sentences built of items. Every item spoken leaves a mention.
#include "train/synth/caption.h"

namespace scvd::synth {

using Items = std::vector<Item>;

// Which verb an item goes with: she wears it, she carries it, or she simply has it (hair, the straps of a backpack).
enum Verb { wears, carries, has_got };
Verb verb_of(const Item&);
// Something one can be dressed in is among them, not glasses or a hat alone.
bool dresses(const Items&);

class Speaker {
public:
    Speaker(const Figure&, const View&, eng::Rng&);
    Caption narrative(Items items);
    Caption one_sentence(Items items);
    Caption fragments(const Items& items);
    // Adds that something is not there: "she is not wearing a hat".
    Caption deny(Caption said, const char* missing);

private:
    std::string any(std::initializer_list<const char*> c) { return c.begin()[rng_.below(std::uint32_t(c.size()))]; }
    // Atoms (speaker.cpp)
    void say(const std::string& s) { out_.text += s; }
    void start();
    void stop();
    void note(const Item&, std::size_t begin);
    void say_article(const std::string& phrase);
    void say_person(bool definite);
    void say_item(const Item&, bool article, bool place);
    void say_place(const Item&);
    void say_list(const Items&, bool place);
    void say_is(const Item&);
    void say_verb(Verb, const Items&);
    void remark();
    // Sentences (grammar.cpp)
    void opening(Items&);
    void fronted_opening(Items&);
    void sentence(Items&);
    bool predicates(Items&);
    bool exists(const Items&);
    Items take(Items&, Verb, std::size_t most);

    const Figure& figure_;
    const View& view_;
    eng::Rng& rng_;
    Caption out_;
    std::size_t sentence_ = 0;
    bool worn_ = false;  // something worn was said, so that "also wearing" makes sense
    std::string person_, subject_, object_, possessive_, is_, has_, s_;
};

}  // namespace scvd::synth
