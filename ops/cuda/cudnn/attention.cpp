// Attention over packed sequences through cuDNN's graph API, spoken through NVIDIA's cudnn-frontend (headers only).
//
//      q, k, v, y   [B, H, longest, D] over rows where sequence b starts offset[b] elements in; lengths on the device
//      lse          [B, H, longest] over our [rows of y, H]: each kernel pair reads what the other wrote
//
// Plans        cuDNN plans once per number of sequences and longest lengths (rounded up to 64); a plan is kept for good.
// Numerics     bf16 in and out, f32 softmax and sums. Determinism: cuDNN's deterministic backward.
// Limits       takes() below; lse of packed sequences needs Hopper or later, as cuDNN says itself where it is older.
#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING  // from the library that library() loaded
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

#include <array>
#include <map>

#include "ops/cuda/cudnn.h"
#include "ops/cuda/cudnn/library.h"
#include "ops/cuda/ragged.h"
#include "ops/provider.h"

namespace cudnn_frontend { void* cudnn_dlhandle = nullptr; }

namespace eng::cuda::cudnn {
namespace {

namespace fe = cudnn_frontend;
using Attributes = fe::graph::Tensor_attributes;
using TensorPtr = std::shared_ptr<Attributes>;

// Names of tensors in a graph; a tensor's row offsets have its name plus kOffsets.
enum Uid : std::int64_t { kQ = 1, kK, kV, kY, kLse, kDy, kDq, kDk, kDv, kTensors, kLenQ = kTensors, kLenK, kOffsets = 16 };

struct Shape {
    std::int64_t batch, heads, width, max_q, max_k;
    bool causal;
    float scale;
    std::array<std::int64_t, kTensors> pitch;  // of each tensor's rows
    auto operator<=>(const Shape&) const = default;
};
template <class Args> Shape shape_of(const Args& a) {
    const auto up = [](std::int64_t n) { return (n + 63) / 64 * 64; };
    Shape s{a.seqs.q_begin.numel(), a.heads, a.q.cols / a.heads, up(a.seqs.max_q), up(a.seqs.max_k), a.causal, float(a.scale), {}};
    s.pitch[kQ] = a.q.pitch, s.pitch[kK] = a.k.pitch, s.pitch[kV] = a.v.pitch, s.pitch[kY] = a.y.pitch, s.pitch[kLse] = a.heads;
    return s;
}
Shape shape_of_backward(const AttentionBwd& a) {
    Shape s = shape_of(a);
    s.pitch[kDy] = a.dy.pitch, s.pitch[kDq] = a.dq.pitch, s.pitch[kDk] = a.dk.pitch, s.pitch[kDv] = a.dv.pitch;
    return s;
}
bool of_keys(int uid) { return uid == kK || uid == kV || uid == kDk || uid == kDv; }

struct Plan {
    fe::graph::Graph graph;
    std::int64_t workspace = 0;

