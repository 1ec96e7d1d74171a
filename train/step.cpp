#include "train/step.h"

#include <fmt/format.h>

#include "engine/transfer.h"
#include "ops/provider.h"

namespace scvd {
namespace {

constexpr int kLosses = 8;  // at most: the total and its parts

void print_memory(const eng::Tape& tape, const eng::Arena& memory) {
    fmt::print("kept for backward, by scope:\n");
    for (const auto& [scope, bytes] : tape.saved_bytes_by_scope()) fmt::print("  {:>10.2f} MB  {}\n", double(bytes) / 1e6, scope);
    fmt::print("  {:>10.2f} MB  in all; step memory now {:.2f} MB\n", double(tape.saved_bytes()) / 1e6, double(memory.in_use()) / 1e6);
}

}  // namespace

Step::Step(const Config& c, Scvd& model, const TextBank& bank, eng::Comm& comm, eng::Buckets& buckets, eng::AdamW& optimizer)
    : config_(c), model_(model), bank_(bank), comm_(comm), buckets_(buckets), optimizer_(optimizer), graph_(memory_) {
    const eng::DType dtype = eng::stats_dtype(dtype_named(c.model.dtype));
    seed_ = eng::upload_as(sent_memory_, {1}, {1.0 / double(c.train.accumulate)}, dtype);
    sums_ = seed_.like(eng::Shape{kLosses});
    eng::fill_zero(sums_);
}

std::string Step::Inputs::sizes() const {
    return fmt::format("{} pairs, {} texts of up to {}, {} tokens, {} lists of up to {}, {} prompts", pairs, texts.seqs.count, texts.seqs.max_len, texts.seqs.total,
                       texts.prompts.count, texts.prompts.max_len, texts.prompts.total);
}

// Ranks ask each other in the middle of a step; checks look at every tensor on the host.
bool Step::recordable() const {
    return config_.train.graph && memory_.device() == eng::Device::cuda && comm_.alone() && !eng::Tape::check_numerics &&
           eng::conv_provider == eng::Provider::scvd && eng::attention_provider == eng::Provider::scvd;
}

void Step::send(const HostBatch& host) {
    const auto& im = config_.model.image;
    const auto& sd = config_.sd;
    const std::int64_t n = std::int64_t(host.texts.size());
    sent_.pairs = n;
    sent_.pixels = eng::upload(sent_memory_, {n, im.height, im.width, 3}, host.pixels);
    sent_.augment = eng::indices(sent_memory_, host.augment).view({n, 8});
    sent_.labels = eng::indices(sent_memory_, host.labels);
    sent_.texts = make_text_batch(sent_memory_, bank_, host.texts, {sd.slots, sd.prompt_dropout, sd.neutral, std::uint64_t(config_.train.seed), host.readings}, recordable());
}

void Step::run(bool last) {
    // Into the step's memory, which is empty: the same sizes find the same addresses, as a recorded step needs them.
    Inputs now = std::exchange(sent_, {});
    memory_.begin_step(now.pairs);
    now.each([&](Tensor& t) {
        const Tensor here(memory_, t.shape(), t.dtype());
        eng::copy(here, t);
        t = here;
    });
    if (recordable() && !report_) graph_.run(now.sizes() + (last ? ", with the optimizer" : ""), [&] { enqueue(now, last); });
    else enqueue(now, last);
    now = {};
    ENG_CHECK(memory_.in_use() == 0, "train", memory_.in_use(), " bytes of step memory were not given back");
}

void Step::enqueue(const Inputs& in, bool last) {
    eng::Tape tape;
    eng::Recording on(&tape);
    const LossParts loss = model_.loss(in.pixels, in.augment, in.texts, BatchShare(in.labels, comm_));
    names_ = {"loss"};
    const auto note = [&](const Tensor& value) {
        eng::Recording off(nullptr);
        const Tensor sum = sums_.slice(std::int64_t(names_.size()) - 1, 1);
        eng::copy(sum, eng::add(eng::scale(value.detach(), 1.0 / double(config_.train.accumulate)), sum));
    };
    note(loss.total);
    for (const auto& [name, value] : loss.parts) names_.push_back(name), note(value);
    if (std::exchange(report_, false)) print_memory(tape, memory_);
    if (last) buckets_.begin(tape);
    const auto final = [&](eng::Param& p) { buckets_.final(p); };
    tape.backward(loss.total, seed_, last ? std::function<void(eng::Param&)>(final) : nullptr);
    if (!last) return;
    buckets_.finish();
    optimizer_.apply();
    if (config_.train.accumulate > 1 && recordable()) model_.params().zero_grad();  // not merely spent: whichever part is replayed adds to what it finds
}

LossValues Step::take_losses() {
    const auto sums = eng::download_wide(sums_);
    eng::fill_zero(sums_);
    LossValues values;
    for (std::size_t i = 0; i < names_.size(); ++i) values.push_back({names_[i], sums[i]});
    return values;
}

}  // namespace scvd
