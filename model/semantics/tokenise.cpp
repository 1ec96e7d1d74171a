// Raw text -> tokens. Every byte keeps its place: `lower` is as long as the raw text, so offsets need no table.
#include <algorithm>
#include <array>
#include <cstring>

#include "model/semantics/token.h"
#include "model/semantics/wordnet.h"

namespace scvd::sd {
namespace {

constexpr int most_words = 8;  // of a multi-word in the lexicon

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (static_cast<unsigned char>(c) >= 128); }

// A typographic mark of three bytes becomes the plain one and two fillers, which belong to no word.
constexpr char filler = '\1';

void replace_marks(std::string& s) {
    for (std::size_t i = 0; i + 2 < s.size(); ++i) {
        if (s[i] != '\xe2' || s[i + 1] != '\x80') continue;
        const auto last = static_cast<unsigned char>(s[i + 2]);
        char plain = 0;
        if (last == 0x98 || last == 0x99) plain = '\'';
        if (last == 0x9c || last == 0x9d) plain = '"';
        if (last >= 0x90 && last <= 0x92) plain = '-';
        if (last >= 0x93 && last <= 0x95) plain = ',';  // a dash sets off, like a comma
        if (last == 0xa6) plain = '.';
        if (plain) s[i] = plain, s[i + 1] = s[i + 2] = filler;
    }
    for (std::size_t i = 0; i + 1 < s.size(); ++i)
        if (s[i] == '\xc2' && s[i + 1] == '\xa0') s[i] = s[i + 1] = ' ';
}

std::string lower_ascii(std::string_view raw) {
    std::string s(raw);
    for (char& c : s)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    if (std::any_of(s.begin(), s.end(), [](char c) { return static_cast<unsigned char>(c) >= 128; })) replace_marks(s);
    return s;
}

class Splitter {
public:
    Splitter(std::string_view text, std::vector<Token>& out) : s_(text), out_(out) {}

    void run() {
        while (at_ < s_.size()) {
            if (is_letter(s_[at_]))
                word();
            else
                mark();
        }
    }

private:
    std::string_view s_;
    std::vector<Token>& out_;
    std::size_t at_ = 0;
    bool hyphen_ = false;

    void push(std::size_t begin, std::size_t end, bool word) {
        out_.push_back({s_.substr(begin, end - begin), 0, 0, static_cast<std::uint32_t>(begin),
                        static_cast<std::uint32_t>(end), hyphen_ && word, word, Rule::none});
        hyphen_ = false;
    }

    // Length of the apostrophe at `i` (a typographic one is three bytes long), 0 if there is none between letters.
    std::size_t apostrophe(std::size_t i) const {
        if (i >= s_.size() || s_[i] != '\'') return 0;
        std::size_t n = 1;
        while (i + n < s_.size() && s_[i + n] == filler) ++n;
        return i + n < s_.size() && is_letter(s_[i + n]) ? n : 0;
    }

    void word() {
        const std::size_t begin = at_;
        while (at_ < s_.size() && is_letter(s_[at_])) ++at_;
        const std::size_t n = apostrophe(at_);
        if (!n) return push(begin, at_, true);
        std::size_t end = at_ + n;
        while (end < s_.size() && is_letter(s_[end])) ++end;
        const std::string_view tail = s_.substr(at_ + n, end - at_ - n);
        if (tail == "t" && s_[at_ - 1] == 'n' && at_ - begin > 2) {  // does|n't: a word of its own
            if (at_ - 1 > begin) push(begin, at_ - 1, true);
            push(at_ - 1, end, true);
            out_.back().text = "n't";
        } else {
            push(begin, at_, true);
            push(at_, end, true);
            out_.back().text = tail == "s" ? "'s" : tail == "re" ? "'re" : tail == "ve" ? "'ve" : tail;
        }
        at_ = end;
    }

