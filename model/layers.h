#pragma once
// The few layers everything is made of. A layer declares its parameters where it is built, under the open Scopes, and
// is then a function of tensors.
#include "ops/ops.h"

namespace scvd {

using eng::Init;
using eng::Param;
using eng::ParamGroup;
using eng::ParamStore;
using eng::Scope;
using eng::Seqs;
using eng::Shape;
using eng::Tensor;

// Where parameters are declared and which learning-rate group they join.
struct Declare {
    ParamStore& store;
    ParamGroup group;
    Param* matrix(const std::string& name, Shape s, Init i) const { return store.add(name, s, i, group, true); }
    Param* vector(const std::string& name, Shape s, Init i) const { return store.add(name, s, i, group, false); }  // no decay
};

struct Linear {
    Param *weight, *bias;
    Linear(const Declare& d, const std::string& name, int in, int out, Init start)
        : weight(d.matrix(name + ".weight", {out, in}, start)), bias(d.vector(name + ".bias", {out}, Init::zeros())) {}
    Tensor operator()(const Tensor& x, const Tensor& residual = {}) const { return eng::linear(x, weight->use(), bias->use(), residual); }
};

struct LayerNorm {
    Param *weight, *bias;
    LayerNorm(const Declare& d, const std::string& name, int dim)
        : weight(d.vector(name + ".weight", {dim}, Init::ones())), bias(d.vector(name + ".bias", {dim}, Init::zeros())) {}
    Tensor operator()(const Tensor& x) const { return eng::layer_norm(x, weight->use(), bias->use()); }
};

// Multi-head self-attention with CLIP's parameter names: attn.in_proj_weight [3d,d], attn.out_proj.weight [d,d].
struct SelfAttention {
    int heads;
    Param *in_weight, *in_bias;
    Linear out_proj;
    SelfAttention(const Declare& d, const std::string& name, int dim, int heads_, Init in_start, Init out_start)
        : heads(heads_),
          in_weight(d.matrix(name + ".in_proj_weight", {3 * dim, dim}, in_start)),
          in_bias(d.vector(name + ".in_proj_bias", {3 * dim}, Init::zeros())),
          out_proj(d, name + ".out_proj", dim, dim, out_start) {}
    Tensor operator()(const Tensor& x, const Seqs& seqs, bool causal, const Tensor& residual = {}) const {
        const Tensor qkv = eng::linear(x, in_weight->use(), in_bias->use());
        return out_proj(eng::self_attention(qkv, seqs, heads, causal), residual);
    }
};

struct FeedForward {
    Linear up, down;
    FeedForward(const Declare& d, const std::string& first, const std::string& second, int dim, int hidden, Init up_start, Init down_start)
        : up(d, first, dim, hidden, up_start), down(d, second, hidden, dim, down_start) {}
    Tensor operator()(const Tensor& x, const Tensor& residual = {}) const {
        return eng::mlp(x, up.weight->use(), up.bias->use(), down.weight->use(), down.bias->use(), residual);
    }
};

}  // namespace scvd
