#pragma once
// CLIP's byte-pair tokenizer, token for token the one its weights were trained with.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace scvd {

class Tokenizer {
public:
    static constexpr int vocab_size = 49408, sot = 49406, eot = 49407;

    // Reads a gzipped merge list; "" = bpe_simple_vocab_16e6.txt.gz in the assets folder of the build.
    // Throws eng::Error that names the file (and the script that fetches it).
    static Tokenizer load(const std::string& path = "");

    Tokenizer(Tokenizer&&) noexcept;
    Tokenizer& operator=(Tokenizer&&) noexcept;
    ~Tokenizer();

    // Tokens of the cleaned text (model/text_clean.h), without start and end. May be called from several threads.
    // Throws eng::Error that names the byte offset if the text is not UTF-8.
    std::vector<int> encode(std::string_view utf8) const;

    // start, tokens, end: at most `context` of them (context >= 2), the end kept when the text is cut.
    std::vector<int> tokens(std::string_view utf8, int context = 77) const;

    // Text of the tokens; a word is followed by a blank. Bytes that are not UTF-8 become U+FFFD.
    std::string decode(const std::vector<int>& ids) const;

    // The tables themselves, in the printable spelling of the vocabulary file, for programs that take them as files.
    struct Vocabulary {
        std::vector<std::string> tokens;                          // by id
        std::vector<std::pair<std::string, std::string>> merges;  // first learnt first
    };
    Vocabulary vocabulary() const;

private:
    struct Tables;
    explicit Tokenizer(std::unique_ptr<Tables> tables);
    std::unique_ptr<Tables> tables_;
};

}  // namespace scvd