    void mark() {
        const char c = s_[at_];
        const bool inside = at_ > 0 && at_ + 1 < s_.size() && is_letter(s_[at_ - 1]) && is_letter(s_[at_ + 1]);
        if (c == '-' && inside) {
            hyphen_ = true;
        } else if (c == '/' && s_.substr(at_ > 0 ? at_ - 1 : 0, 2) == "w/") {
            out_.back().text = "with";  // "w/ a hat"
        } else if (c == '/' || c == '&') {
            push(at_, at_ + 1, true);
            out_.back().text = "and";
        } else if (c == '.' && inside && at_ > 0 && s_[at_ - 1] >= '0' && s_[at_ - 1] <= '9') {
            // a decimal point
        } else if (std::strchr(".!?;\n", c)) {
            push(at_, at_ + 1, false);
            out_.back().text = ".";
        } else if (c == ',' || c == '(' || c == ')' || c == '-') {
            push(at_, at_ + 1, false);
            out_.back().text = ",";
        } else if (c == ':') {
            push(at_, at_ + 1, false);
        }
        ++at_;
    }
};

void set(Token& t, const Entry& e) {
    t.text = e.text;
    t.classes = e.classes;
    t.flags = e.flags;
}

// The longest multi-word of the lexicon that starts at tokens[i]; the number of its tokens, 0 if there is none.
std::size_t match_multiword(std::vector<Token>& tokens, std::size_t i, const Lexicon& lexicon, const Entry*& entry) {
    const auto first = lexicon.longest.find(tokens[i].text);
    if (first == lexicon.longest.end()) return 0;
    std::array<char, 96> joined;
    std::size_t used = 0, found = 0;
    const std::size_t most = std::min<std::size_t>({static_cast<std::size_t>(first->second), most_words, tokens.size() - i});
    for (std::size_t n = 0; n < most && tokens[i + n].word; ++n) {
        const std::string_view text = tokens[i + n].text;
        if (used + text.size() + 1 > joined.size()) break;
        if (n) joined[used++] = ' ';
        used += text.copy(joined.data() + used, text.size());
        if (n == 0) continue;
        if (const Entry* e = lexicon.find({joined.data(), used}); e && e->classes) entry = e, found = n + 1;
    }
    return found;
}

// Looks every token up, multi-words first; the second time, when some are corrected, only multi-words: what else is
// known of a word stays.
enum class Look { up, again };
void join_words(std::vector<Token>& tokens, const Lexicon& lexicon, Look look) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < tokens.size(); ++kept) {
        const Entry* e = nullptr;
        const std::size_t n = tokens[i].word ? match_multiword(tokens, i, lexicon, e) : 0;
        Token t = tokens[i];
        if (n) {
            t.end = tokens[i + n - 1].end;
            t.rule = Rule::multi_word;
            set(t, *e);
        } else if (t.word && look == Look::up) {
            if (const Entry* single = lexicon.find(t.text)) set(t, *single);
        }
        tokens[kept] = t;
        i += n ? n : 1;
    }
    tokens.resize(kept);
}

// "pleaded shorts", "black shows": only where the word it stands for would fit.
bool undo_confusions(std::vector<Token>& tokens, const Lexicon& lexicon) {
    bool changed = false;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        const auto at = tokens[i].word ? lexicon.confusions.find(tokens[i].text) : lexicon.confusions.end();
        if (at == lexicon.confusions.end()) continue;
        const Entry* meant = lexicon.find(at->second);
        if (!meant) continue;
        const bool names = meant->classes & scope;
        const bool fits = names ? i > 0 && tokens[i - 1].is(colour | shade) && !tokens[i - 1].is(noun)
                                : i + 1 < tokens.size() && tokens[i + 1].is(worn | hair);
        if (fits) set(tokens[i], *meant), tokens[i].rule = Rule::real_word, changed = true;
    }
    return changed;
}

