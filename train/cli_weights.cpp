// scvd import, scvd export: weights of other programs, in and out.
#include <fmt/format.h>

#include "train/checkpoint.h"
#include "train/cli.h"

namespace scvd {

void add_import(CLI::App& app) {
    struct Options { std::string file, out, positions = "bilinear", config; };
    auto* cmd = app.add_subcommand("import", "Turn weights of OpenAI, IRRA, RDE, TBPS-CLIP, open_clip or Hugging Face into a checkpoint");
    auto o = std::make_shared<Options>();
    auto c = std::make_shared<ConfigArgs>();
    c->name = "";
    c->add_to(cmd);
    cmd->add_option("file", o->file, "recognised by its contents, not by its name")->required();
    cmd->add_option("--out", o->out, "checkpoint to write")->required();
    cmd->add_option("--positions", o->positions, "how position tables are resized: bilinear (IRRA) | bicubic-antialias (open_clip)")
        ->capture_default_str()->check(CLI::IsMember({"bilinear", "bicubic-antialias"}));
    cmd->callback([o, c] {
        Config config;
        if (c->name.empty()) config = checkpoint_config(o->file);
        else load_config(config, c->name);
        c->apply(config);
        ImportOptions options;
        if (o->positions != "bilinear") options.positions = PositionResize::bicubic_antialias;
        fmt::print("{}", describe(import_weights(o->file, o->out, config, options)));
    });
}

void add_export(CLI::App&) {}
void add_data(CLI::App&) {}

}  // namespace scvd
