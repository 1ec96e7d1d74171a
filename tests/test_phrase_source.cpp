// The sources that prompts may come from (sd.source), and the templates of the config.
#include <gtest/gtest.h>

#include "engine/io/json.h"
#include "tests/errors.h"
#include "tests/tiny.h"
#include "tests/toy_set.h"
#include "train/data/texts.h"

using namespace scvd;
using namespace scvd::test;

namespace {

using eng::test::error_of;

Config config(const std::string& source) {
    Config c;
    c.model = tiny_config("f32");
    c.sd.source = source;
    return c;
}

std::vector<std::string> phrases(const Deconstruction& d) {
    std::vector<std::string> out;
    for (const Phrase& p : d.phrases) out.push_back(p.text);
    return out;
}

using Texts = std::vector<std::string>;

TEST(PhraseSource, WindowsCutEveryFewWordsAndKnowTheirBytes) {
    const std::string text = "A man  in a red shirt,\nblue jeans and shoes.";
    const Deconstruction d = cut_windows(text, 4);
    EXPECT_EQ(phrases(d), (Texts{"A man  in a", "red shirt,\nblue jeans", "and shoes."}));
    for (const Phrase& p : d.phrases) EXPECT_EQ(text.substr(p.begin, p.end - p.begin), p.text);
    EXPECT_TRUE(cut_windows(" \n ", 4).phrases.empty());
    EXPECT_EQ(phrases(cut_windows("one two three", 1)).size(), 3u);
}

TEST(PhraseSource, TheGrammarWithoutTheLexiconFindsLess) {
    const std::string text = "A woman in a red shirt and blue jeans is carrying a handbag.";
    EXPECT_EQ(phrases(PhraseSource(config("grammar"))(text)), (Texts{"red shirt", "blue jeans", "handbag"}));
    EXPECT_NE(phrases(PhraseSource(config("bare"))(text)), phrases(PhraseSource(config("grammar"))(text)));
}

TEST(PhraseSource, OracleReadsTheSidecar) {
    TempFolder f;
    const nlohmann::json captions{{{"id", 0}, {"img_path", "a.jpg"}, {"split", "train"}, {"captions", {"A heavy lady in a red shirt.", "red shirt"}}}};
    eng::write_file(f.path / "data_captions.json", eng::json_text(captions));
    const eng::Json line{{"captions", {{{{"begin", 2}, {"end", 12}, {"phrase", "heavy lady"}, {"class", "person"}},
                                       {{"begin", 18}, {"end", 27}, {"phrase", "crimson shirt"}, {"class", "upper"}}},
                                      {{{"begin", 0}, {"end", 9}, {"phrase", "scarlet shirt"}, {"class", "upper"}}}}}};
    eng::write_file(f.path / "regions.jsonl", eng::json_text(line) + "\n");
    Config c = config("oracle");
    c.data.root = f.path.string();
    const PhraseSource oracle(c);
    const Deconstruction d = oracle("A heavy lady in a red shirt.");
    EXPECT_EQ(phrases(d), (Texts{"heavy lady", "crimson shirt"}));
    EXPECT_EQ(d.person, "woman");
    EXPECT_EQ(d.phrases[1].category, Category::garment_upper);
    EXPECT_EQ(d.phrases[1].begin, 18u);
    EXPECT_EQ(phrases(oracle("red shirt")), Texts{"scarlet shirt"});
    EXPECT_NE(error_of([&] { oracle("A man."); }).find("\"A man.\""), std::string::npos);
    eng::write_file(f.path / "regions.jsonl", "{\"captions\": [");
    EXPECT_NE(error_of([&] { PhraseSource{c}; }).find((f.path / "regions.jsonl line 1: parse error").string()), std::string::npos);
    auto unknown = line;
    unknown["captions"][0][1]["class"] = "uper";
    eng::write_file(f.path / "regions.jsonl", eng::json_text(unknown) + "\n");
    EXPECT_NE(error_of([&] { PhraseSource{c}; }).find("regions.jsonl line 1: unknown class \"uper\""), std::string::npos);
    eng::write_file(f.path / "data_captions.json", R"([{"captions": [7]}])");
    EXPECT_NE(error_of([&] { PhraseSource{c}; }).find((f.path / "data_captions.json record 0: ").string()), std::string::npos);
    c.data.root = (f.path / "nowhere").string();
    EXPECT_NE(error_of([&] { PhraseSource{c}; }).find("nowhere"), std::string::npos);
}

TEST(PhraseSource, UnknownSourcesAndEmptyWindowsAreNamed) {
    EXPECT_NE(error_of([] { PhraseSource{config("oracel")}; }).find("sd.source = \"oracel\""), std::string::npos);
    Config c = config("windows");
    c.sd.window = 0;
    EXPECT_NE(error_of([&] { PhraseSource{c}; }).find("sd.window = 0"), std::string::npos);
}

TEST(Templates, OfTheConfigReachThePrompts) {
    Config c = config("grammar");
    load_config_text(c, "[sd]\nslots = 3\ntemplate.garment_upper = \"{phrase} on a {person}\"\n", "x.toml");
    TextBank bank(c, "");
    const TextItem t = bank.item("A man in a red shirt, jeans and shoes.");
    ASSERT_EQ(t.prompts.size(), 3u);
    EXPECT_EQ(bank.prompt_text(t.prompts[0]), "a photo of a man");
    EXPECT_EQ(bank.prompt_text(t.prompts[1]), "red shirt on a man");
    EXPECT_NE(to_toml(c).find("template.garment_upper = \"{phrase} on a {person}\""), std::string::npos);
    EXPECT_EQ(error_of([&] { load_config_text(c, "[sd]\ntemplate.garmentupper = \"x\"", "x.toml"); }),
              "config: x.toml: unknown key \"sd.template.garmentupper\"; did you mean \"sd.template.garment_upper\"?");
    load_config_text(c, "[sd]\ntemplate.garment_upper = \"red\"\n", "x.toml");
    TextBank bad(c, "");
    EXPECT_NE(error_of([&] { bad.item("a shirt"); }).find("garment_upper has no {phrase}"), std::string::npos);
}

}  // namespace
