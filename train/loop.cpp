#include "train/loop.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/io/file.h"
#include "engine/parallel.h"
#include "engine/transfer.h"
#include "train/build_id.h"
#include "train/checkpoint.h"
#include "train/curves.h"
#include "train/data/loader.h"
#include "train/evaluate.h"
#include "train/events.h"
#include "train/run_log.h"

namespace scvd {
namespace {

namespace fs = std::filesystem;
volatile std::sig_atomic_t interrupted = 0;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

class Run {
public:
    explicit Run(const TrainOptions& o)
        : options_(o), config_(o.config), data_(dataset_of(config_)), bank_(config_, o.bpe) {
        if (config_.model.classes < 0) config_.model.classes = data_.train.identities;
        train_pictures_ = pictures_of(config_, data_.train);
        val_pictures_ = pictures_of(config_, data_.val);
        for (const auto& p : data_.train.pairs) items_.push_back(bank_.item(data_.train.images[p.image].captions[p.caption]));
        model_ = std::make_unique<Scvd>(config_.model, weights_, config_.train.seed);
        if (!o.init.empty()) fmt::print("{}", describe(load_weights(o.init, *model_).report));
        const auto& t = config_.train;
        optimizer_ = std::make_unique<eng::AdamW>(model_->params(), weights_, eng::AdamWOptions{t.beta1, t.beta2, t.eps, t.weight_decay, t.bias_lr, t.ema});
        if (o.resume) state_ = resume_checkpoint(file("last.safetensors"), *model_, *optimizer_);
        else prepare_folder();
        eng::write_file(file("config.toml"), to_toml(config_));
        eng::write_file(file("build.txt"), build_id() + "\n");
        metrics_ = std::make_unique<JsonLines>(file("metrics.jsonl"), o.resume);
        events_ = std::make_unique<EventWriter>(o.out);
    }

    void go() {
        const auto& t = config_.train;
        Loader loader(config_, data_.train, *train_pictures_, items_, state_.step * t.accumulate);
        const std::int64_t per_epoch = std::max<std::int64_t>(1, loader.batches_per_epoch() / t.accumulate), total = per_epoch * t.epochs;
        fmt::print("{} parameters, {} pairs of {} identities, {} updates of {} pairs, {} threads\n", model_->params().numel(), items_.size(), data_.train.identities,
                   total, t.batch * t.accumulate, eng::num_threads());
        Progress progress({total, state_.step, t.batch * t.accumulate});
        double started = now();
        while (state_.step < total && !interrupted) {
            const LossValues parts = update(loader, per_epoch, total);
            progress.update(state_.step, parts);
            if (state_.step % t.log_every == 0 || state_.step == total) log(parts, progress.pairs_per_second(), per_epoch);
            const bool stop = options_.stop_after && state_.step >= options_.stop_after, epoch_ends = state_.step % per_epoch == 0 || state_.step == total;
            if (epoch_ends || stop || interrupted || (t.save_every && state_.step % t.save_every == 0)) {
                state_.seconds += now() - started;
                if (state_.step == total || (t.eval_every && state_.step % (per_epoch * t.eval_every) == 0)) progress.note(validate(state_.step / per_epoch));
                save_checkpoint(file("last.safetensors"), config_, *model_, optimizer_.get(), state_);
                progress.pause();
                started = now();
            }
            if (stop) return;
        }
        if (interrupted) {
            fmt::print("interrupted at update {}; `scvd train --resume --out {}` goes on from there\n", state_.step, options_.out);
            return;
        }
        eng::write_file(file("curves.svg"), line_chart_svg("Training", "update", curves_));
        fmt::print("done in {:.0f} s of training; best epoch {} (val mAP {:.2f} %), weights in {}\n", state_.seconds, state_.best_epoch, state_.best, file("best.safetensors"));
    }

private:
    std::string file(const char* name) const { return (fs::path(options_.out) / name).string(); }

    void prepare_folder() {
        std::error_code error;
        ENG_CHECK(!fs::exists(file("last.safetensors")), "train", options_.out, " already holds a run; use --resume to go on with it or another --out");
        fs::create_directories(options_.out, error);
        ENG_CHECK(!error, "train", "cannot make ", options_.out, ": ", error.message());
    }

    // One optimizer update over `accumulate` micro-batches; returns the mean of each loss part.
    LossValues update(Loader& loader, std::int64_t per_epoch, std::int64_t total) {
        const auto& t = config_.train;
        LossValues parts;
        for (int micro = 0; micro < t.accumulate; ++micro) add_parts(parts, micro_batch(loader, state_.step * t.accumulate + micro));
        double scale = 1;
        if (t.clip_norm > 0) {
            const double norm = optimizer_->grad_norm();
            if (norm > t.clip_norm) scale = t.clip_norm / norm;
        }
        const double f = schedule_factor(t.schedule, state_.step, std::int64_t(double(t.warmup) * double(per_epoch)), total);
        optimizer_->step(float(t.lr * f), float(t.head_lr * f), float(scale));
        ++state_.step;
        ENG_CHECK(step_arena_.in_use() == 0, "train", step_arena_.in_use(), " bytes of step memory were not given back");
        return parts;
    }

    static void add_parts(LossValues& sum, const LossValues& more) {
        if (sum.empty()) sum = more;
        else
            for (std::size_t i = 0; i < more.size(); ++i) sum[i].second += more[i].second;
    }

