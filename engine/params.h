#pragma once
// Parameters live in flat buffers, one per kind: master (the truth, touched by the optimizer only), compute (what
// kernels read: a bf16 copy, or the master itself), grad. One optimizer launch, one all-reduce and one
// checkpoint write walk the whole model.
#include <deque>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace eng {

// How a parameter starts. Values come from Philox keyed by the parameter's name.
struct Init {
    enum class Kind : std::uint8_t { constant, normal, identity } kind = Kind::constant;
    double value = 0;  // the constant, the standard deviation, or the diagonal
    static Init zeros() { return {}; }
    static Init ones() { return {Kind::constant, 1}; }
    static Init constant(double v) { return {Kind::constant, v}; }
    static Init normal(double std) { return {Kind::normal, std}; }
    static Init identity() { return {Kind::identity, 1}; }  // [n d, d]: n identity matrices on top of each other
};

enum class ParamGroup : std::uint8_t { clip, head };  // pretrained encoders | new modules (own learning rate)

struct Param {  // one trainable tensor
    std::string name;
    Shape shape;
    Init init;
    ParamGroup group = ParamGroup::clip;
    bool decay = true;           // false for biases, norms, class and position embeddings
    std::int64_t offset = 0;     // of the first element in the flat buffers
    bool spent = false;          // the optimizer has taken the gradient: what comes next overwrites it, so that nobody sets it to zero
    Tensor master, compute, grad;
    static inline thread_local std::vector<Param*>* used = nullptr;  // where use() notes itself, when somebody wants to know
    Tensor use() {
        if (used) used->push_back(this);
        Tensor t = compute;
        t.param = this;
        return t;
    }
};

class ParamStore {
public:
    // f32 masters with f32 or bf16 compute, or f64 throughout (gradient checks).
    ParamStore(Arena& arena, DType compute) : arena_(arena), compute_(compute) {}

    // Declares a parameter named by the open Scopes plus `name`. The pointer stays valid.
    Param* add(const std::string& name, Shape shape, Init init, ParamGroup group, bool decay);
    // Allocates the flat buffers and draws every start value. Call once, after the model is built.
    void finalize(std::uint64_t seed);
    void zero_grad();
    void refresh_compute();  // compute <- master, after a load
    // Keeps elements [first, first + n) of the masters alone; other ranks keep the rest. Only where kernels read a copy (bf16).
    void keep_masters(std::int64_t first, std::int64_t n);

    std::deque<Param>& all() { return params_; }
    const std::deque<Param>& all() const { return params_; }
    Param* find(const std::string& name);
    std::int64_t numel() const;  // of the parameters themselves
    DType compute_dtype() const { return compute_; }
    DType master_dtype() const { return stats_dtype(compute_); }
    Tensor master, compute, grad;  // flat, [padded]; slices are 256-byte aligned, the padding is zero. master: see keep_masters()

private:
    Arena& arena_;
    DType compute_;
    std::deque<Param> params_;
};

}  // namespace eng
