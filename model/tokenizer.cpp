#include "model/tokenizer.h"

#include <utf8proc.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <limits>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "engine/error.h"
#include "model/text_clean.h"

namespace scvd {
namespace {

constexpr int merge_count = 49152 - 256 - 2, first_merge = 512;
constexpr int none = std::numeric_limits<int>::max();  // no merge
constexpr std::size_t cache_words = 1 << 16, cached_length = 64;
constexpr std::string_view start_text = "<|startoftext|>", end_text = "<|endoftext|>", end_of_word = "</w>";

std::string read_gzip(const std::string& path) {
    const gzFile file = gzopen(path.c_str(), "rb");
    ENG_CHECK(file, "tokenizer", "cannot open the vocabulary ", path, " (", std::strerror(errno),
              "); scripts/fetch_bpe.sh fetches it");
    std::string text;
    std::array<char, 1 << 16> buffer;
    int n = 0;
    while ((n = gzread(file, buffer.data(), buffer.size())) > 0)
        text.append(buffer.data(), static_cast<std::size_t>(n));
    const bool whole = n == 0 && gzeof(file) && gzclose(file) == Z_OK;
    ENG_CHECK(whole, "tokenizer", "the vocabulary ", path, " is damaged or cut short; run scripts/fetch_bpe.sh again");
    return text;
}

// The vocabulary file spells bytes as printable characters: a byte that prints in Latin-1 stands for itself, the
// others are numbered from U+0100. This is also the order of the first 256 tokens.
struct ByteAlphabet {
    std::array<int, 256> token_of_byte{};
    std::vector<std::string> spelled;  // token -> its spelling in the file
    std::array<unsigned char, 256> byte_of_token{};

    ByteAlphabet() {
        const auto prints = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
        for (const bool printable : {true, false})
            for (int b = 0, other = 256; b < 256; ++b) {
                if (prints(b) != printable) continue;
                std::string s;
                append_utf8(s, static_cast<char32_t>(printable ? b : other++));
                token_of_byte[static_cast<std::size_t>(b)] = static_cast<int>(spelled.size());
                byte_of_token[spelled.size()] = static_cast<unsigned char>(b);
                spelled.push_back(s);
            }
    }
};

std::uint64_t pair_key(int a, int b) { return static_cast<std::uint64_t>(a) << 32 | static_cast<std::uint32_t>(b); }

enum class Kind { letter, number, blank, other };

Kind kind_of(char32_t c) {
    if (c < 128) {
        if (c >= U'a' && c <= U'z') return Kind::letter;
        if (c >= U'0' && c <= U'9') return Kind::number;
        return c == U' ' ? Kind::blank : Kind::other;
    }
    if (c == 0x0345) return Kind::blank;  // no letter, but its capital is one: no piece of the original takes it
    switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
        case UTF8PROC_CATEGORY_LU:
        case UTF8PROC_CATEGORY_LL:
        case UTF8PROC_CATEGORY_LT:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_LO: return Kind::letter;
        case UTF8PROC_CATEGORY_ND:
        case UTF8PROC_CATEGORY_NL:
        case UTF8PROC_CATEGORY_NO: return Kind::number;
        default: return Kind::other;
    }
}

bool starts_with(std::u32string_view text, std::string_view word) {
    if (text.size() < word.size()) return false;
    for (std::size_t i = 0; i < word.size(); ++i) {
        const char32_t c = text[i] == 0x017F ? U's' : text[i];  // the long s is an s when case is ignored
        if (c != static_cast<unsigned char>(word[i])) return false;
    }
    return true;
}

// Length of the piece at the start of a non-blank text: a marker, an English contraction, a run of letters, one digit,
// or a run of anything else.
std::size_t piece_length(std::u32string_view text) {
    for (const std::string_view fixed : {start_text, end_text})
        if (text[0] == U'<' && starts_with(text, fixed)) return fixed.size();
    if (text[0] == U'\'')
        for (const std::string_view tail : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
            if (starts_with(text, tail)) return tail.size();
    const Kind kind = kind_of(text[0]);
    std::size_t n = 1;
    if (kind == Kind::number) return n;
    while (n < text.size() && kind_of(text[n]) == kind) ++n;
    return n;
}

}  // namespace

struct Tokenizer::Tables {
    ByteAlphabet bytes;
    std::unordered_map<std::uint64_t, int> merges;  // pair of tokens -> merged token; a lower token merges first
    std::vector<std::string> text;                  // token -> its bytes
    mutable std::shared_mutex lock;
    mutable std::unordered_map<std::string, std::vector<int>> cache;