    Plan() {  // nodes take these with them when they are added
        graph.set_io_data_type(fe::DataType_t::BFLOAT16).set_intermediate_data_type(fe::DataType_t::FLOAT).set_compute_data_type(fe::DataType_t::FLOAT);
    }
    TensorPtr vector(std::int64_t uid, std::int64_t n) {
        return graph.tensor(Attributes().set_uid(uid).set_dim({n, 1, 1, 1}).set_stride({1, 1, 1, 1}).set_data_type(fe::DataType_t::INT32));
    }
    void describe(Attributes& t, int uid, const Shape& s) {
        const std::int64_t rows = of_keys(uid) ? s.max_k : s.max_q, pitch = s.pitch[std::size_t(uid)];
        const bool lse = uid == kLse;
        t.set_uid(uid).set_dim({s.batch, s.heads, rows, lse ? 1 : s.width}).set_stride({rows * pitch, lse ? 1 : s.width, pitch, 1});
        t.set_ragged_offset(vector(uid + kOffsets, s.batch + 1)).set_data_type(lse ? fe::DataType_t::FLOAT : fe::DataType_t::BFLOAT16);
    }
    TensorPtr input(int uid, const Shape& s) {
        Attributes t;
        describe(t, uid, s);
        return graph.tensor(t);
    }
    void output(const TensorPtr& t, int uid, const Shape& s) {
        describe(*t, uid, s);
        t->set_output(true);
    }
    template <class Options> Options options(const Shape& s) {
        Options o;
        o.set_attn_scale(s.scale).set_causal_mask(s.causal).set_padding_mask(true);
        o.set_seq_len_q(vector(kLenQ, s.batch)).set_seq_len_kv(vector(kLenK, s.batch));
        return o;
    }
    static void check(fe::error_t e) { ENG_CHECK(e.is_good(), "cudnn", "attention: ", e.get_message()); }
    void build() {
        check(graph.build(handle(), {fe::HeurMode_t::A}));
        check(graph.get_workspace_size(workspace));
    }
};

void make_forward(Plan& p, const Shape& s) {
    auto [y, lse] = p.graph.sdpa(p.input(kQ, s), p.input(kK, s), p.input(kV, s), p.options<fe::graph::SDPA_attributes>(s).set_generate_stats(true));
    p.output(y, kY, s), p.output(lse, kLse, s);
}
void make_backward(Plan& p, const Shape& s) {
    auto [dq, dk, dv] = p.graph.sdpa_backward(p.input(kQ, s), p.input(kK, s), p.input(kV, s), p.input(kY, s), p.input(kDy, s), p.input(kLse, s),
                                              p.options<fe::graph::SDPA_backward_attributes>(s).set_deterministic_algorithm(true));
    p.output(dq, kDq, s), p.output(dk, kDk, s), p.output(dv, kDv, s);
}

template <class Make> const Plan& plan_for(std::map<Shape, std::unique_ptr<Plan>>& known, const Shape& s, Make&& make) {
    std::unique_ptr<Plan>& p = known[s];
    if (p) return *p;
    require_cudnn_attention();
    try {
        auto made = std::make_unique<Plan>();
        make(*made, s);
        made->build();
        p = std::move(made);
    } catch (const std::runtime_error& e) {  // what cudnn-frontend could not load
        if (dynamic_cast<const Error*>(&e)) throw;
        fail("cudnn", "attention: ", e.what());
    }
    return *p;
}

// Runs a plan on tensors {uid, address}; offsets into each are made on the device.
void execute(const Plan& p, const Shape& s, const AttentionSeqs& seqs, std::initializer_list<std::pair<int, void*>> tensors) {
    std::unordered_map<std::int64_t, void*> pointers{{kLenQ, seqs.q_len.p}, {kLenK, seqs.k_len.p}};
    const Scratch offsets(tensors.size() * std::size_t(s.batch + 1) * sizeof(std::int32_t));
    auto* at = offsets.as<std::int32_t>();
    for (const auto& [uid, address] : tensors) {
        const View& begin = of_keys(uid) ? seqs.k_begin : uid == kQ || uid == kDq ? seqs.q_begin : seqs.o_begin;
        ragged_offsets(begin, of_keys(uid) ? seqs.k_len : seqs.q_len, s.pitch[std::size_t(uid)], at);
        pointers[uid] = address, pointers[uid + kOffsets] = at;
        at += s.batch + 1;
    }
    const Scratch workspace{std::size_t(p.workspace)};
    Plan::check(p.graph.execute(handle(), pointers, workspace.as<void>()));
}

std::map<Shape, std::unique_ptr<Plan>> forward_plans, backward_plans;

bool takes(const AttentionSeqs& seqs, int heads, std::initializer_list<const View*> views) {
    if (seqs.shared || !seqs.max_q || !seqs.max_k || !seqs.q_begin.numel()) return false;
    for (const View* v : views) {
        const std::int64_t width = v->cols / heads;
        if (v->dtype != DType::bf16 || width % 8 || width > 128 || v->pitch % 8 || reinterpret_cast<std::uintptr_t>(v->p) % 16) return false;
        if (v->rows * v->pitch >= std::int64_t(1) << 31) return false;  // offsets are i32
    }
    return true;
}

}  // namespace

bool takes(const AttentionFwd& a) { return takes(a.seqs, a.heads, {&a.q, &a.k, &a.v, &a.y}); }
bool takes(const AttentionBwd& a) {
    for (const Out* o : {&a.dq, &a.dk, &a.dv})
        if (o->mode != Mode::write) return false;
    return takes(a.seqs, a.heads, {&a.q, &a.k, &a.v, &a.y, &a.dy, &a.dq, &a.dk, &a.dv});
}

void attention_forward(const AttentionFwd& a) {
    const Shape s = shape_of(a);
    execute(plan_for(forward_plans, s, make_forward), s, a.seqs, {{kQ, a.q.p}, {kK, a.k.p}, {kV, a.v.p}, {kY, a.y.p}, {kLse, a.lse.p}});
}
void attention_backward(const AttentionBwd& a) {
    const Shape s = shape_of_backward(a);
    execute(plan_for(backward_plans, s, make_backward), s, a.seqs,
            {{kQ, a.q.p}, {kK, a.k.p}, {kV, a.v.p}, {kY, a.y.p}, {kLse, a.lse.p}, {kDy, a.dy.p}, {kDq, a.dq.p}, {kDk, a.dk.p}, {kDv, a.dv.p}});
}

}  // namespace eng::cuda::cudnn

namespace eng::cuda {
void require_cudnn_attention() { cudnn_frontend::cudnn_dlhandle = cudnn::library().handle; }
}  // namespace eng::cuda
