// What holds for all descriptions: letter case, sentence scope, spans; and what is left when the lexicon has holes.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>

#include "engine/io/json.h"
#include "model/semantics/lexicon.h"
#include "model/semantics/wordnet.h"
#include "tests/sd.h"

namespace scvd {
namespace {

using test::sd;
using test::texts_of;
using test::Texts;

std::vector<nlohmann::json> rows(const std::string& name) {
    std::ifstream file(SCVD_TEST_DATA "/text/" + name);
    std::vector<nlohmann::json> out;
    for (std::string line; std::getline(file, line);) out.push_back(eng::parse_json(line));
    return out;
}

Texts descriptions() {
    Texts out;
    for (const char* name : {"sd_dev.jsonl", "sd_own.jsonl"})
        for (const auto& row : rows(name)) out.push_back(row["text"]);
    return out;
}

// Words of real descriptions in random order: constructions that nobody writes.
Texts shuffled(int count) {
    std::mt19937 random(5);
    Texts words, out;
    for (const std::string& text : descriptions()) {
        std::istringstream in(text);
        for (std::string w; in >> w;) words.push_back(w);
    }
    for (int n = 0; n < count; ++n) {
        std::string text;
        for (auto k = 1 + random() % 40; k > 0; --k) text += words[random() % words.size()] + " ";
        out.push_back(text);
    }
    return out;
}

TEST(Properties, LetterCaseDoesNotMatter) {
    Texts all = descriptions(), random = shuffled(1000);
    all.insert(all.end(), random.begin(), random.end());
    for (const std::string& text : all) {
        std::string upper = text, lower = text;
        for (char& c : upper) c = c >= 'a' && c <= 'z' ? char(c - 32) : c;
        for (char& c : lower) c = c >= 'A' && c <= 'Z' ? char(c + 32) : c;
        const Deconstruction d = sd()(text);
        for (const Deconstruction& other : {sd()(upper), sd()(lower)}) {
            EXPECT_EQ(other.person, d.person) << text;
            EXPECT_EQ(texts_of(other.phrases), texts_of(d.phrases)) << text;
            EXPECT_EQ(texts_of(other.absent), texts_of(d.absent)) << text;
        }
    }
}

// Whatever state a sentence is left in, the next one starts afresh: a negation, another person, a verb, a preposition
// in the air, an open coordination, a part that waits for its bearer.
TEST(Properties, NothingOfASentenceReachesIntoTheNext) {
    const Texts before{"There is no", "Near a wall without", "It is neither", "Walking next to another person with", "She is looking at",
                       "The logo on", "Seen with no", "Carrying", "In front of", "Not visible and", "Stripes on the", "So are"};
    for (const std::string& text : descriptions()) {
        const Deconstruction alone = sd()(text);
        for (const std::string& b : before) {
            const Deconstruction d = sd()(b + ". " + text);
            EXPECT_EQ(texts_of(d.phrases), texts_of(alone.phrases)) << b << ". " << text;
            EXPECT_EQ(texts_of(d.absent), texts_of(alone.absent)) << b << ". " << text;
        }
    }
}

// The noun of a phrase, without its details and contents.
std::string head(const Phrase& p) {
    std::string_view text = p.text;
    for (const std::string_view cut : {" with ", " of ", " tied", " pulled"}) text = text.substr(0, text.find(cut));
    return std::string(stem_of(text));
}

// Two descriptions one after the other, of the same sort of person, the second without any noun of the first: the phrases
// of both. The second one starts with its person: "... who is next to a woman" would be somebody else.
TEST(Properties, TwoDescriptionsGiveThePhrasesOfBoth) {
    const Texts all = descriptions();
    std::vector<Deconstruction> alone;
    for (const std::string& text : all) alone.push_back(sd()(text));
    int compared = 0;
    for (std::size_t i = 0; i < all.size(); ++i)
        for (std::size_t j = 0; j < all.size(); ++j) {
            const Deconstruction &a = alone[i], &b = alone[j];
            bool apart = i != j && a.person == b.person && a.person != "person" && b.person_begin <= 12 && !all[j].starts_with("There");
            for (const auto* list : {&a.phrases, &a.absent})
                for (const Phrase& p : *list) apart = apart && all[j].find(head(p)) == std::string::npos;
            for (const auto* list : {&b.phrases, &b.absent})
                for (const Phrase& p : *list)
                    for (const auto* first : {&a.phrases, &a.absent})
                        for (const Phrase& q : *first) apart = apart && p.category != Category::person && head(p) != head(q);
            if (!apart || (all[i].find("hair") != std::string::npos && all[j].find("hair") != std::string::npos)) continue;
            ++compared;
            Texts want = texts_of(a.phrases), absent = texts_of(a.absent);
            for (const std::string& t : texts_of(b.phrases)) want.push_back(t);
            for (const std::string& t : texts_of(b.absent)) absent.push_back(t);
            const Deconstruction both = sd()(all[i] + ". " + all[j]);
            EXPECT_EQ(texts_of(both.phrases), want) << all[i] << "\n" << all[j];
            EXPECT_EQ(texts_of(both.absent), absent) << all[i] << "\n" << all[j];
        }
    EXPECT_GT(compared, 200);
}

// A span starts and ends with a word, holds no full stop, and has a word of the phrase in it.
TEST(Properties, SpansPointAtTheWordsTheyClaim) {
    const auto letter = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || (c & 0x80); };
    for (const std::string& text : descriptions()) {
        const Deconstruction d = sd()(text);
        for (const auto* list : {&d.phrases, &d.absent})
            for (const Phrase& p : *list) {
                ASSERT_LT(p.begin, p.end);
                ASSERT_LE(p.end, text.size());
                const std::string span = text.substr(p.begin, p.end - p.begin);
                EXPECT_TRUE(letter(span.front()) && letter(span.back())) << span;
                EXPECT_TRUE(p.begin == 0 || !letter(text[p.begin - 1])) << span;
                EXPECT_TRUE(p.end == text.size() || !letter(text[p.end])) << span;
                EXPECT_EQ(span.find_first_of(".!?;"), std::string::npos) << span;
                const Deconstruction again = sd()(span);  // read alone, it gives a word of the phrase: typos included
                std::set<std::string> words;
                std::istringstream in(p.text);
                for (std::string w; in >> w;) words.insert(w);
                std::string lower = span;
                for (char& c : lower) c = c == '-' ? ' ' : char(std::tolower(static_cast<unsigned char>(c)));
                for (const Phrase& q : again.phrases) lower += " " + q.text;
                std::istringstream found(lower);
                bool any = false;
                for (std::string w; found >> w;) any = any || words.contains(w) || p.text.find(w) != std::string::npos;
                EXPECT_TRUE(any) << "\"" << span << "\" for \"" << p.text << "\"";
            }
    }
}

// F1 of phrases, hyphens folded, the order of words counted: stricter than scripts/sd_score.py.
double f1(const Deconstructor& read, const std::vector<nlohmann::json>& gold) {
    int hits = 0, said = 0, wanted = 0;
    const auto folded = [](Texts texts) {
        for (std::string& t : texts) std::replace(t.begin(), t.end(), '-', ' ');
        return std::multiset<std::string>(texts.begin(), texts.end());
    };
    for (const auto& row : gold) {
        const auto a = folded(texts_of(read(row["text"].get<std::string>()).phrases)), b = folded(row["phrases"].get<Texts>());
        Texts both;
        std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
        hits += int(both.size()), said += int(a.size()), wanted += int(b.size());
    }
    return 2.0 * hits / (said + wanted);
}

// The lexicon without a random share of its words.
std::string with_holes(double share, unsigned seed) {
    std::ifstream in(SCVD_SOURCE "/model/semantics/lexicon.txt");
    std::mt19937 random(seed);
    std::string out;
    for (std::string line; std::getline(in, line);) {
        if (line.empty() || line[0] == '#' || line[0] == '[' || line[0] == 'R' || line[0] == ')') { out += line + "\n"; continue; }
        std::istringstream items(line);
        for (std::string item; std::getline(items, item, ',');)
            if (std::uniform_real_distribution<>()(random) >= share) out += item + ",";
        out += "\n";
    }
    return out;
}

TEST(Robustness, AFifthOfTheLexiconMayBeMissing) {
    if (!sd::has_wordnet()) GTEST_SKIP() << "built without WordNet";
    const auto gold = rows("sd_dev.jsonl");
    const double whole = f1(sd(), gold);
    for (unsigned seed = 1; seed <= 5; ++seed) {
        const auto path = std::filesystem::temp_directory_path() / ("scvd_holes_" + std::to_string(::getpid()) + ".txt");
        std::ofstream(path) << with_holes(0.2, seed);
        const double left = f1(Deconstructor(path.string()), gold);
        std::filesystem::remove(path);
        EXPECT_GT(left, whole - 0.12) << "seed " << seed;
        EXPECT_LT(left, whole) << "nothing was taken away";
    }
}

TEST(Robustness, WithoutLexiconTheGrammarStillReadsSomething) {
    const auto gold = rows("sd_dev.jsonl");
    const double bare = f1(Deconstructor("", Words::function), gold);
    EXPECT_LT(bare, f1(sd(), gold));
    if (sd::has_wordnet()) {
        EXPECT_GT(f1(Deconstructor("", Words::wordnet), gold), bare);
    }
}

}  // namespace
}  // namespace scvd
