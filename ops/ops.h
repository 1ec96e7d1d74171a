#pragma once
// The whole op vocabulary. Each op checks shapes, runs its kernels on the device of its inputs and records how to go
// back. Unless said otherwise the result has the dtype of the first input. Letters as in ops/kernels.h.
#include <functional>

#include "engine/comm/comm.h"
#include "engine/tape.h"
#include "ops/kinds.h"

namespace eng {

// Which rows of a tensor form which sequence. Packed batches list adjacent rows; a pair list names the same rows
// again and again (`shared`). Results of ops over Seqs are packed in the order of the list, at rows `out`.
struct Seqs {
    Tensor begin, len, out;  // i32 [count]
    int count = 0, max_len = 0;
    std::int64_t total = 0;  // rows of a packed result
    bool shared = false;
    std::vector<std::int32_t> host_begin, host_len;  // empty where the list was made on the device
};
Seqs make_seqs(Arena&, std::vector<std::int32_t> begin, std::vector<std::int32_t> len, bool shared);
Seqs packed_seqs(Arena&, const std::vector<std::int32_t>& lens);
Seqs uniform_seqs(Arena&, int count, int len, int first = 0, int stride = 0);  // stride 0: len
Seqs repeat_seqs(Arena&, int count, int times, int len, int first = 0, int stride = 0);  // each of them `times` times in a row; no host lists
Seqs pick(Arena&, const Seqs&, const std::vector<std::int32_t>& which);        // may repeat: shared
Seqs pick(const Seqs&, const Tensor& which, std::int64_t total);               // the same by an i32 tensor; the caller knows how many rows that is
Seqs results_of(const Seqs&);                                                  // the packed rows of a result over them
Tensor indices(Arena&, const std::vector<std::int32_t>& values);               // i32 [n]
// i32 [n]: first + i / inner * outer_step + i % inner * inner_step
Tensor count_up(Arena&, std::int64_t n, std::int32_t first = 0, std::int32_t outer_step = 1, std::int32_t inner = 1, std::int32_t inner_step = 0);
void count_up(const Tensor& y, std::int32_t first, std::int32_t outer_step, std::int32_t inner = 1, std::int32_t inner_step = 0);  // into y

// Who belongs to whom in a batch, decided where the scores are; letters and rules in ops/kernels.h.
Tensor match_labels(const Tensor& rows, const Tensor& cols);                   // i32 [N], [C] -> i32 [N,C]: 1 the same, 0 another
void group_alike(const Tensor& scores, const Tensor& labels, int size, const Tensor& order, std::int32_t first = 0);  // fills order
struct PairUp { Tensor text, by_text, match, negative, own; };
PairUp pair_up(const Tensor& order, const Tensor& labels, std::int64_t first, std::int64_t n, int size, DType dtype);  // dtype of `negative`

Tensor add(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor scale(const Tensor& x, double s);
Tensor cast(const Tensor& x, DType to);
Tensor transpose(const Tensor& x);                                       // [N,C] -> [C,N]
Tensor dropout(const Tensor& x, float p, std::uint64_t seed, std::uint64_t stream);
Tensor quick_gelu(const Tensor& x);
Tensor exp_scale(const Tensor& x, const Tensor& log_scale);              // exp(log_scale[1]) x
Tensor sum(const Tensor& x);                                             // -> [1], f32 (f64)
Tensor mean(const Tensor& x);                                            // -> [1], f32 (f64)

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias = {}, const Tensor& residual = {});  // x[N,C] w[O,C] -> [N,O]
// The transformer's MLP, linear(QuickGELU(linear(x, w1, b1)), w2, b2, residual): keeps one hidden tensor for backward, not two.
Tensor mlp(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2, const Tensor& residual = {});
Tensor matmul(const Tensor& a, const Tensor& b);                         // [N,K] [K,C] -> [N,C]
// Products of blocks of rows: a has which.numel() [i32] of them, as many rows each; block i is multiplied with the rows of b that
// are its block which[i], a.cols() each.
Tensor grouped_matmul(const Tensor& a, const Tensor& b, const Tensor& which, const Tensor& bias = {});  // [n R,K] [blocks K,C] -> [n R,C]
Tensor grouped_mlp(const Tensor& a, const Tensor& b, const Tensor& which, const Tensor& b1, const Tensor& w2, const Tensor& b2, const Tensor& residual = {});  // mlp whose first product is grouped
Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float eps = 1e-5f);
Tensor layer_norm_max(const Tensor& x, int rows, const Tensor& gamma, const Tensor& beta, float eps = 1e-5f);  // max of LN(x) over each `rows` rows: [T,C] -> [T/rows,C]
Tensor l2_normalize(const Tensor& x);                                    // rows to unit length
Tensor scale_columns(const Tensor& x, const Tensor& s);                  // [N,C] times s[C]
Tensor center_rows(const Tensor& x);                                     // less the mean of each row
Tensor row_dot(const Tensor& a, const Tensor& b);                        // [N,C] [N,C] -> [N], f32 (f64)

