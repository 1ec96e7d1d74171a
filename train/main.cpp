// The binary: subcommands only collect options; the work is done by the functions they call.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "engine/device.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/parallel.h"
#include "ops/provider.h"
#include "train/build_id.h"
#include "train/checkpoint.h"
#include "train/cli.h"
#include "train/evaluate_checkpoint.h"
#include "train/launch.h"
#include "train/loop.h"
#include "train/search.h"
#include "train/sheet.h"
#include "train/synth/synth.h"

using namespace scvd;

namespace {

void add_device(CLI::App* cmd) {
    cmd->add_option_function<std::string>("--device", [](const std::string& d) { eng::default_device = d == "cuda" ? eng::Device::cuda : eng::Device::cpu; },
                                          "where to compute: cpu | cuda (default: cpu)")->check(CLI::IsMember({"cpu", "cuda"}));
    const auto provider = [cmd](const char* name, eng::Provider& chosen, void (*require)(), const char* help) {
        cmd->add_option_function<std::string>(name, [&chosen, require](const std::string& p) {
            if (p == "cudnn") require();
            chosen = p == "cudnn" ? eng::Provider::cudnn : eng::Provider::scvd;
        }, help)->check(CLI::IsMember({"scvd", "cudnn"}));
    };
    provider("--conv", eng::conv_provider, eng::cuda::require_cudnn_conv,
             "on a GPU, who computes RN50's convolutions and trained batch norm: scvd | cudnn (default: scvd)");
    provider("--attention", eng::attention_provider, eng::cuda::require_cudnn_attention,
             "on a GPU, who computes self-attention in bf16: scvd | cudnn; all other attention is scvd's (default: scvd)");
}

// Of a command that several ranks may run together.
void add_comm_timeout(CLI::App* cmd, double& seconds) {
    cmd->add_option("--comm-timeout", seconds, "with several ranks: seconds after which one that does not come is an error")->capture_default_str();
}

void add_launch(CLI::App& app) {
    auto* cmd = app.add_subcommand("launch", "Start a command as several ranks on this host: scvd launch -n 4 -- train ...");
    auto o = std::make_shared<LaunchOptions>();
    cmd->add_option("-n,--ranks", o->ranks, "processes; on GPUs one for each")->required();
    cmd->add_option("--elastic-restarts", o->restarts, "start all again so many times when one fails; train then goes on from its last checkpoint")->capture_default_str();
    cmd->add_option("command", o->command, "after --: a command of this program and its options")->required();
    cmd->callback([o] {
        if (const int code = launch(*o)) throw CLI::RuntimeError(code);
    });
}

void add_synth(CLI::App& app) {
    auto* cmd = app.add_subcommand("synth", "Make a synthetic set of pedestrians with captions and phrase regions");
    auto o = std::make_shared<SynthOptions>();
    cmd->add_option("--out", o->out, "folder to make")->required();
    cmd->add_option("--train", o->train, "training identities")->capture_default_str();
    cmd->add_option("--val", o->val, "validation identities")->capture_default_str();
    cmd->add_option("--test", o->test, "test identities")->capture_default_str();
    cmd->add_option("--train-images", o->train_images, "pictures per training identity")->capture_default_str();
    cmd->add_option("--seed", o->seed, "the same seed makes the same bytes")->capture_default_str();
    cmd->add_option("--width", o->width, "of a picture")->capture_default_str();
    cmd->add_option("--height", o->height, "of a picture")->capture_default_str();
    cmd->add_option("--twins", o->twin_share, "share of identities that have a near twin")->capture_default_str();
    cmd->add_option("--threads", o->threads, "0: all cores")->capture_default_str();
    cmd->add_flag("--force", o->force, "replace a set made by this command");
    cmd->callback([o] {
        const SynthReport r = make_synthetic_set(*o);
        fmt::print("{} identities, {} pictures, {} captions in {}: {:.0f} pictures/s\n", r.identities, r.images, r.captions, o->out, r.images_per_second);
    });
}

void add_train(CLI::App& app) {
    auto* cmd = app.add_subcommand("train", "Train; the run folder holds checkpoints, metrics, curves and the resolved config");
    auto o = std::make_shared<TrainOptions>();
    auto c = std::make_shared<ConfigArgs>();
    c->add_to(cmd);
    add_device(cmd);
    cmd->add_option("--data", c->overrides["data.root"], "data set folder or its annotation file");
    cmd->add_option("--out", o->out, "run folder")->required();
    cmd->add_option("--init", o->init, "start from the weights of this file: a checkpoint, or what `scvd import` reads");
    cmd->add_option("--bpe", o->bpe, "tokenizer vocabulary (default: assets/)");
    cmd->add_flag("--resume", o->resume, "go on from the last checkpoint in --out, bit for bit");
    cmd->add_flag("--check-numerics", o->check_numerics, "name the first op whose result is not finite");
    cmd->add_flag("--memory-report", o->memory_report, "what the first step keeps for backward, by scope");
    cmd->add_option("--stop-after", o->stop_after, "stop after this many updates, as if interrupted");
    cmd->add_flag_callback("--deterministic", [] { setenv("NCCL_ALGO", "Ring", 1), setenv("NCCL_PROTO", "Simple", 1); },
                           "fix NCCL's order of sums too; all else always gives the same bits for the same number of ranks");
    add_comm_timeout(cmd, o->comm_timeout);
    cmd->callback([o, c] {
        if (c->overrides["data.root"].empty()) c->overrides.erase("data.root");
        const auto last = std::filesystem::path(o->out) / "last.safetensors";
        if (std::getenv("SCVD_RESTART") && std::filesystem::exists(last)) o->resume = true;  // set by `scvd launch` after a failure
        if (o->resume) {
            ENG_CHECK(std::filesystem::exists(last), "train", "--resume: ", last.string(), " is not there");
            o->config = checkpoint_config(last.string());
            c->apply(o->config);
        } else {
            o->config = c->resolve();
        }
        ENG_CHECK(!o->config.data.root.empty(), "train", "--data names the data set folder and is missing");
        in_world(o->comm_timeout, [&](World& world) { train(*o, world); });
    });
}

void add_eval(CLI::App& app) {
    auto* cmd = app.add_subcommand("eval", "Honest retrieval metrics of a checkpoint on one split; localisation where regions are known");
    auto o = std::make_shared<EvalOptions>();
    add_device(cmd);
    cmd->add_option("--weights", o->weights, "checkpoint, or a file that `scvd import` reads")->required();
    cmd->add_option("--data", o->data, "data set folder (default: the one it was trained on)");
    cmd->add_option("--split", o->split, "train | val | test")->capture_default_str()->check(CLI::IsMember({"train", "val", "test"}));
    cmd->add_option("--json", o->json, "write the numbers here too");
    cmd->add_option("--curves", o->curves, "write the CMC curves here, as SVG");
    cmd->add_option("--shortlist", o->shortlist, "re-score the best K of the global stage; 0: all pairs");
    cmd->add_option("--lambda", o->lambda, "weight of the global score (default: chosen on val in training)");
    cmd->add_option("--bpe", o->bpe, "tokenizer vocabulary");
    add_comm_timeout(cmd, o->comm_timeout);
    cmd->callback([o] {
        in_world(o->comm_timeout, [&](World& world) {
            const std::string text = evaluate_checkpoint(*o, world);
            if (world.first()) fmt::print("{}", text);
        });
    });
}

void add_index(CLI::App& app) {
    auto* cmd = app.add_subcommand("index", "Index a folder of pictures for search");
    auto o = std::make_shared<IndexOptions>();
    cmd->add_option("folder", o->folder, "pictures, subfolders included")->required();
    add_device(cmd);
    cmd->add_option("--weights", o->weights, "checkpoint, or a file that `scvd import` reads")->required();
    cmd->add_option("--out", o->out, "index file")->required();
    cmd->add_flag("--skip-bad", o->skip_bad, "leave out pictures that cannot be decoded");
    add_comm_timeout(cmd, o->comm_timeout);
    cmd->callback([o] {
        in_world(o->comm_timeout, [&](World& world) {
            const int pictures = build_index(*o, world);
            if (world.first()) fmt::print("{} pictures indexed in {}\n", pictures, o->out);
        });
    });
}

void add_search_options(CLI::App* cmd, SearchOptions& o) {
    add_device(cmd);
    cmd->add_option("query", o.query, "the description, in quotes")->required();
    cmd->add_option("--index", o.index, "index file")->required();
    cmd->add_option("--weights", o.weights, "checkpoint (default: the one that made the index)");
    cmd->add_option("--top", o.top, "results")->capture_default_str();
    cmd->add_option("--shortlist", o.shortlist, "pictures the pair stage re-scores")->capture_default_str();
    cmd->add_option("--lambda", o.lambda, "weight of the global score");
    cmd->add_option("--bpe", o.bpe, "tokenizer vocabulary");
}

void add_search(CLI::App& app) {
    struct Options { SearchOptions search; std::string html; bool json = false; };
    auto* cmd = app.add_subcommand("search", "Find a person in an index from a sentence");
    auto o = std::make_shared<Options>();
    add_search_options(cmd, o->search);
    cmd->add_flag("--json", o->json, "print JSON");
    cmd->add_option("--html", o->html, "write a self-contained page with pictures and heat maps");
    cmd->callback([o] {
        const SearchPage page = search(o->search);
        if (!o->html.empty()) eng::write_file(o->html, render_search_page(page));
        if (o->json) {
            fmt::print("{}\n", eng::json_text(to_json(page), 2));
            return;
        }
        int rank = 0;
        for (const ResultView& r : page.results) fmt::print("{:>3}  {:.3f}  (global {:.3f}, pair {:.3f})  {}\n", ++rank, r.score, r.global_score, r.pair_score, r.path);
    });
}

void add_explain(CLI::App& app) {
    struct Options { SearchOptions search; std::string out, sheet; int results = 1; };
    auto* cmd = app.add_subcommand("explain", "Write TVL's heat map of every phrase for the best results as PNG");
    auto o = std::make_shared<Options>();
    add_search_options(cmd, o->search);
    cmd->add_option("--out", o->out, "folder for the pictures")->required();
    cmd->add_option("--sheet", o->sheet, "all of them on one labelled PNG too");
    cmd->add_option("--results", o->results, "how many results to explain")->capture_default_str();
    cmd->callback([o] {
        ENG_CHECK(o->results > 0, "explain", "--results ", o->results, ", want at least 1");
        o->search.top = std::max(o->search.top, o->results);
        const SearchPage page = search(o->search);
        for (const auto& p : write_heatmaps(page, o->out, o->results)) fmt::print("{}\n", p);
        if (o->sheet.empty()) return;
        const auto png = render_sheet(page, o->results);
        eng::write_file(o->sheet, std::as_bytes(std::span(png)));
        fmt::print("{}\n", o->sheet);
    });
}

// The sentence for a word that is no command, or an option that its command does not have; "" when neither is the fault.
std::string unknown_word(const CLI::App& app, int argc, char** argv) {
    const CLI::App* command = &app;
    std::string path;  // "data check"
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i], name = word.substr(0, word.find('='));
        if (word == "--") break;
        std::vector<std::string> commands;  // of the program, or of one of its commands
        for (const CLI::App* c : command->get_subcommands({})) commands.push_back(c->get_name());
        if (!commands.empty()) {
            if (word == "--cpu-threads") ++i;  // and its value
            if (word.rfind("-", 0) == 0) continue;
            if (std::find(commands.begin(), commands.end(), word) == commands.end())
                return fmt::format("unknown command \"{}\"; did you mean \"{}\"?", word, nearest(word, commands));
            command = command->get_subcommand(word), path += (path.empty() ? "" : " ") + word;
        } else if (name.rfind("--", 0) == 0 && !command->get_option_no_throw(name)) {
            std::vector<std::string> options;
            for (const CLI::Option* o : command->get_options()) options.push_back("--" + (o->get_lnames().empty() ? "" : o->get_lnames()[0]));
            return fmt::format("{}: unknown option {}; did you mean {}?", path, name, nearest(name, options));
        }
    }
    return "";
}