bool correctable(const Token& t) {
    return t.word && !t.classes && !t.has(f_known) &&
           std::all_of(t.text.begin(), t.text.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

// "legging" where the lexicon has only "leggings": the same class, and no typo.
bool is_singular_of_known(Token& t, const Lexicon& lexicon) {
    std::array<char, 32> plural;
    if (t.text.size() + 1 > plural.size()) return false;
    const std::size_t n = t.text.copy(plural.data(), plural.size());
    plural[n] = 's';
    const Entry* e = lexicon.find({plural.data(), n + 1});
    if (!e || !e->is_noun()) return false;  // "bears" is a verb, and says nothing of a bear
    t.classes = e->classes & noun;
    t.flags = e->flags & ~std::uint32_t{f_plural};
    t.rule = Rule::singular;
    return true;
}

// "dread locks", "sweat shirt", "swet shirt": one noun of the lexicon written as two words, a typo in the first half
// included. Never where the first is a function word ("over coat") or both already name things ("hair band").
const Entry* whole_of_halves(const Token& a, const Token& b, const Lexicon& lexicon) {
    std::array<char, 48> joined;
    if (!a.word || !b.word || a.text.size() < 3 || b.text.size() < 3 || a.text.size() + b.text.size() > joined.size()) return nullptr;
    if (a.is(preposition | determiner | conj | neg | be | have | pronoun | people | scope)) return nullptr;
    if (a.is(modifier) || (a.classes && b.is(scope))) return nullptr;  // "rain boots" are fine as they are
    std::size_t n = a.text.copy(joined.data(), joined.size());
    n += b.text.copy(joined.data() + n, joined.size() - n);
    const Entry* e = lexicon.find({joined.data(), n});
    const bool misspelt = !e && !a.classes && !a.has(f_known) && b.is(scope) && !wordnet(a.text).known;
    if (misspelt) e = lexicon.correct({joined.data(), n});
    return e && (e->classes & scope) ? e : nullptr;
}

void join_halves(std::vector<Token>& tokens, const Lexicon& lexicon) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < tokens.size(); ++kept) {
        const Entry* e = i + 1 < tokens.size() ? whole_of_halves(tokens[i], tokens[i + 1], lexicon) : nullptr;
        tokens[kept] = tokens[i];
        if (e) {
            set(tokens[kept], *e);
            tokens[kept].end = tokens[i + 1].end;
            tokens[kept].rule = Rule::split_word;
        }
        i += e ? 2 : 1;
    }
    tokens.resize(kept);
}

// Typos are corrected towards the lexicon; what WordNet knows is no typo, and gets its class from there.
bool settle_unknown(Token& t, const Lexicon& lexicon) {
    if (!t.word || t.classes || is_singular_of_known(t, lexicon)) return false;
    const WordNetEntry w = lexicon.use_wordnet ? wordnet(t.text) : WordNetEntry{};
    if (w.classes) {
        t.classes = w.classes;
        t.flags |= w.flags | f_guessed;
        t.rule = Rule::wordnet_class;
    }
    const Entry* e = w.known || !correctable(t) ? nullptr : lexicon.correct(t.text);
    if (!e) return false;
    set(t, *e);
    t.rule = Rule::typo;
    return true;
}

}  // namespace

void tokenise(std::string_view raw, const Lexicon& lexicon, Sentence& s) {
    s.tokens.clear();
    s.lower = lower_ascii(raw);
    s.tokens.reserve(raw.size() / 4 + 4);
    Splitter(s.lower, s.tokens).run();
    join_words(s.tokens, lexicon, Look::up);
    bool corrected = undo_confusions(s.tokens, lexicon);
    join_halves(s.tokens, lexicon);
    for (Token& t : s.tokens) corrected = settle_unknown(t, lexicon) || corrected;
    if (corrected) join_words(s.tokens, lexicon, Look::again);  // a corrected word may complete a multi-word
}

}  // namespace scvd::sd