    LossValues micro_batch(Loader& loader, std::int64_t number) {
        const auto& im = config_.model.image;
        const HostBatch host = loader.next();
        const std::int64_t B = config_.train.batch;
        const Tensor pixels = eng::upload(step_arena_, {B, im.height, im.width, 3}, host.pixels);
        const Tensor augment = eng::indices(step_arena_, host.augment).view({B, 8});
        eng::Rng rng(config_.train.seed, (std::uint64_t(3) << 56) ^ std::uint64_t(number));
        const TextBatch texts = make_text_batch(step_arena_, bank_, host.texts, {config_.sd.slots, config_.sd.prompt_dropout, config_.sd.neutral}, &rng);
        eng::Tape tape;
        eng::Recording on(&tape);
        const LossParts loss = model_->loss(pixels, augment, texts, host.labels);
        LossValues values{{"loss", eng::first_element(loss.total) / config_.train.accumulate}};
        for (const auto& [name, t] : loss.parts) values.push_back({name, eng::first_element(t) / config_.train.accumulate});
        ENG_CHECK(std::isfinite(values[0].second), "train", "the loss is ", values[0].second, " at update ", state_.step,
                  "; run again with --check-numerics to see which op made it so");
        if (options_.memory_report && number == 0) memory_report(tape);
        tape.backward(loss.total, eng::upload(step_arena_, {1}, std::vector<float>{1.f / float(config_.train.accumulate)}));
        return values;
    }

    void memory_report(const eng::Tape& tape) const {
        fmt::print("kept for backward, by scope:\n");
        for (const auto& [scope, bytes] : tape.saved_bytes_by_scope()) fmt::print("  {:>10.2f} MB  {}\n", double(bytes) / 1e6, scope);
        fmt::print("  {:>10.2f} MB  in all; step memory now {:.2f} MB\n", double(tape.saved_bytes()) / 1e6, double(step_arena_.in_use()) / 1e6);
    }

    void log(const LossValues& parts, double rate, std::int64_t per_epoch) {
        const Memory memory = process_memory();
        nlohmann::json j{{"step", state_.step}, {"epoch", double(state_.step) / double(per_epoch)}, {"pairs_per_second", rate},
                         {"rss_bytes", memory.rss}, {"peak_bytes", memory.peak}};
        for (const auto& [name, v] : parts) {
            j[name] = v;
            events_->scalar("train/" + name, float(v), state_.step);
        }
        metrics_->write(j);
        events_->flush();
        point("loss", parts[0].second);
    }
    void point(const std::string& name, double y) {
        for (auto& c : curves_)
            if (c.name == name) return c.xs.push_back(double(state_.step)), c.ys.push_back(y), void();
        curves_.push_back({name, {double(state_.step)}, {y}});
    }

    // The table of the validation split; keeps the weights if they are the best so far.
    std::string validate(std::int64_t epoch) {
        const Scores s = score_split(*model_, config_, data_.val, *val_pictures_, bank_, config_.eval.shortlist);
        const float lambda = config_.eval.lambda >= 0 ? config_.eval.lambda : choose_lambda(s);
        auto r = report(s, "val", data_.val.identities, lambda);
        const auto& best_stage = r["t2i"].contains("fused") ? r["t2i"]["fused"] : r["t2i"]["global"];
        const double mAP = best_stage["mAP"];
        events_->scalar("val/R1", best_stage["R1"].get<float>(), state_.step);
        events_->scalar("val/mAP", float(mAP), state_.step);
        point("val R@1", best_stage["R1"]);
        r["step"] = state_.step;
        metrics_->write(r);
        if (mAP <= state_.best) return table(r);
        state_.best = mAP, state_.best_epoch = epoch, state_.lambda = lambda;
        save_checkpoint(file("best.safetensors"), config_, *model_, optimizer_.get(), state_, true);
        return table(r);
    }

    const TrainOptions& options_;
    Config config_;
    Dataset data_;
    TextBank bank_;
    eng::Arena weights_, step_arena_;
    std::unique_ptr<Pictures> train_pictures_, val_pictures_;
    std::vector<TextItem> items_;
    std::unique_ptr<Scvd> model_;
    std::unique_ptr<eng::AdamW> optimizer_;
    RunState state_;
    std::unique_ptr<JsonLines> metrics_;
    std::unique_ptr<EventWriter> events_;
    std::vector<Series> curves_;
};

}  // namespace

double schedule_factor(const std::string& schedule, std::int64_t step, std::int64_t warmup, std::int64_t total) {
    if (step < warmup) return 0.1 + 0.9 * double(step + 1) / double(warmup);
    const double done = double(step - warmup) / double(std::max<std::int64_t>(1, total - warmup));
    if (schedule == "cosine") return 0.5 * (1 + std::cos(3.14159265358979 * done));
    ENG_CHECK(schedule == "multistep", "config", "train.schedule = \"", schedule, "\", want cosine | multistep");
    const double all = double(step) / double(total);
    return all < 0.625 ? 1 : all < 0.875 ? 0.1 : 0.01;
}

void train(const TrainOptions& o) {
    eng::Tape::check_numerics = o.check_numerics;
    std::signal(SIGINT, [](int) { interrupted = 1; });
    std::signal(SIGTERM, [](int) { interrupted = 1; });
    Run(o).go();
}

}  // namespace scvd
