#include "train/loop.h"

#include <fmt/format.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/comm/buckets.h"
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
#include "train/step.h"

namespace scvd {
namespace {

namespace fs = std::filesystem;
volatile std::sig_atomic_t interrupted = 0;

// The handler has a stack of its own: oneDNN's generated products use the stack pointer as a register, and what the kernel writes
// below it when a signal comes would land in the heap. A signal to the process goes to its first thread.
void stop_when_asked() {
    static char own[1 << 16];  // with AMX, the registers that are saved there take 11 KB
    stack_t stack{};
    stack.ss_sp = own, stack.ss_size = sizeof own;
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = 1; };
    action.sa_flags = SA_ONSTACK | SA_RESTART;
    const bool first_thread = gettid() == getpid();
    ENG_CHECK((!first_thread || !sigaltstack(&stack, nullptr)) && !sigaction(SIGINT, &action, nullptr) && !sigaction(SIGTERM, &action, nullptr), "train", "cannot take signals: ",
              std::strerror(errno));
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

class Run {
public:
    Run(const TrainOptions& o, World& world)
        : options_(o), world_(world), config_(o.config), data_(dataset_of(config_)), bank_(config_, o.bpe) {
        int& classes = config_.model.classes;
        if (classes < 0) classes = data_.train.identities;
        ENG_CHECK(classes == 0 || classes >= data_.train.identities, "config", "model.classes = ", classes, ", and the training split has ", data_.train.identities, " identities");
        ENG_CHECK(world.size() == 1 || config_.model.image.encoder == "vit" || config_.model.image.bn == "frozen", "train",
                  "image.bn = \"train\" would normalise by each rank's pictures alone; with several ranks use image.bn = \"frozen\"");
        world.agree("build", build_id());
        world.agree("configuration", shared_settings());
        if (world.first() && !o.resume) prepare_folder();
        if (world.first()) open_pictures();
        world.comm().barrier();  // the others find the folder and the picture cache made
        if (!world.first()) open_pictures();
        items_ = items_of(bank_, data_.train), val_items_ = items_of(bank_, data_.val);
        model_ = std::make_unique<Scvd>(config_.model, weights_, config_.train.seed);
        if (!o.init.empty()) say(describe(load_weights(o.init, *model_).report));
        const auto& t = config_.train;
        optimizer_ = std::make_unique<eng::AdamW>(model_->params(), weights_, optimizer_options(t), t.shard_optimizer ? &world.comm() : nullptr);
        buckets_ = std::make_unique<eng::Buckets>(model_->params(), world.comm(), std::size_t(t.bucket_mb) << 20);
        if (o.resume) state_ = resume_checkpoint(file("last.safetensors"), *model_, *optimizer_);
        if (world.size() > 1)  // alone, there is nobody to compare with, and the weights are large
            world.agree("data set or start", fmt::format("{} pairs, update {}, weights {}", data_.train.pairs.size(), state_.step, fingerprint(model_->params().master)));
        optimizer_->shard_masters();
        if (!world.first()) return;
        eng::write_file(file("config.toml"), to_toml(config_));
        eng::write_file(file("build.txt"), build_id() + "\n");
        metrics_ = std::make_unique<JsonLines>(file("metrics.jsonl"), o.resume);
        events_ = std::make_unique<EventWriter>(o.out);
    }

