// Build-time tool: WordNet's dictionary files -> a sorted table of words with what the deconstructor needs to know of
// them, as a C++ include file.
//
//   wordnet_tables DICTIONARY_FOLDER OUTPUT      (Debian's wordnet-base: /usr/share/wordnet)
//
// A noun gets the class of the nearest of the anchors below on its way up to "entity"; a reading that the text corpus
// behind WordNet hardly ever saw is left out.
#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "model/semantics/wordnet.h"

namespace {

using scvd::sd::WordNetNoun;
using N = WordNetNoun;

struct Anchor { const char* sense; N noun; };  // "word.n": the n-th sense of a noun
const Anchor noun_anchors[] = {
    {"clothing.1", N::generic}, {"garment.1", N::upper}, {"overgarment.1", N::upper}, {"trouser.1", N::lower}, {"pants.1", N::lower},
    {"underpants.1", N::lower}, {"skirt.2", N::lower}, {"legging.1", N::lower}, {"tights.1", N::lower}, {"swimsuit.1", N::full},
    {"uniform.1", N::full}, {"dress.1", N::full}, {"suit.1", N::full}, {"gown.1", N::full}, {"robe.1", N::full}, {"nightwear.1", N::full},
    {"footwear.1", N::foot}, {"footwear.2", N::foot}, {"hosiery.1", N::foot}, {"headdress.1", N::headwear}, {"accessory.1", N::accessory},
    {"neckwear.1", N::accessory}, {"scarf.1", N::accessory}, {"handwear.1", N::accessory}, {"neckpiece.1", N::accessory},
    {"jewelry.1", N::accessory}, {"spectacles.1", N::accessory}, {"watch.1", N::accessory}, {"mask.1", N::accessory}, {"mask.4", N::accessory},
    {"earphone.1", N::accessory}, {"cosmetic.1", N::accessory}, {"belt.2", N::accessory}, {"bag.1", N::bag}, {"bag.4", N::bag},
    {"baggage.1", N::bag}, {"purse.3", N::bag}, {"wallet.1", N::bag}, {"briefcase.1", N::bag}, {"hair.1", N::hair}, {"hairdo.1", N::style},
    {"facial_hair.1", N::facial}, {"tattoo.2", N::body}, {"body_part.1", N::bodypart}, {"decoration.1", N::part}, {"symbol.1", N::part},
    {"cloth_covering.1", N::part}, {"fastener.2", N::part}, {"pocket.1", N::part}, {"collar.1", N::part}, {"hem.1", N::part}, {"band.5", N::part},
    {"plane_figure.1", N::part}, {"representation.2", N::part}, {"opening.10", N::part}, {"color.1", N::colour}, {"fabric.1", N::material},
    {"leather.1", N::material}, {"fur.1", N::material}, {"animal_skin.1", N::material}, {"fiber.1", N::material}, {"wood.1", N::material},
    {"metal.1", N::material}, {"plastic.1", N::material}, {"container.1", N::container}, {"instrumentality.1", N::carried}, {"artifact.1", N::carried},
    {"food.1", N::held}, {"food.2", N::held}, {"beverage.1", N::held}, {"plant.2", N::carried}, {"flower.1", N::held},
    {"publication.1", N::screen}, {"document.1", N::held}, {"newspaper.3", N::screen}, {"book.2", N::screen}, {"telephone.1", N::screen}, {"computer.1", N::screen},
    {"bicycle.1", N::ridden}, {"motorcycle.1", N::ridden}, {"scooter.1", N::ridden}, {"handcart.1", N::pushed}, {"baby_buggy.1", N::pushed},
    {"vehicle.1", N::other}, {"furniture.1", N::other}, {"structure.1", N::other}, {"way.6", N::other}, {"facility.1", N::other},
    {"surface.1", N::other}, {"creation.2", N::other}, {"system.1", N::other}, {"sheet.1", N::other}, {"line.18", N::other}, {"animal.1", N::animal},
    {"person.1", N::person}, {"male.2", N::man}, {"female.2", N::woman}, {"male_child.1", N::boy}, {"female_child.1", N::girl},
    {"girl.1", N::girl}, {"juvenile.1", N::child}, {"child.1", N::child}, {"child.2", N::child}, {"entity.1", N::other},
};
struct VerbAnchor { const char* sense; std::uint16_t tag; };
const VerbAnchor verb_anchors[] = {{"wear.1", scvd::sd::wordnet_wear}, {"wear.2", scvd::sd::wordnet_wear}, {"dress.1", scvd::sd::wordnet_wear},
                                   {"carry.1", scvd::sd::wordnet_carry}, {"carry.2", scvd::sd::wordnet_carry}, {"hold.1", scvd::sd::wordnet_carry}, {"hold.2", scvd::sd::wordnet_carry},
                                   {"pull.1", scvd::sd::wordnet_carry}, {"push.1", scvd::sd::wordnet_carry}, {"ride.1", scvd::sd::wordnet_carry},
                                   {"grasp.1", scvd::sd::wordnet_carry}, {"drink.1", scvd::sd::wordnet_carry}, {"eat.1", scvd::sd::wordnet_carry}};

struct Part {  // of speech
    std::unordered_map<std::string, std::vector<std::string>> senses;  // word -> offsets, most frequent first
    std::unordered_map<std::string, std::vector<std::string>> up;      // offset -> hypernyms; of an adjective the attribute it is a value of
    std::unordered_map<std::string, std::vector<std::string>> similar;  // offset -> adjectives of like meaning
    std::unordered_map<std::string, bool> proper;                      // word -> all senses are names
    std::unordered_map<std::string, int> seen;                         // word -> occurrences in the corpus
};

std::ifstream open(const std::string& file) {
    std::ifstream in(file);
    if (!in) throw std::runtime_error("cannot open " + file);
    return in;
}

std::vector<std::string> split(const std::string& line) {
    std::istringstream in(line);
    std::vector<std::string> words;
    for (std::string w; in >> w;) words.push_back(w);
    return words;
}

void read_data(const std::string& file, Part& p) {
    auto in = open(file);
    for (std::string line; std::getline(in, line);) {
        if (line.empty() || line[0] == ' ') continue;
        const auto f = split(line.substr(0, line.find('|')));
        const std::size_t words = std::stoul(f.at(3), nullptr, 16), pointers = 4 + 2 * words;
        for (std::size_t i = 0; i < words; ++i) {
            std::string w = f.at(4 + 2 * i);
            const bool name = w[0] >= 'A' && w[0] <= 'Z';
            std::transform(w.begin(), w.end(), w.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
            const auto [it, fresh] = p.proper.emplace(w, name);
            if (!fresh) it->second = it->second && name;
        }
        auto& up = p.up[f[0]];
        for (std::size_t i = 0, n = std::stoul(f.at(pointers)); i < n; ++i) {
            const auto& kind = f.at(pointers + 1 + 4 * i);
            if (kind == "@" || kind == "@i" || kind == "=") up.push_back(f.at(pointers + 2 + 4 * i));
            if (kind == "&") p.similar[f[0]].push_back(f.at(pointers + 2 + 4 * i));
        }
    }
}

void read_index(const std::string& file, Part& p) {
    auto in = open(file);
    for (std::string line; std::getline(in, line);) {
        if (line.empty() || line[0] == ' ') continue;
        const auto f = split(line);
        p.senses[f[0]].assign(f.end() - std::stol(f.at(2)), f.end());
    }
}

Part read_part(const std::string& folder, const std::string& name) {
    Part p;
    read_data(folder + "/data." + name, p);
    read_index(folder + "/index." + name, p);
    return p;
}

// "shirt%1:06:00:: 1 12": sense key, rank, occurrences; the digit behind % is the part of speech.
void count(const std::string& folder, const std::array<Part*, 4>& parts) {
    auto in = open(folder + "/cntlist.rev");
    for (std::string key, rank, n; in >> key >> rank >> n;) {
        const auto at = key.find('%');
        const int pos = key[at + 1] - '0';
        parts[pos == 5 ? 2 : pos - 1]->seen[key.substr(0, at)] += std::stoi(n);
    }
}

// Breadth first: the nearest anchor decides.
template <class T>
T nearest(const Part& p, const std::string& offset, const std::unordered_map<std::string, T>& anchors, T none) {
    std::vector<std::string> wave{offset};
    for (int depth = 0; depth < 20 && !wave.empty(); ++depth) {
        std::vector<std::string> next;
        for (const auto& o : wave) {
            if (const auto a = anchors.find(o); a != anchors.end()) return a->second;
            if (const auto u = p.up.find(o); u != p.up.end()) next.insert(next.end(), u->second.begin(), u->second.end());
        }
        wave = std::move(next);
    }
    return none;
}

template <class T, class List>
std::unordered_map<std::string, T> resolve(const Part& p, const List& list) {
    std::unordered_map<std::string, T> at;
    for (const auto& a : list) {
        const std::string sense = a.sense, word = sense.substr(0, sense.find('.'));
        const auto s = p.senses.find(word);
        const std::size_t n = std::stoul(sense.substr(word.size() + 1));
        if (s == p.senses.end() || n > s->second.size()) throw std::runtime_error("no sense " + sense);
        if constexpr (std::is_same_v<T, N>) at[s->second[n - 1]] = a.noun;
        else at[s->second[n - 1]] = a.tag;
    }
    return at;
}

bool plain(const std::string& w) {
    return w.size() >= 3 && w.size() <= 22 && std::all_of(w.begin(), w.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

// What is worn is what descriptions speak of: it wins from the second or third sense too ("glove", "belt"), unless
// the first is another visible thing ("phone").
N noun_of(const Part& nouns, const std::string& word, const std::unordered_map<std::string, N>& anchors, bool& material) {
    const auto& senses = nouns.senses.at(word);
    const N first = nearest(nouns, senses[0], anchors, N::other);
    const bool faint = first == N::other || first == N::person || first == N::carried || first == N::material || first == N::held;
    N worn = N::no;
    for (std::size_t i = 0; i < std::min<std::size_t>(senses.size(), 3); ++i) {
        const N n = nearest(nouns, senses[i], anchors, N::other);
        material = material || n == N::material;
        if (faint && worn == N::no && n >= N::upper && n <= N::bag) worn = n;
    }
    return worn == N::no ? first : worn;
}

struct WordNet {
    Part nouns, verbs, adjectives, adverbs;
    std::unordered_map<std::string, N> noun_at;               // anchors by offset
    std::unordered_map<std::string, std::uint16_t> verb_at;

    std::array<Part*, 4> parts() { return {&nouns, &verbs, &adjectives, &adverbs}; }
};

WordNet read_all(const std::string& folder) {
    WordNet w{read_part(folder, "noun"), read_part(folder, "verb"), read_part(folder, "adj"), read_part(folder, "adv"), {}, {}};
    count(folder, w.parts());
    w.noun_at = resolve<N>(w.nouns, noun_anchors);
    w.verb_at = resolve<std::uint16_t>(w.verbs, verb_anchors);
    return w;
}

// "young", "tall", "slim": values of an attribute that persons have, or like one.
bool describes_persons(const WordNet& w, const std::string& word) {
    const auto senses = w.adjectives.senses.find(word);
    if (senses == w.adjectives.senses.end()) return false;
    std::vector<std::string> near{senses->second[0]};
    if (const auto s = w.adjectives.similar.find(near[0]); s != w.adjectives.similar.end()) near.insert(near.end(), s->second.begin(), s->second.end());
    for (const auto& o : near)
        if (const auto up = w.adjectives.up.find(o); up != w.adjectives.up.end())
            for (const char* attribute : {"age.1", "stature.2", "height.2", "body_weight.1"}) {
                const std::string a = attribute;
                const auto& offsets = w.nouns.senses.at(a.substr(0, a.size() - 2));
                const std::size_t n = std::size_t(a.back() - '1');
                if (n < offsets.size() && std::find(up->second.begin(), up->second.end(), offsets[n]) != up->second.end()) return true;
            }
    return false;
}

// What the table says of one word: a part of speech with less than a fifth of its occurrences is left out.
std::uint16_t tag_of(WordNet& w, const std::string& word) {
    using namespace scvd::sd;
    std::uint16_t tag = 0;
    int all = 0;
    for (const Part* p : w.parts())
        if (const auto s = p->seen.find(word); s != p->seen.end()) all += s->second;
    const auto reading = [&](const Part& p) {
        if (!p.senses.contains(word)) return false;
        const auto s = p.seen.find(word);
        return all == 0 || (s != p.seen.end() && 5 * s->second >= all);
    };
    bool colour = false, material = false;
    if (w.nouns.senses.contains(word) && !w.nouns.proper[word]) {
        N n = noun_of(w.nouns, word, w.noun_at, material);
        for (const auto& s : w.nouns.senses[word]) colour = colour || nearest(w.nouns, s, w.noun_at, N::other) == N::colour;
        if (colour && n == N::other) n = N::colour;
        if (reading(w.nouns) || (n >= N::upper && n <= N::bag)) tag |= static_cast<std::uint16_t>(n);
    }
    if (reading(w.verbs)) tag |= nearest<std::uint16_t>(w.verbs, w.verbs.senses[word][0], w.verb_at, wordnet_verb);
    if (material) tag |= wordnet_adjective;
    if (reading(w.adjectives) || (w.adjectives.senses.contains(word) && colour)) tag |= colour ? wordnet_colour : wordnet_adjective;
    if (reading(w.adverbs)) tag |= wordnet_adverb;
    if (describes_persons(w, word)) tag |= wordnet_person;
    return tag;
}

using Table = std::map<std::string, std::uint16_t>;

// "scarves scarf", "worn wear": irregular forms.
void add_irregular(const std::string& folder, const std::string& part, Table& table) {
    using namespace scvd::sd;
    auto in = open(folder + "/" + part + ".exc");
    for (std::string line; std::getline(in, line);) {
        const auto f = split(line);
        if (f.size() < 2 || !plain(f[0]) || (part != "verb" && table.contains(f[0]))) continue;
        const auto base = table.find(f[1]);
        if (base == table.end()) continue;
        std::uint16_t tag = base->second;
        if (part == "noun") tag = std::uint16_t((tag & wordnet_noun) | wordnet_plural);
        if (part == "verb") tag = std::uint16_t((tag & (wordnet_verb | wordnet_wear | wordnet_carry)) | (f[0].ends_with("ing") ? 0 : wordnet_participle));
        table[f[0]] |= tag;
    }
}

void write(const Table& table, const std::string& file) {
    std::ofstream out(file);
    out << "// Made from WordNet 3.0 by scripts/wordnet_tables.cpp; see THIRD_PARTY_NOTICES.md.\nconstexpr char text[] =\n\"";
    std::ostringstream starts, tags;
    std::size_t offset = 0, n = 0;
    for (const auto& [word, tag] : table) {
        out << (n && n % 12 == 0 ? "\"\n\"" : "") << word;
        starts << offset << (++n % 20 ? "," : ",\n");
        tags << tag << (n % 30 ? "," : ",\n");
        offset += word.size();
    }
    out << "\";\nconstexpr std::uint32_t starts[] = {" << starts.str() << offset << "};\nconstexpr std::uint16_t tags[] = {" << tags.str() << "0};\n";
    out.close();
    if (!out) throw std::runtime_error("cannot write " + file);
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 3) throw std::runtime_error("usage: wordnet_tables DICTIONARY_FOLDER OUTPUT");
    WordNet w = read_all(argv[1]);
    Table table;
    for (const Part* p : w.parts())
        for (const auto& entry : p->senses)  // names too: they are no typos
            if (plain(entry.first)) table.emplace(entry.first, 0);
    for (auto& entry : table) entry.second = tag_of(w, entry.first);
    for (const char* part : {"noun", "verb", "adj"}) add_irregular(argv[1], part, table);
    write(table, argv[2]);
    return 0;
} catch (const std::exception& e) {
    std::cerr << "wordnet_tables: " << e.what() << "\n";
    return 1;
}