// Multi-head attention, softmax(q k^T / sqrt(D)) v within each sequence.
Tensor self_attention(const Tensor& qkv, const Seqs& seqs, int heads, bool causal);                  // [T,3C] -> [T,C]
Tensor cross_attention(const Tensor& q, const Tensor& kv, const Seqs& qs, const Seqs& ks, int heads);  // q[.,C] kv[.,2C]
Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const Seqs& qs, const Seqs& ks, int heads);  // the same, k and v [.,C] apart
// Mean over heads of cross_attention's probabilities, [qs.total, ks.max_len], 0 behind a sequence's end. No gradient.
Tensor cross_attention_map(const Tensor& q, const Tensor& kv, const Seqs& qs, const Seqs& ks, int heads);

Tensor gather_rows(const Tensor& x, const Tensor& idx);                  // x[N,C] idx[n] -> [n,C]
Tensor segment_max(const Tensor& x, const Seqs& seqs);                   // [T,C] -> [count,C]
Tensor embed_tokens(const Tensor& ids, const Tensor& positions, const Tensor& table, const Tensor& pos);  // -> [T,C]

struct PatchGeometry {
    int height = 384, width = 128, patch = 16, stride = 16;
    int grid_h() const { return (height - patch) / stride + 1; }
    int grid_w() const { return (width - patch) / stride + 1; }
    int patches() const { return grid_h() * grid_w(); }
};
// pixels u8 [B,H,W,3], augment i32 [B,8] or undefined -> [B*P, 3*patch*patch] of dtype; CLIP's mean and std.
Tensor patchify(const Tensor& pixels, const Tensor& augment, const PatchGeometry&, DType dtype);
Tensor add_class_and_positions(const Tensor& patches, const Tensor& cls, const Tensor& pos);  // [B*P,C] -> [B*(P+1),C]
Tensor drop_class(const Tensor& x, std::int64_t patches);               // [B*(P+1),C] -> [B*P,C], what is no class token

// Convolution nets: rows are pixels, x [B*H*W, C] of pictures of height x width.
Tensor conv2d(const Tensor& x, const Tensor& w, int height, int width, int stride, int pad);  // w [O,I,k,k] -> [B*H'*W', O]
// train: normalises by these rows and moves the running statistics (f32, f64) towards theirs; else by the running ones.
Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& running_mean, const Tensor& running_var, bool train,
                  float momentum = 0.1f, float eps = 1e-5f);
Tensor relu(const Tensor& x);
Tensor avg_pool(const Tensor& x, int height, int width, int kernel);     // -> [B*(H/k)*(W/k), C]
Tensor add_mean_and_positions(const Tensor& x, const Tensor& pos);       // [B*P,C], pos [P+1,C] -> [B*(P+1),C], the mean first

// DFA's focus (method: section 4): f [n,C] from t [n,C] and L [T,C]; `weights` [T] (f32, no gradient) out.
Tensor focus(const Tensor& t, const Tensor& l, const Seqs& seqs, Similarity, WeightNorm, Tensor* weights = nullptr);

// VSR: how pairs share what a text has to do, and why that is less work than the layers one by one, says ops/vsr.cpp. A text has
// H S rows there, one per head and slot: `slots` are its prompts, filled up.
Tensor spread_heads(const Tensor& kv, int half, const Seqs& prompts, int heads, int slots);  // [T,2C] -> [count H S,C]: prompts' keys (half 0) or values (1), each in its head's columns
Tensor gram(const Tensor& v, int rows);                                  // x x^T of each block of rows: [N,C] -> [N,rows], f32 (f64)
// Pairs (image[n], text[n]), i32, of images with `patches` rows of q: [n patches, H S], each region's mix of its text's rows, of which `gram`
// are the products. k from spread_heads.
Tensor slot_mix(const Tensor& q, const Tensor& k, const Tensor& gram, const Seqs& prompts, const Tensor& image, const Tensor& text, int patches, int heads);
struct VsrWeights {
    Tensor out_weight, out_bias, ln5_weight, ln5_bias, up_weight, up_bias, down_weight, down_bias, ln6_weight, ln6_bias;
    int heads;
    bool residual;  // G + FFN(G)
};
// The textual vectors t [pairs, d] of pairs (image[n], text[n]), from queries q [images patches, d] of the regions, keys and values kv [., 2d] of the
// prompts. vsr: of pairs that only the device knows, with gradients; vsr_pool: of many pairs, for scoring.
Tensor vsr(const Tensor& q, const Tensor& kv, int patches, const Seqs& prompts, const Tensor& image, const Tensor& text, const VsrWeights& w);
Tensor vsr_pool(const Tensor& q, const Tensor& kv, int patches, const Seqs& prompts, const std::vector<std::int32_t>& image, const std::vector<std::int32_t>& text,
                const VsrWeights& w);

Tensor softmax_xent(const Tensor& logits, const Tensor& target);         // i32 target [N] -> [N]
Tensor matching_loss(const Tensor& scores, const Tensor& match, double scale, double eps = 1e-8);  // -> [N]

// The rows of all ranks, rank by rank: x [rows[rank], C] -> [sum of rows, C]. Backward sums each row's gradient over the ranks
// and hands it to the rank that the row came from.
Tensor all_gather(const Tensor& x, Comm& comm, const std::vector<std::int64_t>& rows);

// Runs f without recording; backward runs it again. Same gradients bit for bit, less memory held.
Tensor checkpoint(const std::function<Tensor(const std::vector<Tensor>&)>& f, const std::vector<Tensor>& x);

}  // namespace eng
