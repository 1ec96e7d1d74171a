#pragma once
// Reverse-mode tape. Nodes are appended in execution order, so walking the vector backwards is already a
// topological order: no graph search, no recursion, no visited set, and teardown is vector::clear().
// A backward rule is a plain function pointer. A lambda with captures does not convert, so the compiler
// enforces that all a rule needs sits in `saved` and `attrs`, where the memory report can see it.
#include <any>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "engine/params.h"

namespace eng {

struct Grad {  // where a rule puts the gradient of one input
    Tensor t;
    Mode mode = Mode::skip;
};

class Backward;
using BackwardFn = void (*)(Backward&);

// Where the gradient of an input goes. Holds no storage: an input stays alive only if the rule saved it.
struct Route {
    int value = -1;
    Param* param = nullptr;
    Shape shape;
    DType dtype = DType::f32;
    Arena* arena = nullptr;
    static Route of(const Tensor& t) {
        return t.defined() ? Route{t.value, t.param, t.shape(), t.dtype(), &t.arena()} : Route{};
    }
};

struct Node {
    const char* op;
    std::string scope;
    std::vector<Route> in;
    int out;
    Shape out_shape;
    std::vector<Tensor> saved;
    std::array<unsigned char, 64> attrs{};
    BackwardFn fn = nullptr;
    std::function<void(Backward&)> thunk;  // for what is no kernel: checkpoint, all_gather
    std::vector<Param*> hidden;            // parameters whose gradients the thunk adds to behind the tape's back
};

class Tape {
public:
    static inline thread_local Tape* recording = nullptr;
    static inline bool check_numerics = false;  // name the first op whose output or gradient is not finite

    // Marks t as a value whose gradient is wanted; take() returns it after backward().
    Tensor leaf(Tensor t) {
        t.value = new_value();
        t.param = nullptr;
        leaves_.insert(t.value);
        return t;
    }

    template <class A>
    Tensor record(const char* op, const std::vector<Tensor>& in, Tensor out, std::vector<Tensor> saved, const A& attrs,
                  BackwardFn fn) {
        static_assert(std::is_trivially_copyable_v<A> && sizeof(A) <= 64);
        Node n{op, scope_path(), {}, out.value = new_value(), out.shape(), std::move(saved), {}, fn, nullptr, {}};
        for (const Tensor& t : in) n.in.push_back(Route::of(t));
        std::memcpy(n.attrs.data(), &attrs, sizeof(A));
        nodes_.push_back(std::move(n));
        if (check_numerics) check_forward(op, in, out);
        return out;
    }
    Tensor record_thunk(const char* op, const std::vector<Tensor>& in, Tensor out, std::vector<Tensor> saved, std::function<void(Backward&)> f,
                        std::vector<Param*> hidden = {}) {
        Tensor r = record(op, in, std::move(out), std::move(saved), 0, nullptr);
        nodes_.back().thunk = std::move(f);
        nodes_.back().hidden = std::move(hidden);
        return r;
    }

    // Runs every rule from `root` back, freeing saved tensors as it goes. `seed` is d(loss)/d(root). `when_final` hears of
    // each parameter once, as soon as nothing that is left on the tape can add to its gradient.
    void backward(const Tensor& root, const Tensor& seed, const std::function<void(Param&)>& when_final = nullptr);
    // The gradient of a leaf, or an undefined tensor if nothing asked for it.
    Tensor take(const Tensor& leaf_tensor) { return std::exchange(grads_[leaf_tensor.value], {}); }

    std::size_t size() const { return nodes_.size(); }
    std::set<const Param*> params() const;  // that backward will add a gradient to
    std::size_t saved_bytes() const;                              // distinct storage kept for backward
    std::map<std::string, std::size_t> saved_bytes_by_scope() const;

private:
    friend class Backward;
    int new_value() {
        grads_.emplace_back();
        return int(grads_.size()) - 1;
    }
    static void check_forward(const char* op, const std::vector<Tensor>& in, const Tensor& out);
    void check_backward(const Node& n);

    std::vector<Node> nodes_;
    std::vector<Tensor> grads_;  // by value slot
    std::set<int> leaves_;
    struct PutOff {
        std::any work;
        void (*finish)(std::any&) = nullptr;
        std::vector<Route> to;
        const Node* by = nullptr;    // while its rule runs
        std::vector<Param*> params;  // that wait for it
    };
    std::any end_put_off();
    void finish_put_off();
    PutOff put_off_;
    std::vector<Param*> made_;  // whose gradients were put off, and are there now
};

// What a backward rule sees.
class Backward {
public:
    Backward(Tape& t, Node& n, Tensor g) : gout(std::move(g)), tape_(t), node_(n) {}
    const Tensor gout;  // gradient of the op's output, in the output's shape
    const Tensor& saved(int i) const { return node_.saved[i]; }
    int inputs() const { return int(node_.in.size()); }
    template <class A> A attrs() const {
        A a;
        std::memcpy(&a, node_.attrs.data(), sizeof(A));
        return a;
    }
    bool needs(int i) const { return node_.in[i].value >= 0 || node_.in[i].param; }
    // Where input i's gradient goes. The first contribution to a slot, or to a parameter since the last update, writes, later ones
    // accumulate; nobody zero-fills. Ask once per input and rule.
    Grad grad(int i) const;
    // Input i's gradient is g, gout or a tensor that the rule has made: lets it have g's memory. The last that a rule does with g. False,
    // and nothing done, if there is a gradient to add to or somebody else holds the memory.
    bool hand_over(int i, const Tensor& g) const;
    // Gradients that no rule waits for may be made later, by a rule that takes their work along, or by `finish`: when a rule asks for one
    // of them, before a thunk, or when all are done. One work at a time, which holds what it reads.
    bool may_put_off(std::initializer_list<int> inputs) const;  // those that need one are parameters or leaves, no rule's output
    void put_off(std::initializer_list<int> inputs, std::any work, void (*finish)(std::any&)) const;
    std::any take_put_off() const { return tape_.end_put_off(); }  // empty if there is none

private:
    Tape& tape_;
    Node& node_;
};

struct Recording {  // RAII: record ops on `t`; nullptr for no gradients
    explicit Recording(Tape* t) : prev(std::exchange(Tape::recording, t)) {}
    ~Recording() { Tape::recording = prev; }
    Recording(const Recording&) = delete;
    Recording& operator=(const Recording&) = delete;
    Tape* prev;
};

inline bool wants_grad(std::initializer_list<const Tensor*> in) {
    if (!Tape::recording) return false;
    for (auto* t : in)
        if (t->defined() && (t->value >= 0 || t->param)) return true;
    return false;
}

bool all_finite(const Tensor& t);

}  // namespace eng
