// Every rule of the grammar: its example of rules.def makes it fire and gives just what is promised there.
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "model/semantics/wordnet.h"
#include "tests/sd.h"

namespace scvd {
namespace {

using test::sd;

struct RuleRow { std::string name, meaning, example, phrases, absent; };
const std::vector<RuleRow> rules = {
#define RULE(name, meaning, example, phrases, absent) {#name, meaning, example, phrases, absent},
#include "model/semantics/rules.def"
#undef RULE
};

std::string joined(const std::vector<Phrase>& phrases) {
    std::string out;
    for (const Phrase& p : phrases) out += (out.empty() ? "" : "; ") + p.text;
    return out;
}

// The names in the last column of --explain.
std::set<std::string> fired(const std::string& text) {
    std::set<std::string> names;
    std::istringstream lines(sd().explain(text));
    for (std::string line; std::getline(lines, line);) {
        std::istringstream last(line.substr(line.rfind('\t') + 1));
        for (std::string name; last >> name;) names.insert(name);
    }
    return names;
}

TEST(Rules, EveryExampleFiresAndGivesWhatItPromises) {
    for (const RuleRow& r : rules) {
        if (r.name == "wordnet_class" && !sd::has_wordnet()) continue;
        const Deconstruction d = sd()(r.example);
        EXPECT_EQ(joined(d.phrases), r.phrases) << r.name << ": " << r.example;
        EXPECT_EQ(joined(d.absent), r.absent) << r.name << ": " << r.example;
        EXPECT_TRUE(fired(r.example).contains(r.name)) << r.name << " does not fire:\n" << sd().explain(r.example);
    }
}

TEST(Rules, ExplainNamesOnlyRulesOfTheTable) {
    std::set<std::string> known{"-"};
    for (const RuleRow& r : rules) EXPECT_TRUE(known.insert(r.name).second) << r.name << " twice";
    for (const RuleRow& r : rules)
        for (const std::string& name : fired(r.example)) EXPECT_TRUE(known.contains(name)) << name;
}

}  // namespace
}  // namespace scvd