    void go() {
        const auto& t = config_.train;
        Loader loader(config_, data_.train, *train_pictures_, items_, state_.step * t.accumulate, {world_.rank(), world_.size()});
        const std::int64_t per_epoch = std::max<std::int64_t>(1, loader.batches_per_epoch() / t.accumulate), total = per_epoch * t.epochs;
        say(fmt::format("{} parameters, {} pairs of {} identities, {} updates of {} pairs, {} threads{}\n", model_->params().numel(), items_.size(), data_.train.identities, total,
                        t.batch * t.accumulate, eng::num_threads(), world_.size() > 1 ? fmt::format(" in each of {} ranks", world_.size()) : ""));
        std::optional<Progress> progress;
        if (world_.first()) progress.emplace(Progress::Options{total, state_.step, t.batch * t.accumulate});
        Step step(config_, *model_, bank_, world_.comm(), *buckets_, *optimizer_);
        if (state_.step < total) step.send(loader.next());
        double started = now();
        while (state_.step < total && !stopping_) {
            const LossValues parts = update(loader, step, per_epoch, total);
            if (progress) progress->update(state_.step, parts);
            if (progress && (state_.step % t.log_every == 0 || state_.step == total)) log(parts, progress->pairs_per_second(), per_epoch);
            const bool stop = options_.stop_after && state_.step >= options_.stop_after, epoch_ends = state_.step % per_epoch == 0 || state_.step == total;
            if (epoch_ends || stop || stopping_ || (t.save_every && state_.step % t.save_every == 0)) {
                state_.seconds += now() - started;
                if (state_.step == total || (t.eval_every && state_.step % (per_epoch * t.eval_every) == 0)) {
                    const std::string validated = validate(state_.step / per_epoch);
                    if (progress) progress->note(validated);
                }
                save("last.safetensors");
                if (progress) progress->pause();
                started = now();
            }
            if (stop) return;
        }
        if (stopping_) return say(fmt::format("interrupted at update {}; `scvd train --resume --out {}` goes on from there\n", state_.step, options_.out));
        if (world_.first()) eng::write_file(file("curves.svg"), line_chart_svg("Training", "update", curves_));
        say(fmt::format("done in {:.0f} s of training; best epoch {} (val mAP {:.2f} %), weights in {}\n", state_.seconds, state_.best_epoch, state_.best, file("best.safetensors")));
    }

private:
    void say(const std::string& text) const {
        if (world_.first()) fmt::print("{}", text);
    }
    // What must be the same on every rank: all but where things lie on its host and how it reads them.
    std::string shared_settings() const {
        Config c = config_;
        c.data.root = c.data.images = "", c.data.workers = 0, c.data.cache_mb = 0, c.data.disk_cache = false;
        return to_toml(c);
    }
    static std::string fingerprint(const Tensor& t) {
        std::uint64_t h = 1469598103934665603u;  // FNV-1a of words: of bytes it would take four times as long
        for (const float w : eng::download_wide(t)) h = (h ^ std::bit_cast<std::uint32_t>(w)) * 1099511628211u;
        return fmt::format("{:016x}", h);
    }
    void open_pictures() {
        train_pictures_ = pictures_of(config_, data_.train);
        val_pictures_ = pictures_of(config_, data_.val);
    }
    void save(const char* name, bool average = false) {
        if (world_.first() || optimizer_->sharded()) save_checkpoint(file(name), config_, *model_, optimizer_.get(), state_, average, world_.first());
    }

    std::string file(const char* name) const { return (fs::path(options_.out) / name).string(); }

    void prepare_folder() {
        std::error_code error;
        ENG_CHECK(!fs::exists(file("last.safetensors")), "train", options_.out, " already holds a run; use --resume to go on with it or another --out");
        fs::create_directories(options_.out, error);
        ENG_CHECK(!error, "train", "cannot make ", options_.out, ": ", error.message());
    }

    // One optimizer update over `accumulate` micro-batches; returns the mean of each loss part. The next batch is on its way before
    // the losses of this one are waited for.
    LossValues update(Loader& loader, Step& step, std::int64_t per_epoch, std::int64_t total) {
        const auto& t = config_.train;
        if (options_.memory_report && state_.step == 0 && world_.first()) step.report_memory();
        for (int micro = 0; micro < t.accumulate; ++micro) {
            const bool last = micro + 1 == t.accumulate;
            if (last) {
                const double f = schedule_factor({t.schedule, std::int64_t(double(t.warmup) * double(per_epoch)), total, t.hold_lr ? per_epoch : 0}, state_.step);
                optimizer_->prepare(float(t.lr * f), float(t.head_lr * f), 1);
            }
            step.run(last);
            if (!last || state_.step + 1 < total) step.send(loader.next());
        }
        const LossValues losses = over_ranks(step.take_losses());
        ENG_CHECK(std::isfinite(losses[0].second), "train", "the loss is ", losses[0].second, " at update ", state_.step,
                  "; run again with --check-numerics to see which op made it so");
        ++state_.step;
        return losses;
    }

