// Phrases -> prompts in slots, and the JSON that carries both.
#include <gtest/gtest.h>

#include "engine/error.h"
#include "engine/io/json.h"
#include "tests/errors.h"
#include "tests/sd.h"

namespace scvd {
namespace {

using eng::test::error_of;
using test::sd;
using test::Texts;

PromptOptions slots(int n) {
    PromptOptions o;
    o.slots = n;
    return o;
}

PromptOptions bare(int n) {
    PromptOptions o = slots(n);
    o.use_templates = false;
    return o;
}

TEST(Prompts, TemplatesAndArticles) {
    const Prompts p = make_prompts(sd()(
        "A young man in an orange shirt, blue jeans and no hat carries a red bag and rides a bike."));
    EXPECT_EQ(p.text, (Texts{"a photo of a young man", "a photo of a man wearing an orange shirt",
                             "a photo of a man wearing blue jeans", "a photo of a man carrying a red bag",
                             "a photo of a man riding a bike", "", "", ""}));
    EXPECT_EQ(p.mask, (std::vector<std::uint8_t>{1, 1, 1, 1, 1, 0, 0, 0}));
    EXPECT_EQ(p.phrase, (std::vector<int>{person_prompt, 1, 2, 3, 4, no_prompt, no_prompt, no_prompt}));
}

TEST(Prompts, ACaptionWithoutPhrasesHasThePersonOnly) {
    const Prompts p = make_prompts(sd()(""), slots(3));
    EXPECT_EQ(p.text, (Texts{"a photo of a person", "", ""}));
    EXPECT_EQ(p.mask, (std::vector<std::uint8_t>{1, 0, 0}));
}

TEST(Prompts, OverflowKeepsClothesFirstInTheOrderOfTheText) {
    const Deconstruction d = sd()(
        "A man with glasses, a watch, a blue cap, black shoes, a red bag, a phone, green pants and a white shirt.");
    ASSERT_EQ(d.phrases.size(), 8u);
    EXPECT_EQ(make_prompts(d, bare(4)).text,
              (Texts{"man", "red bag", "green pants", "white shirt"}));
    EXPECT_EQ(make_prompts(d, bare(1)).text, Texts{"man"});
    EXPECT_EQ(make_prompts(d, bare(9)).mask, std::vector<std::uint8_t>(9, 1));
}

TEST(Prompts, OptionsAreCheckedAndUsed) {
    const std::string text = "A man in a red coat.";
    const Deconstruction d = sd()(text);
    PromptOptions own = slots(2);
    own.templates[Category::garment_upper] = "{a} {phrase} on the {person}";
    EXPECT_EQ(make_prompts(d, own).text, (Texts{"a photo of a man", "a red coat on the man"}));
    PromptOptions whole = slots(3);
    whole.whole_description = true;
    EXPECT_EQ(make_prompts(d, whole, text).text,
              (Texts{"a photo of a man", text, "a photo of a man wearing a red coat"}));
    EXPECT_NE(error_of([&] { make_prompts(d, slots(0)); }).find("slots = 0"), std::string::npos);
    PromptOptions empty;
    empty.templates[Category::bag] = "a bag";
    EXPECT_NE(error_of([&] { make_prompts(d, empty); }).find("template of bag"), std::string::npos);
}

TEST(Prompts, JsonHoldsEverything) {
    const Deconstruction d = sd()("A man in a red coat without a hat.");
    const auto j = eng::parse_json(to_json(d, make_prompts(d, slots(2)), "q\"1\\\n"));
    EXPECT_EQ(j["id"], "q\"1\\\n");
    EXPECT_EQ(j["person"], "man");
    EXPECT_EQ(j["phrases"], nlohmann::json({"red coat"}));
    EXPECT_EQ(j["absent"], nlohmann::json({"hat"}));
    EXPECT_EQ(j["prompts"], nlohmann::json({"a photo of a man", "a photo of a man wearing a red coat"}));
    EXPECT_EQ(j["mask"], nlohmann::json({1, 1}));
    EXPECT_EQ(j["category"], nlohmann::json({"garment_upper"}));
    EXPECT_EQ(j["span"], eng::parse_json("[[11, 19]]"));
    EXPECT_FALSE(eng::parse_json(to_json(d, make_prompts(d))).contains("id"));
}

}  // namespace
}  // namespace scvd
