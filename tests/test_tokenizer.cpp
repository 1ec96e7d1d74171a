// The tokenizer against the original Python one (tests/data/text/tokens.jsonl, written by scripts/golden_tokens.py).
#include "model/tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "engine/error.h"
#include "engine/io/json.h"
#include "model/text_clean.h"
#include "tests/errors.h"

namespace scvd {
namespace {

using eng::test::error_of;

const std::string data = SCVD_TEST_DATA "/text/";

const Tokenizer& tokenizer() {
    static const Tokenizer t = Tokenizer::load();
    return t;
}

std::vector<nlohmann::json> golden() {
    std::ifstream file(data + "tokens.jsonl");
    std::vector<nlohmann::json> rows;
    for (std::string line; std::getline(file, line);) rows.push_back(eng::parse_json(line));
    return rows;
}

TEST(Tokenizer, AgreesWithTheOriginalOnEveryGoldenText) {
    const auto rows = golden();
    ASSERT_GE(rows.size(), 200u);
    for (const auto& row : rows) {
        const auto text = row["text"].get<std::string>();
        const auto want = row["tokens"].get<std::vector<int>>();
        EXPECT_EQ(tokenizer().encode(text), want) << text;
        EXPECT_EQ(tokenizer().decode(want), row["decoded"].get<std::string>()) << text;
    }
}

TEST(Tokenizer, SecondTimeFromTheCacheIsTheSame) {
    for (const auto& row : golden()) {
        const auto text = row["text"].get<std::string>();
        EXPECT_EQ(tokenizer().encode(text), tokenizer().encode(text)) << text;
    }
}

TEST(Tokenizer, ManyThreadsShareOneTokenizer) {
    const Tokenizer shared = Tokenizer::load();  // its own, so that the cache is cold
    const auto rows = golden();
    std::vector<int> wrong(4, 0);
    {
        std::vector<std::jthread> threads;
        for (std::size_t t = 0; t < wrong.size(); ++t)
            threads.emplace_back([&, t] {
                for (const auto& row : rows)
                    wrong[t] += shared.encode(row["text"].get<std::string>()) != row["tokens"].get<std::vector<int>>();
            });
    }
    EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(Tokenizer, ContextKeepsTheEndToken) {
    const std::vector<int> cat = tokenizer().tokens("a cat");
    EXPECT_EQ(cat, (std::vector<int>{Tokenizer::sot, 320, 2368, Tokenizer::eot}));
    std::string text;
    for (int i = 0; i < 200; ++i) text += "cat ";
    for (const int context : {2, 3, 77}) {
        const std::vector<int> ids = tokenizer().tokens(text, context);
        EXPECT_EQ(static_cast<int>(ids.size()), context);
        EXPECT_EQ(ids.front(), Tokenizer::sot);
        EXPECT_EQ(ids.back(), Tokenizer::eot);
    }
    EXPECT_EQ(tokenizer().tokens(""), (std::vector<int>{Tokenizer::sot, Tokenizer::eot}));
    EXPECT_NE(error_of([] { tokenizer().tokens("a", 1); }).find("context of 1"), std::string::npos);
}

TEST(Tokenizer, TextThatIsNotUtf8NamesTheByte) {
    for (const auto& [text, offset] : std::vector<std::pair<std::string, std::string>>{
             {"caf\xe9 noir", "offset 3 of 9"}, {"\xff", "offset 0"}, {"ok \xe2\x82", "offset 3"},
             {"\xc0\xaf", "offset 0"}, {"x\xed\xa0\x80", "offset 1"}, {"\xf4\x90\x80\x80", "offset 0"}}) {
        const std::string message = error_of([&] { tokenizer().encode(text); });
        EXPECT_NE(message.find("not UTF-8"), std::string::npos) << message;
        EXPECT_NE(message.find(offset), std::string::npos) << message;
    }
}

TEST(Tokenizer, LongWordsAreNotSlow) {  // would take minutes if a merge cost a pass over the vocabulary
    EXPECT_GT(tokenizer().encode(std::string(20000, 'z')).size(), 100u);
    EXPECT_EQ(tokenizer().encode(std::string(5000, '7')).size(), 5000u);
}

TEST(Tokenizer, VocabularyFileErrorsNameTheFile) {
    const std::string absent = error_of([] { Tokenizer::load("/nowhere/bpe.gz"); });
    EXPECT_NE(absent.find("/nowhere/bpe.gz"), std::string::npos) << absent;
    EXPECT_NE(absent.find("fetch_bpe.sh"), std::string::npos) << absent;

    const auto path = std::filesystem::temp_directory_path() / ("scvd_bpe_" + std::to_string(::getpid()));
    std::ofstream(path) << "#version\nt h\nxyzzy q\n";
    const std::string wrong = error_of([&] { Tokenizer::load(path.string()); });
    EXPECT_NE(wrong.find("line 3"), std::string::npos) << wrong;
    EXPECT_NE(wrong.find("xyzzy"), std::string::npos) << wrong;

    std::ifstream whole(SCVD_SOURCE "/assets/bpe_simple_vocab_16e6.txt.gz", std::ios::binary);
    std::string bytes(400000, '\0');
    whole.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    std::ofstream(path, std::ios::binary) << bytes;
    EXPECT_NE(error_of([&] { Tokenizer::load(path.string()); }).find("cut short"), std::string::npos);
    std::filesystem::remove(path);
}

TEST(Tokenizer, DecodeChecksItsTokens) {
    EXPECT_NE(error_of([] { tokenizer().decode({49408}); }).find("49408"), std::string::npos);
    EXPECT_NE(error_of([] { tokenizer().decode({-1}); }).find("-1"), std::string::npos);
    EXPECT_EQ(tokenizer().decode({Tokenizer::sot, 320, 2368, Tokenizer::eot}), "<|startoftext|>a cat <|endoftext|>");
}

}  // namespace
}  // namespace scvd
