#include "ops/optimizer.h"

#include <cmath>

#include "engine/transfer.h"
#include "ops/host.h"

namespace eng {

AdamW::AdamW(ParamStore& params, Arena& arena, const AdamWOptions& options) : params_(params), options_(options) {
    m = params.master.like();
    v = m.like();
    fill_zero(m), fill_zero(v);
    if (options.ema > 0) ema = m.like(), copy(ema, params.master);
    const std::int64_t n = std::int64_t(params.all().size());
    lr_ = Tensor(arena, {n}, DType::f32);
    decay_ = lr_.like();
    scalars_ = Tensor(arena, {3}, params.master_dtype());
    std::vector<std::int32_t> ends;  // a parameter's padding belongs to it: zero gradient, zero value
    for (std::int64_t i = 0; i < n; ++i)
        ends.push_back(std::int32_t(i + 1 < n ? params.all()[i + 1].offset : params.master.numel()));
    ends_ = indices(arena, ends);
}

double AdamW::grad_norm() const {
    Tensor sq = params_.grad.like({1});
    run_dot(sq.device(), {in(params_.grad), in(params_.grad), out(sq)});
    return std::sqrt(first_element(sq));
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
    run_adamw(d, {out(params_.master), out(params_.compute), out(params_.grad), out(m), out(v), in(lr_), in(decay_), in(ends_),
                  in(scalars_), options_.beta1, options_.beta2, options_.eps, options_.l2});
    if (!ema.defined()) return;
    run_scale(d, {in(ema), out(ema), options_.ema});
    run_scale(d, {in(params_.master), Out{in(ema), Mode::accumulate}, 1 - double(options_.ema)});
}

}  // namespace eng
