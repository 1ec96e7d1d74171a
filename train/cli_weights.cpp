// scvd import, scvd export: weights of other programs, in and out.
#include <fmt/format.h>

#include "train/checkpoint.h"
#include "train/cli.h"
#include "train/embed.h"
#include "train/export.h"

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

void add_export(CLI::App& app) {
    auto* cmd = app.add_subcommand("export", "Write the encoders as a folder that another program opens");
    auto o = std::make_shared<ExportOptions>();
    cmd->add_option("--weights", o->weights, "checkpoint")->required();
    cmd->add_option("--out", o->out, "folder to make")->required();
    cmd->add_option("--format", o->format, "hf (transformers.CLIPModel) | openclip | scvd")->required()->check(CLI::IsMember({"hf", "openclip", "scvd"}));
    cmd->add_option("--bpe", o->bpe, "tokenizer vocabulary");
    cmd->callback([o] {
        export_weights(*o);
        fmt::print("{} written for {}\n", o->out, o->format);
    });
}

void add_embed(CLI::App& app) {
    auto* cmd = app.add_subcommand("embed", "Write the vectors of pictures and sentences for other programs");
    auto o = std::make_shared<EmbedOptions>();
    cmd->add_option("--weights", o->weights, "checkpoint, or any file that import reads")->required();
    cmd->add_option("--images", o->images, "folder of pictures");
    cmd->add_option("--texts", o->texts, "text file, one sentence a line");
    cmd->add_option("--out", o->out, "safetensors file to write")->required();
    cmd->add_option("--dtype", o->dtype, "f32 | bf16 (default: the checkpoint's)")->check(CLI::IsMember({"f32", "bf16"}));
    cmd->add_option("--bpe", o->bpe, "tokenizer vocabulary");
    cmd->callback([o] { embed(*o); });
}


}  // namespace scvd
