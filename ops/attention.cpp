// Multi-head attention over sequences: self and cross, causal or not, uniform, ragged or paired - one kernel pair.

#include "ops/host.h"

namespace eng {

namespace {

struct Attrs {
    int heads;
    double scale;
    bool causal, shared;
    int max_q, max_k;
    std::int64_t k_rows;
};

AttentionSeqs args_of(const Seqs& q, const Seqs& k) {
    return {in(q.begin), in(q.len), in(q.out), in(k.begin), in(k.len), q.shared || k.shared, q.max_len, k.max_len, k.total};
}
Attrs attrs_of(const Seqs& q, const Seqs& k, int heads, double scale, bool causal) {
    return {heads, scale, causal, q.shared || k.shared, q.max_len, k.max_len, k.total};
}

// Of sequences that the host knows; those made on the device name rows of ones that it knew.
void check_rows(const char* op, const Seqs& s, std::int64_t rows, const char* side) {
    for (std::size_t i = 0; i < s.host_len.size(); ++i)
        ENG_CHECK(s.host_len[i] > 0 && s.host_begin[i] >= 0 && s.host_begin[i] + s.host_len[i] <= rows, op, side,
                  " sequence ", i, " has rows ", s.host_begin[i], " to ", s.host_begin[i] + s.host_len[i], " of ", rows);
}

// The views a backward rule rebuilds from five saved tensors: begin, len and packed output rows of the queries, begin and len of the keys.
AttentionSeqs saved_seqs(const Backward& b, int first, const Attrs& at) {
    return {in(b.saved(first)), in(b.saved(first + 1)), in(b.saved(first + 2)), in(b.saved(first + 3)), in(b.saved(first + 4)), at.shared, at.max_q, at.max_k, at.k_rows};
}

}  // namespace

Tensor self_attention(const Tensor& qkv, const Seqs& s, int heads, bool causal) {
    const std::int64_t C = qkv.cols() / 3;
    ENG_CHECK(qkv.cols() % 3 == 0 && heads > 0 && C % heads == 0, "self_attention", "qkv ", qkv.shape(), " with ", heads, " heads");
    ENG_CHECK(!s.shared && s.total == qkv.rows(), "self_attention", s.total, " rows in sequences of ", qkv.shape());
    check_rows("self_attention", s, qkv.rows(), "a");
    const Attrs at = attrs_of(s, s, heads, score_scale(C, heads), causal);
    const Tensor y = qkv.like(Shape{s.total, C}), lse = qkv.like(Shape{s.total, heads}, stats_dtype(qkv.dtype()));
    const View v = in(qkv);
    run_attention_forward(qkv.device(), {columns(v, 0, C), columns(v, C, C), columns(v, 2 * C, C), args_of(s, s), out(y), out(lse), heads, at.scale, causal});
    if (!wants_grad({&qkv})) return y;
    return Tape::recording->record("self_attention", {qkv}, y, {qkv, y, lse, s.begin, s.len, s.out, s.begin, s.len}, at, [](Backward& b) {
        const Attrs at = b.attrs<Attrs>();
        const View v = in(b.saved(0));
        const std::int64_t C = v.cols / 3;
        const Out d = out(b.grad(0));
        run_attention_backward(b.gout.device(), {in(b.gout), columns(v, 0, C), columns(v, C, C), columns(v, 2 * C, C), in(b.saved(1)), in(b.saved(2)),
                                                 saved_seqs(b, 3, at), columns(d, 0, C), columns(d, C, C), columns(d, 2 * C, C), at.heads, at.scale, at.causal});
    });
}

static void check_cross(const char* op, const Tensor& q, const Tensor& kv, const Seqs& qs, const Seqs& ks, int heads) {
    const std::int64_t C = q.cols();
    ENG_CHECK(kv.cols() == 2 * C && heads > 0 && C % heads == 0 && kv.dtype() == q.dtype(), op, "q ", q.shape(), " kv ",
              kv.shape(), " with ", heads, " heads (want q[.,C] kv[.,2C])");
    ENG_CHECK(qs.count == ks.count, op, qs.count, " query sequences against ", ks.count, " key sequences");
    check_rows(op, qs, q.rows(), "query");
    check_rows(op, ks, kv.rows(), "key");
}

Tensor cross_attention(const Tensor& q, const Tensor& kv, const Seqs& qs, const Seqs& ks, int heads) {
    check_cross("cross_attention", q, kv, qs, ks, heads);
    const std::int64_t C = q.cols();
    const Attrs at = attrs_of(qs, ks, heads, score_scale(C, heads), false);
    const Tensor y = q.like(Shape{qs.total, C}), lse = q.like(Shape{qs.total, heads}, stats_dtype(q.dtype()));
    run_attention_forward(q.device(), {in(q), columns(in(kv), 0, C), columns(in(kv), C, C), args_of(qs, ks), out(y), out(lse), heads, at.scale, false});
    if (!wants_grad({&q, &kv})) return y;
    return Tape::recording->record("cross_attention", {q, kv}, y, {q, kv, y, lse, qs.begin, qs.len, qs.out, ks.begin, ks.len}, at, [](Backward& b) {
        const Attrs at = b.attrs<Attrs>();
        const View q = in(b.saved(0)), kv = in(b.saved(1));
        const std::int64_t C = q.cols;
        const Out dkv = out(b.grad(1));
        run_attention_backward(b.gout.device(), {in(b.gout), q, columns(kv, 0, C), columns(kv, C, C), in(b.saved(2)), in(b.saved(3)),
                                                 saved_seqs(b, 4, at), out(b.grad(0)), columns(dkv, 0, C), columns(dkv, C, C), at.heads, at.scale, false});
    });
}

Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const Seqs& qs, const Seqs& ks, int heads) {
    const std::int64_t C = q.cols();
    ENG_CHECK(k.shape() == v.shape() && k.cols() == C && heads > 0 && C % heads == 0, "attend", "q ", q.shape(), " k ", k.shape(), " v ", v.shape(), " with ", heads, " heads");
    ENG_CHECK(k.dtype() == q.dtype() && v.dtype() == q.dtype(), "attend", "q is ", name_of(q.dtype()), ", k ", name_of(k.dtype()), ", v ", name_of(v.dtype()));
    ENG_CHECK(qs.count == ks.count, "attend", qs.count, " query sequences against ", ks.count, " key sequences");
    check_rows("attend", qs, q.rows(), "query");
    check_rows("attend", ks, k.rows(), "key");
    const Attrs at = attrs_of(qs, ks, heads, score_scale(C, heads), false);
    const Tensor y = q.like(Shape{qs.total, C}), lse = q.like(Shape{qs.total, heads}, stats_dtype(q.dtype()));
    run_attention_forward(q.device(), {in(q), in(k), in(v), args_of(qs, ks), out(y), out(lse), heads, at.scale, false});
    if (!wants_grad({&q, &k, &v})) return y;
    return Tape::recording->record("attend", {q, k, v}, y, {q, k, v, y, lse, qs.begin, qs.len, qs.out, ks.begin, ks.len}, at, [](Backward& b) {
        const Attrs at = b.attrs<Attrs>();
        run_attention_backward(b.gout.device(), {in(b.gout), in(b.saved(0)), in(b.saved(1)), in(b.saved(2)), in(b.saved(3)), in(b.saved(4)),
                                                 saved_seqs(b, 5, at), out(b.grad(0)), out(b.grad(1)), out(b.grad(2)), at.heads, at.scale, false});
    });
}

Tensor cross_attention_map(const Tensor& q, const Tensor& kv, const Seqs& qs, const Seqs& ks, int heads) {
    check_cross("cross_attention_map", q, kv, qs, ks, heads);
    const Tensor map = q.like(Shape{qs.total, ks.max_len}, stats_dtype(q.dtype()));
    run_attention_map(q.device(), {in(q), columns(in(kv), 0, q.cols()), args_of(qs, ks), out(map), heads, score_scale(q.cols(), heads)});
    return map;
}

}  // namespace eng
