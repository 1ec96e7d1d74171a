#include "engine/tape.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "engine/transfer.h"

namespace eng {
namespace {

struct Range {
    double lo = std::numeric_limits<double>::infinity(), hi = -lo;
    std::int64_t nan = 0, inf = 0;
};

Range scan(const Tensor& t) {
    Range r;
    for (const double v : download_wide(t))
        if (std::isnan(v)) ++r.nan;
        else if (std::isinf(v)) ++r.inf;
        else r.lo = std::min(r.lo, v), r.hi = std::max(r.hi, v);
    return r;
}
bool is_float(const Tensor& t) { return t.defined() && t.dtype() != DType::i32 && t.dtype() != DType::u8; }

// For messages: "[2,3] -1 .. 4.5, 2 NaN, 0 inf".
std::string range_of(const Tensor& t) {
    const Range r = scan(t);
    std::ostringstream os;
    os << t.shape() << " " << r.lo << " .. " << r.hi;
    if (r.nan || r.inf) os << ", " << r.nan << " NaN, " << r.inf << " inf";
    return os.str();
}

}  // namespace

bool all_finite(const Tensor& t) {
    const Range r = scan(t);
    return r.nan + r.inf == 0;
}

void Tape::check_forward(const char* op, const std::vector<Tensor>& in, const Tensor& out) {
    if (!is_float(out) || all_finite(out)) return;
    std::ostringstream os;
    for (const Tensor& t : in)
        if (is_float(t)) os << "  input " << range_of(t);
    fail(op, "the first output that is not finite: ", range_of(out), ";", os.str());
}

void Tape::check_backward(const Node& n) {
    for (std::size_t i = 0; i < n.in.size(); ++i) {
        const Tensor g = n.in[i].param ? n.in[i].param->grad : n.in[i].value >= 0 ? grads_[n.in[i].value] : Tensor{};
        if (g.defined() && !all_finite(g))
            fail(n.op, "the first gradient that is not finite: input ", i, " ", range_of(g), "  [in ", n.scope, "]");
    }
}

std::size_t Tape::saved_bytes() const {
    std::size_t n = 0;
    for (const auto& [scope, bytes] : saved_bytes_by_scope()) n += bytes;
    return n;
}

// A tensor saved by several nodes is charged to the first of them.
std::map<std::string, std::size_t> Tape::saved_bytes_by_scope() const {
    std::set<const void*> seen;
    std::map<std::string, std::size_t> bytes;
    for (const Node& n : nodes_)
        for (const Tensor& t : n.saved)
            if (t.defined() && !t.param && seen.insert(t.raw()).second) bytes[n.scope] += t.bytes();
    return bytes;
}

Grad Backward::grad(int i) const {
    if (!needs(i)) return {};
    const Route& in = node_.in[i];
    if (std::ranges::any_of(tape_.put_off_.to, [&](const Route& r) { return r.param == in.param && r.value == in.value; })) tape_.finish_put_off();
    if (in.param) return {in.param->grad.view(in.shape), std::exchange(in.param->spent, false) ? Mode::write : Mode::accumulate};
    Tensor& slot = tape_.grads_[in.value];
    if (slot.defined()) return {slot.view(in.shape), Mode::accumulate};
    slot = Tensor(*in.arena, in.shape, in.dtype);
    return {slot, Mode::write};
}

bool Backward::hand_over(int i, const Tensor& g) const {
    const Route& in = node_.in[i];
    if (in.value < 0 || tape_.grads_[in.value].defined() || in.dtype != g.dtype() || !g.sole()) return false;
    tape_.grads_[in.value] = g.view(in.shape).detach();
    return true;
}

bool Backward::may_put_off(std::initializer_list<int> inputs) const {
    const auto waits = [&](int i) { return needs(i) && !node_.in[i].param && !tape_.leaves_.contains(node_.in[i].value); };
    return !Tape::check_numerics && std::ranges::none_of(inputs, waits);
}

void Backward::put_off(std::initializer_list<int> inputs, std::any work, void (*finish)(std::any&)) const {
    ENG_CHECK(!tape_.put_off_.work.has_value(), "backward", "two gradients put off at once");
    tape_.put_off_ = {std::move(work), finish, {}, &node_, {}};
    for (const int i : inputs) tape_.put_off_.to.push_back(node_.in[i]);
}

std::any Tape::end_put_off() {
    made_.insert(made_.end(), put_off_.params.begin(), put_off_.params.end());
    return std::exchange(put_off_, {}).work;
}

void Tape::finish_put_off() {
    const auto finish = put_off_.finish;
    if (std::any work = end_put_off(); work.has_value()) finish(work);
}

namespace {

template <class F> void each_param(const Node& n, F&& f) {
    for (const Route& r : n.in)
        if (r.param) f(r.param);
    for (Param* p : n.hidden) f(p);
}

// How many nodes may still add to each parameter's gradient.
class Countdown {
public:
    Countdown(const std::vector<Node>& nodes, const std::function<void(Param&)>& when_final) : when_final_(when_final) {
        if (when_final_)
            for (const Node& n : nodes) each_param(n, [&](Param* p) { ++left_[p]; });
    }
    void done(Param* p) {
        if (when_final_ && --left_[p] == 0) when_final_(*p);
    }

private:
    const std::function<void(Param&)>& when_final_;
    std::unordered_map<const Param*, int> left_;
};

}  // namespace

std::set<const Param*> Tape::params() const {
    std::set<const Param*> all;
    for (const Node& n : nodes_) each_param(n, [&](Param* p) { all.insert(p); });
    return all;
}

void Tape::backward(const Tensor& root, const Tensor& seed, const std::function<void(Param&)>& when_final) {
    ENG_CHECK(root.value >= 0, "backward", "the loss was not recorded on this tape");
    ENG_CHECK(seed.numel() == root.numel(), "backward", "a seed of ", seed.shape(), " for a root of ", root.shape());
    grads_[root.value] = seed;
    Countdown countdown(nodes_, when_final);
    while (!nodes_.empty()) {
        Node n = std::move(nodes_.back());  // moved out: saved tensors free as soon as the rule returns
        nodes_.pop_back();
        Tensor g = std::exchange(grads_[n.out], {});
        if (g.defined()) {  // else nothing downstream asked for it
            Backward b(*this, n, g.view(n.out_shape));
            g = {};
            if (n.thunk) finish_put_off(), n.thunk(b);
            else n.fn(b);
            if (check_numerics) check_backward(n);
        }
        const bool puts_off = std::exchange(put_off_.by, nullptr) == &n;
        each_param(n, [&](Param* p) {
            const bool later = puts_off && std::ranges::any_of(put_off_.to, [&](const Route& r) { return r.param == p; });
            later ? put_off_.params.push_back(p) : countdown.done(p);
        });
        for (Param* p : std::exchange(made_, {})) countdown.done(p);
    }
    finish_put_off();
    for (Param* p : std::exchange(made_, {})) countdown.done(p);
}

}  // namespace eng
