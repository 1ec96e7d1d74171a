// Correction of misspelt words, only towards words that describe a person, and never of a word that is known.
#include <algorithm>
#include <array>

#include "model/semantics/lexicon.h"

namespace scvd {
namespace {

constexpr std::size_t longest_word = 24;

// Edits (insert, delete, replace, swap of neighbours) between two words, or `limit + 1` if there are more.
int distance(std::string_view a, std::string_view b, int limit) {
    std::array<std::array<int, longest_word + 1>, 3> row{};
    for (std::size_t j = 0; j <= b.size(); ++j) row[0][j] = static_cast<int>(j);
    for (std::size_t i = 1; i <= a.size(); ++i) {
        auto& now = row[i % 3];
        const auto& last = row[(i + 2) % 3];
        const auto& before = row[(i + 1) % 3];
        now[0] = static_cast<int>(i);
        int best = now[0];
        for (std::size_t j = 1; j <= b.size(); ++j) {
            now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) now[j] = std::min(now[j], before[j - 2] + 1);
            best = std::min(best, now[j]);
        }
        if (best > limit) return limit + 1;
    }
    return row[a.size() % 3][b.size()];
}

std::string shape(char first, std::size_t length) { return first + std::to_string(length); }

// The word without what spelling gets wrong most: vowels behind the first letter, double letters.
std::string skeleton(std::string_view w) {
    std::string s;
    for (const char c : w)
        if (s.empty() || (std::string_view("aeiouy").find(c) == std::string_view::npos && c != s.back())) s += c;
    return s;
}

// How likely the edits are: 0 a double letter, 1 a vowel, 2 anything else.
int unlikely(std::string_view word, std::string_view meant) {
    const auto single = [](std::string_view w) {
        std::string s;
        for (const char c : w)
            if (s.empty() || c != s.back()) s += c;
        return s;
    };
    return single(word) == single(meant) ? 0 : skeleton(word) == skeleton(meant) ? 1 : 2;
}

}  // namespace

void Lexicon::index_for_typos() {
    using namespace sd;
    constexpr Classes useful = scope | people | part | colour | shade | mod | wear | carry | have | with | padj | bodypart | suffix;
    for (const auto& [key, e] : entries)
        if (e.words == 1 && key.size() >= 4 && key.size() <= longest_word && (e.classes & useful) && key == e.text)
            by_shape_[shape(key[0], key.size())].push_back(&e);
    for (auto& [key, list] : by_shape_)  // an order that does not depend on the hash table
        std::sort(list.begin(), list.end(), [](const Entry* a, const Entry* b) { return a->text < b->text; });
}

// One edit up to six letters, two from seven; the first letter is taken to be right, which keeps corrections safe
// and quick. Among equally near words the likelier slip wins, then a common word; two different ones are a tie: no
// correction.
const Entry* Lexicon::correct(std::string_view word) const {
    if (word.size() < 4 || word.size() > longest_word - 2) return nullptr;
    const int limit = word.size() >= 7 ? 2 : 1;
    const Entry* found = nullptr;
    int best = limit + 1, best_rank = 0;
    bool tie = false;
    for (int d = -limit; d <= limit; ++d) {
        const auto at = by_shape_.find(shape(word[0], word.size() + static_cast<std::size_t>(d)));
        if (at == by_shape_.end()) continue;
        for (const Entry* e : at->second) {
            const int n = distance(word, e->text, std::min(limit, best));
            if (n > limit || n > best) continue;
            const int rank = 2 * unlikely(word, e->text) + (e->flags & sd::f_common ? 0 : 1);
            if (n < best || rank < best_rank) {
                found = e, best = n, best_rank = rank, tie = false;
            } else if (rank == best_rank && stem_of(found->text) != stem_of(e->text)) {
                tie = true;
            }
        }
    }
    return tie ? nullptr : found;
}

}  // namespace scvd