// libgomp decides before main() how long idle threads spin, and by default that is so long that a second program on the
// same cores brings both to a crawl (35 times slower was seen); a short spin costs about 3 % on a quiet machine.
void start_again_with_short_spins(char** argv) {
    if (std::getenv("GOMP_SPINCOUNT") || std::getenv("OMP_WAIT_POLICY")) return;
    setenv("GOMP_SPINCOUNT", "10000", 1);
    execv("/proc/self/exe", argv);  // returns only if it fails, and then nothing but the spinning is lost
}

}  // namespace

int main(int argc, char** argv) {
    start_again_with_short_spins(argv);
    CLI::App app{"scvd: find a person in a gallery of photographs from a sentence"};
    app.require_subcommand(1);
    app.set_version_flag("--version", build_id());
    app.set_help_all_flag("--help-all", "help of every subcommand");
    app.add_option_function<unsigned>("--cpu-threads", [](unsigned n) { eng::set_num_threads(int(n)); }, "threads of the CPU kernels; 0: all cores")->check(CLI::Range(0, 4096));
    add_synth(app), add_train(app), add_launch(app), add_eval(app), add_index(app), add_search(app), add_explain(app), add_deconstruct(app);
    add_import(app), add_export(app), add_embed(app), add_data(app);
    try {
        app.parse(argc, argv);
    } catch (const CLI::RuntimeError& e) {  // a command's own exit code, as of `data check`
        return e.get_exit_code();
    } catch (const CLI::ParseError& e) {
        if (!e.get_exit_code()) return app.exit(e);  // help, or the version
        const std::string unknown = unknown_word(app, argc, argv);
        fmt::print(stderr, "scvd: {}\n", unknown.empty() ? std::string(e.what()) + " (--help says more)" : unknown);
        return 1;
    } catch (const std::exception& e) {
        fmt::print(stderr, "scvd: {}\n", e.what());
        return 1;
    }
    return 0;
}