    void read_merges(const std::string& file, const std::string& path);
    int merged(int a, int b) const;
    std::vector<int> merge_bytes(const std::string& word) const;
    void append_word(const std::string& word, std::vector<int>& out) const;
};

void Tokenizer::Tables::read_merges(const std::string& file, const std::string& path) {
    std::unordered_map<std::string, int> token;
    text.resize(vocab_size);
    for (int id = 0; id < first_merge; ++id) {
        const auto letter = static_cast<std::size_t>(id % 256);
        const std::string tail(id < 256 ? "" : end_of_word);
        token[bytes.spelled[letter] + tail] = id;
        text[static_cast<std::size_t>(id)] = std::string(1, static_cast<char>(bytes.byte_of_token[letter])) + tail;
    }
    merges.reserve(merge_count * 2);
    std::size_t at = file.find('\n') + 1;  // the first line is a comment
    for (int i = 0; i < merge_count; ++i) {
        const std::size_t end = file.find('\n', at), blank = file.find(' ', at);
        const bool shaped = end != file.npos && blank < end;
        const std::string left = shaped ? file.substr(at, blank - at) : "";
        const std::string right = shaped ? file.substr(blank + 1, end - blank - 1) : "";
        const auto a = token.find(left), b = token.find(right);
        ENG_CHECK(a != token.end() && b != token.end(), "tokenizer", "line ", i + 2, " of the vocabulary ", path,
                  " should be a merge of two known tokens, got \"", left, " ", right, "\" (", merge_count,
                  " merges are needed)");
        const int id = first_merge + i;
        merges[pair_key(a->second, b->second)] = id;
        text[static_cast<std::size_t>(id)] =
            text[static_cast<std::size_t>(a->second)] + text[static_cast<std::size_t>(b->second)];
        token[left + right] = id;
        at = end + 1;
    }
    text[sot] = start_text;
    text[eot] = end_text;
}

int Tokenizer::Tables::merged(int a, int b) const {
    const auto at = merges.find(pair_key(a, b));
    return at == merges.end() ? none : at->second;
}

// Byte-pair encoding of one word: again and again the pair that was learnt first is merged, wherever it stands.
std::vector<int> Tokenizer::Tables::merge_bytes(const std::string& word) const {
    std::vector<int> part;
    for (const char c : word) part.push_back(bytes.token_of_byte[static_cast<unsigned char>(c)]);
    part.back() += 256;
    std::vector<int> next(part.size());  // next[i]: what part[i] and part[i + 1] merge to
    const auto look_up = [&](std::size_t i) { next[i] = i + 1 < part.size() ? merged(part[i], part[i + 1]) : none; };
    for (std::size_t i = 0; i < part.size(); ++i) look_up(i);
    while (part.size() > 1) {
        const int best = *std::min_element(next.begin(), next.begin() + static_cast<std::ptrdiff_t>(part.size()));
        if (best == none) break;
        std::size_t kept = 0;
        for (std::size_t i = 0; i < part.size(); ++kept) {
            const bool joins = next[i] == best;
            part[kept] = joins ? best : part[i];
            // An old entry is stale where a neighbour changed; those are marked and looked up below.
            next[kept] = joins || (i + 1 < part.size() && next[i + 1] == best) ? -1 : next[i];
            i += joins ? 2 : 1;
        }
        part.resize(kept);
        for (std::size_t i = 0; i < kept; ++i)
            if (next[i] < 0) look_up(i);
    }
    return part;
}

void Tokenizer::Tables::append_word(const std::string& word, std::vector<int>& out) const {
    if (word == start_text || word == end_text) {
        out.push_back(word == start_text ? sot : eot);
        return;
    }
    {
        const std::shared_lock hold(lock);
        if (const auto at = cache.find(word); at != cache.end()) {
            out.insert(out.end(), at->second.begin(), at->second.end());
            return;
        }
    }
    const std::vector<int> ids = merge_bytes(word);
    out.insert(out.end(), ids.begin(), ids.end());
    if (word.size() > cached_length) return;  // rare and large: not worth the memory
    const std::unique_lock hold(lock);
    if (cache.size() < cache_words) cache.emplace(word, ids);
}

Tokenizer::Tokenizer(std::unique_ptr<Tables> tables) : tables_(std::move(tables)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const std::string& path) {
    const std::string file = path.empty() ? SCVD_ASSETS "/bpe_simple_vocab_16e6.txt.gz" : path;
    auto tables = std::make_unique<Tables>();
    tables->read_merges(read_gzip(file), file);
    return Tokenizer(std::move(tables));
}

std::vector<int> Tokenizer::encode(std::string_view utf8) const {
    const std::u32string clean = clean_text(utf8);
    const std::u32string_view text = clean;
    std::vector<int> out;
    std::string word;
    for (std::size_t i = 0; i < text.size();) {
        if (kind_of(text[i]) == Kind::blank) {
            ++i;
            continue;
        }
        const std::size_t n = piece_length(text.substr(i));
        word.clear();
        for (const char32_t c : text.substr(i, n)) append_utf8(word, c);
        tables_->append_word(word, out);
        i += n;
    }
    return out;
}

std::vector<int> Tokenizer::tokens(std::string_view utf8, int context) const {
    ENG_CHECK(context >= 2, "tokenizer", "a context of ", context, " has no room for the start and end tokens");
    std::vector<int> ids = encode(utf8);
    ids.resize(std::min(ids.size(), static_cast<std::size_t>(context - 2)));
    ids.insert(ids.begin(), sot);
    ids.push_back(eot);
    return ids;
}

std::string Tokenizer::decode(const std::vector<int>& ids) const {
    std::string joined, out;
    for (const int id : ids) {
        ENG_CHECK(id >= 0 && id < vocab_size, "tokenizer", "token ", id, " is outside of 0..", vocab_size - 1);
        joined += tables_->text[static_cast<std::size_t>(id)];
    }
    const auto* p = reinterpret_cast<const utf8proc_uint8_t*>(joined.data());
    for (std::size_t i = 0; i < joined.size();) {
        if (joined.compare(i, end_of_word.size(), end_of_word) == 0) {
            out += ' ';
            i += end_of_word.size();
            continue;
        }
        utf8proc_int32_t c = -1;
        const auto n = utf8proc_iterate(p + i, static_cast<utf8proc_ssize_t>(joined.size() - i), &c);
        append_utf8(out, n > 0 ? static_cast<char32_t>(c) : char32_t{0xFFFD});
        i += n > 0 ? static_cast<std::size_t>(n) : 1;
    }
    return out;
}

Tokenizer::Vocabulary Tokenizer::vocabulary() const {
    Vocabulary v;
    for (const std::string& bytes : tables_->text) {
        std::string spelled;  // start, end and end of word are plain letters, which stand for themselves
        for (const char c : bytes) spelled += tables_->bytes.spelled[static_cast<std::size_t>(tables_->bytes.token_of_byte[static_cast<unsigned char>(c)])];
        v.tokens.push_back(spelled);
    }
    v.merges.resize(merge_count);
    for (const auto& [pair, id] : tables_->merges)
        v.merges[static_cast<std::size_t>(id - first_merge)] = {v.tokens[pair >> 32], v.tokens[pair & 0xFFFFFFFF]};
    return v;
}

}  // namespace scvd