    // The sum over all ranks, and whether any of them was asked to stop: all do after the same update.
    LossValues over_ranks(LossValues losses) {
        std::vector<double> v;
        for (const auto& [name, value] : losses) v.push_back(value);
        v.push_back(interrupted ? 1 : 0);
        v = world_.comm().sum_numbers(v);
        stopping_ = stopping_ || v.back() > 0;
        for (std::size_t i = 0; i < losses.size(); ++i) losses[i].second = v[i];
        return losses;
    }

    void log(const LossValues& parts, double rate, std::int64_t per_epoch) {
        const Memory memory = process_memory();
        nlohmann::json j{{"step", state_.step}, {"epoch", double(state_.step) / double(per_epoch)}, {"pairs_per_second", rate},
                         {"rss_bytes", memory.rss}, {"peak_bytes", memory.peak}};
        if (world_.size() > 1) {
            const auto& c = world_.comm().traffic();
            j["comm"] = {{"bytes", c.bytes}, {"calls", c.calls}, {"seconds_beside_backward", c.beside}, {"seconds_waited_for_it", c.waited}};
        }
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
        const Scores s = score_split(*model_, config_, data_.val, val_items_, bank_, *val_pictures_, config_.eval.shortlist, true, world_.comm());
        const float lambda = config_.eval.lambda >= 0 ? config_.eval.lambda : choose_lambda(s);
        auto r = report(s, "val", data_.val.identities, lambda);
        const auto& best_stage = r["t2i"].contains("fused") ? r["t2i"]["fused"] : r["t2i"]["global"];
        const double mAP = best_stage["mAP"];
        if (world_.first()) {
            events_->scalar("val/R1", best_stage["R1"].get<float>(), state_.step);
            events_->scalar("val/mAP", float(mAP), state_.step);
            point("val R@1", best_stage["R1"]);
            r["step"] = state_.step;
            metrics_->write(r);
        }
        if (mAP <= state_.best) return table(r);
        state_.best = mAP, state_.best_epoch = epoch, state_.lambda = lambda;
        save("best.safetensors", true);
        return table(r);
    }

    const TrainOptions& options_;
    World& world_;
    Config config_;
    Dataset data_;
    TextBank bank_;
    eng::Arena weights_;
    std::unique_ptr<Pictures> train_pictures_, val_pictures_;
    std::vector<TextItem> items_, val_items_;
    std::unique_ptr<Scvd> model_;
    std::unique_ptr<eng::AdamW> optimizer_;
    std::unique_ptr<eng::Buckets> buckets_;
    RunState state_;
    bool stopping_ = false;
    std::unique_ptr<JsonLines> metrics_;
    std::unique_ptr<EventWriter> events_;
    std::vector<Series> curves_;
};

}  // namespace

double schedule_factor(const Schedule& s, std::int64_t step) {
    if (s.hold) step -= step % s.hold;
    // What is held is the rate of an epoch's start; what moves is that of an update's end, so that the warm-up's last has all of it.
    if (step < s.warmup) return 0.1 + 0.9 * double(s.hold ? step : step + 1) / double(s.warmup);
    const double done = double(step - s.warmup) / double(std::max<std::int64_t>(1, s.total - s.warmup));
    if (s.shape == "cosine") return 0.5 * (1 + std::cos(3.14159265358979 * done));
    const double all = double(step) / double(s.total);
    return all < 0.625 ? 1 : all < 0.875 ? 0.1 : 0.01;
}

void train(const TrainOptions& o) {
    World alone;
    train(o, alone);
}

void train(const TrainOptions& o, World& world) {
    o.config.check();  // what is wrong is said before anything is read or made
    ENG_CHECK(o.stop_after >= 0, "train", "--stop-after ", o.stop_after, ", want at least 1, or 0 for the end");
    eng::Tape::check_numerics = o.check_numerics;
    stop_when_asked();
    Run(o, world).go();
}

}  // namespace scvd
