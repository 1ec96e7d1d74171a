// scvd data: look at a set, bring in one's own.
#include <fmt/format.h>

#include "engine/io/file.h"
#include "engine/io/json.h"
#include "train/cli.h"
#include "train/data/check.h"
#include "train/data/records.h"

namespace scvd {
namespace {

void add_check(CLI::App* data) {
    struct Options { CheckOptions check; std::string json; };
    auto* cmd = data->add_subcommand("check", "Which set it is, whether it is whole, what is odd in it; exit code 0: clean, 2: bad records, 3: other counts than published");
    auto o = std::make_shared<Options>();
    cmd->add_option("root", o->check.root, "data set folder or its annotation file")->required();
    cmd->add_option("--images", o->check.images, "where the pictures lie, when not there");
    cmd->add_option("--json", o->json, "write everything here, every sentence included");
    cmd->add_option("--sheet", o->check.sheet, "write a PNG of sample pictures");
    cmd->add_option("--bpe", o->check.bpe, "tokenizer vocabulary");
    cmd->callback([o] {
        const DataCheck c = check_data(o->check);
        fmt::print("{}", table(c));
        if (!o->json.empty()) eng::write_file(o->json, eng::json_text(to_json(c), 2) + "\n");
        if (c.exit_code() != 0) throw CLI::RuntimeError(c.exit_code());
    });
}

void add_records(CLI::App* data) {
    auto* cmd = data->add_subcommand("import", "Make a data set of your own pictures: CSV or JSONL of image, caption, person, split, or a folder per person");
    auto o = std::make_shared<RecordsOptions>();
    cmd->add_option("source", o->source, "file.csv | file.jsonl | folder")->required();
    cmd->add_option("--out", o->out, "folder to make")->required();
    cmd->add_option("--images", o->images, "what picture paths are relative to (default: the source's folder)");
    cmd->add_option("--val", o->val, "share of persons for validation, where no split is given")->capture_default_str();
    cmd->add_option("--test", o->test, "share of persons for the test")->capture_default_str();
    cmd->add_option("--seed", o->seed, "of the drawing")->capture_default_str();
    cmd->callback([o] {
        const RecordsReport r = import_records(*o);
        fmt::print("{} persons, {} pictures, {} captions in {}\n", r.persons, r.images, r.captions, o->out);
    });
}

}  // namespace

void add_data(CLI::App& app) {
    auto* data = app.add_subcommand("data", "Data sets: check one, or import your own");
    data->require_subcommand(1);
    add_check(data), add_records(data);
}

}  // namespace scvd
