// scvd deconstruct: what the Semantics Deconstructor makes of a description.
#include "train/cli.h"

#include <fmt/format.h>

#include <iostream>
#include <memory>
#include <optional>
#include <sstream>

#include "engine/io/json.h"
#include "train/data/texts.h"

namespace scvd {
namespace {

struct Options {
    std::string text, lexicon, config, bpe;
    int slots = 0;
    bool jsonl = false, explain = false, prompts = false;
};

std::vector<std::string> split(const std::string& line, char at) {
    std::vector<std::string> parts;
    std::istringstream in(line);
    for (std::string part; std::getline(in, part, at);) parts.push_back(part);
    return parts;
}

class Show {
public:
    explicit Show(const Options& o) : o_(o), sd_(o.lexicon) {
        Config c;
        if (!o.config.empty()) load_config(c, o.config);
        if (o.slots > 0) c.sd.slots = o.slots;
        ENG_CHECK(c.sd.source == "grammar" || !o.prompts, "deconstruct", "prompts are those of sd.source = grammar, not ", c.sd.source);
        prompts_ = prompt_options(c);
        context_ = c.model.text.context;
        if (o.prompts) tokenizer_.emplace(Tokenizer::load(o.bpe));
    }

    // For people: a line per token, a line per slot, then the object.
    void text(const std::string& description) const {
        const Deconstruction d = sd_(description);
        const Prompts p = make_prompts(d, prompts_, description);
        if (o_.explain) fmt::print("{}\n", sd_.explain(description));
        if (o_.prompts) fmt::print("{}\n", slot_table(d, p));
        fmt::print("{}\n", to_json(d, p));
    }

    // For programs: one object.
    void line(const std::string& description, const std::string& id) const {
        const Deconstruction d = sd_(description);
        const Prompts p = make_prompts(d, prompts_, description);
        if (!o_.explain && !o_.prompts) return fmt::print("{}\n", to_json(d, p, id));
        auto j = eng::parse_ordered_json(to_json(d, p, id));
        if (o_.prompts)
            for (std::size_t s = 0; s < p.text.size(); ++s) j["tokens"].push_back(count_tokens(p, s)), j["template"].push_back(pattern_of(d, p, s));
        if (o_.explain) {
            j["explain"] = nlohmann::ordered_json::array();
            for (const std::string& token : split(sd_.explain(description), '\n')) j["explain"].push_back(split(token, '\t'));
        }
        fmt::print("{}\n", eng::json_text(j, -1, nlohmann::json::error_handler_t::replace));
    }

private:
    const Options& o_;
    Deconstructor sd_;
    PromptOptions prompts_;
    int context_ = 77;
    std::optional<Tokenizer> tokenizer_;

    int count_tokens(const Prompts& p, std::size_t s) const { return p.mask[s] ? int(tokenizer_->tokens(p.text[s], context_).size()) : 0; }

    std::string pattern_of(const Deconstruction& d, const Prompts& p, std::size_t s) const {
        if (!p.mask[s]) return "";
        if (p.phrase[s] == description_prompt) return "the description";
        if (!prompts_.use_templates) return "{phrase}";
        return prompts_.templates.at(p.phrase[s] < 0 ? Category::person : d.phrases[std::size_t(p.phrase[s])].category);
    }

    std::string slot_table(const Deconstruction& d, const Prompts& p) const {
        std::string out = "slot  mask  tokens  category       template -> prompt\n";
        for (std::size_t s = 0; s < p.text.size(); ++s) {
            const int k = p.phrase[s];
            const char* category = !p.mask[s] ? "-" : k == person_prompt ? "person" : k == description_prompt ? "-" : category_name(d.phrases[std::size_t(k)].category);
            out += fmt::format("{:>4}  {:>4}  {:>6}  {:<13}  {} -> {}\n", s, int(p.mask[s]), count_tokens(p, s), category, pattern_of(d, p, s), p.text[s]);
        }
        return out;
    }
};

// An id may be a string or a number; anything else is a mistake.
std::string id_of(const nlohmann::json& j, const std::string& where) {
    if (!j.contains("id")) return "";
    ENG_CHECK(j["id"].is_string() || j["id"].is_number_integer(), "deconstruct", where, ": \"id\" should be a string or a whole number");
    return j["id"].is_string() ? j["id"].get<std::string>() : eng::json_text(j["id"]);
}

}  // namespace

void add_deconstruct(CLI::App& app) {
    auto* cmd = app.add_subcommand("deconstruct", "Show the person, phrases and prompts of a description");
    auto o = std::make_shared<Options>();
    auto* text = cmd->add_option("text", o->text, "the description, in quotes");
    auto* jsonl = cmd->add_flag("--jsonl", o->jsonl, "read {\"id\", \"text\"} lines from standard input, write one object a line");
    cmd->add_flag("--explain", o->explain, "bytes and classes of every token, and the rules that fired");
    cmd->add_flag("--prompts", o->prompts, "template, token count and mask of every slot");
    cmd->add_option("--lexicon", o->lexicon, "another lexicon");
    cmd->add_option("--config", o->config, "preset or TOML file with the templates and slots");
    auto* slots = cmd->add_option("--slots", o->slots, "prompts per description, the person included");
    cmd->add_option("--bpe", o->bpe, "tokenizer vocabulary, for the token counts");
    cmd->callback([o, text, jsonl, slots] {
        ENG_CHECK(!slots->count() || o->slots > 0, "deconstruct", "--slots ", o->slots, ", want at least 1");
        ENG_CHECK(text->count() + jsonl->count() == 1, "deconstruct", "give either a description in quotes or --jsonl");
        const Show show(*o);
        if (!o->jsonl) return show.text(o->text);
        int number = 0;
        for (std::string line; std::getline(std::cin, line);) {
            ++number;
            if (line.empty()) continue;
            const std::string where = "line " + std::to_string(number);
            const auto j = eng::json_line("deconstruct", where, line);
            ENG_CHECK(j.contains("text") && j["text"].is_string(), "deconstruct", where, " has no \"text\" that is text");
            show.line(j["text"], id_of(j, where));
        }
    });
}

}  // namespace scvd
