// The lexicon file: replaced by another one, wrong, and seen through --explain.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "engine/error.h"
#include "engine/io/json.h"
#include "tests/errors.h"
#include "tests/sd.h"

namespace scvd {
namespace {

using eng::test::error_of;
using test::sd;
using test::texts_of;
using test::Texts;

std::vector<nlohmann::json> labelled() {
    std::ifstream file(SCVD_TEST_DATA "/text/sd_dev.jsonl");
    std::vector<nlohmann::json> rows;
    for (std::string line; std::getline(file, line);) rows.push_back(eng::parse_json(line));
    return rows;
}

struct TemporaryFile {
    std::string path;
    explicit TemporaryFile(const std::string& content)
        : path((std::filesystem::temp_directory_path() / ("scvd_lexicon_" + std::to_string(::getpid()))).string()) {
        std::ofstream(path, std::ios::binary) << content;
    }
    ~TemporaryFile() { std::filesystem::remove(path); }
};

TEST(Lexicon, FileOverridesTheOneCompiledIn) {
    std::ifstream in(SCVD_SOURCE "/model/semantics/lexicon.txt");
    const std::string whole{std::istreambuf_iterator<char>(in), {}};
    ASSERT_EQ(texts_of(sd()("a red zorblax").phrases), Texts{});
    const TemporaryFile file(whole + "\n[upper]\nzorblax\n");
    const Deconstructor own(file.path);
    EXPECT_EQ(texts_of(own("a red zorblax").phrases), Texts{"red zorblax"});
    for (const auto& row : labelled()) {
        const auto text = row["text"].get<std::string>();
        EXPECT_EQ(texts_of(own(text).phrases), texts_of(sd()(text).phrases)) << text;
    }
}

TEST(Lexicon, ErrorsNameFileAndLine) {
    const std::string absent = error_of([] { Deconstructor("/nowhere/lexicon.txt"); });
    EXPECT_NE(absent.find("/nowhere/lexicon.txt"), std::string::npos) << absent;
    const TemporaryFile section("# words\n[upper]\nshirt\n[hats]\ncap\n");
    const std::string unknown = error_of([&] { Deconstructor(section.path); });
    EXPECT_NE(unknown.find(section.path + ":4"), std::string::npos) << unknown;
    EXPECT_NE(unknown.find("[hats]"), std::string::npos) << unknown;
}

TEST(Lexicon, ExplainListsEveryToken) {
    const std::string text = sd().explain("A red zorblax, shirt");
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 5) << text;
    EXPECT_NE(text.find("6-13\tzorblax\tunknown\tunknown_head place_dropped\n"), std::string::npos) << text;
    EXPECT_NE(text.find("13-14\t,\tpunctuation\t-\n"), std::string::npos) << text;
    EXPECT_NE(text.find("15-20\tshirt\tupper"), std::string::npos) << text;
}

}  // namespace
}  // namespace scvd
