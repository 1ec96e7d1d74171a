#include "ops/optimizer.h"

#include <algorithm>
#include <cmath>

#include "engine/transfer.h"
#include "ops/host.h"

namespace eng {

AdamW::AdamW(ParamStore& params, Arena& arena, const AdamWOptions& options, Comm* comm)
    : params_(params), options_(options), comm_(comm && !comm->alone() ? comm : nullptr) {
    constexpr std::int64_t align = 128;  // elements, as of parameters: kernels load whole vectors
    slices_ = shares_of(params.grad.numel() / align, comm_ ? comm_->size() : 1);
    for (auto& n : slices_) n *= align;
    const int rank = comm_ ? comm_->rank() : 0;
    for (int r = 0; r < rank; ++r) first_ += slices_[r];
    m = Tensor(arena, {slices_[rank]}, params.master_dtype());
    v = m.like();
    fill_zero(m), fill_zero(v);
    if (options.ema > 0) ema = m.like(), copy(ema, master());
    const std::int64_t n = std::int64_t(params.all().size());
    lr_ = Tensor(arena, {n}, DType::f32);
    decay_ = lr_.like();
    scalars_ = Tensor(arena, {3}, params.master_dtype());
    if (options.clip_norm > 0) sum_of_squares_ = Tensor(arena, {1}, params.grad.dtype());
    std::vector<std::int32_t> ends;  // a parameter's padding belongs to it: zero gradient, zero value
    for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t end = i + 1 < n ? params.all()[i + 1].offset : params.grad.numel();
        ends.push_back(std::int32_t(std::clamp<std::int64_t>(end - first_, 0, m.numel())));  // in the slice
    }
    ends_ = indices(arena, ends);
}

void AdamW::prepare(float clip_lr, float head_lr, float grad_scale) {
    std::vector<float> lr, decay;
    for (const Param& p : params_.all()) {
        const bool decays = options_.biases_only ? p.name.find("bias") == p.name.npos : p.decay;
        lr.push_back((p.group == ParamGroup::clip ? clip_lr : head_lr) * (decays ? 1.f : options_.bias_lr));
        decay.push_back(decays ? options_.weight_decay : 0.f);
    }
    write_host(lr_, lr.data()), write_host(decay_, decay.data());
    ++steps;
    const auto correction = [&](double beta) { return 1 / (1 - std::pow(beta, double(steps))); };
    copy(scalars_, upload_as(scalars_.arena(), {3}, {grad_scale, correction(options_.beta1), correction(options_.beta2)}, scalars_.dtype()));
}

void AdamW::apply() {
    const Device d = m.device();
    for (Param& p : params_.all())
        if (std::exchange(p.spent, !comm_)) fill_zero(p.grad);
    if (sum_of_squares_.defined()) {
        run_dot(d, {in(params_.grad), in(params_.grad), out(sum_of_squares_)});
        run_clip_scale(d, {in(sum_of_squares_), out(scalars_), options_.clip_norm});
    }
    const Tensor w = master(), compute = params_.compute.slice(first_, m.numel());
    run_adamw(d, {out(w), out(compute), out(m), out(v), in(params_.grad.slice(first_, m.numel())), in(lr_), in(decay_), in(ends_), in(scalars_),
                  options_.beta1, options_.beta2, options_.eps, options_.l2});
    if (ema.defined()) {
        run_scale(d, {in(ema), out(ema), options_.ema});
        run_scale(d, {in(w), Out{in(ema), Mode::accumulate}, 1 - double(options_.ema)});
    }
    if (!comm_) return;
    comm_->all_gather(compute, params_.compute, slices_);
    fill_zero(params_.grad);
}

void AdamW::shard_masters() {
    if (comm_ && params_.compute_dtype() != params_.master_dtype()) params_.keep_masters(first_, m.numel());
}

std::vector<std::byte> AdamW::whole(const Tensor& own) const {
    const bool mine = own.numel() == m.numel() && comm_;
    std::vector<std::byte> all(!comm_ || comm_->rank() == 0 ? std::size_t(params_.grad.numel()) * size_of(own.dtype()) : 0);
    if (!mine) {  // not cut
        if (!all.empty()) read_host(own, all.data());
        return all;
    }
    constexpr std::int64_t step = std::int64_t(1) << 22;  // elements at a time: ranks that only pass on need no room
    std::size_t at = 0;
    for (int r = 0; r < comm_->size(); ++r)
        for (std::int64_t first = 0; first < slices_[r]; first += step) {
            const std::int64_t n = std::min(step, slices_[r] - first);
            const Tensor part = r == comm_->rank() ? own.slice(first, n) : own.like({n});
            comm_->broadcast(part, r);
            if (!all.empty()) read_host(part, all.data() + at);
            at += part.bytes();
        }
    return all;
}

void AdamW::fill(const Tensor& own, const void* whole) const {
    write_host(own, static_cast<const std::byte*>(whole) + (own.numel() == m.numel() ? std::size_t(first_) * size_of(own.dtype()) : 0));
}

}  // namespace eng
