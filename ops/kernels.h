#pragma once
// The contract between the host side of an op and its kernels. One argument struct per kernel, plain data, passed
// by value to a __global__ function as is. CPU, CUDA, tests and benchmarks all use these.
//
// Letters: N rows, C columns, T packed tokens, B sequences or images, H heads, D head width, P patches per image.
// Gradients dx have the dtype of x, except parameter gradients, which are f32 beside bf16 activations.
// Statistics, softmax sums and losses are f32 (f64 for f64 input). Index tensors are i32.
#include "engine/view.h"
#include "ops/kinds.h"

namespace eng {

struct AddArgs { View a, b; Out y; };                       // y = a + b
struct MulArgs { View a, b; Out y; };                       // y = a * b
struct ScaleArgs { View x; Out y; double s = 1; };          // y = s x; y may have another dtype: also copy and cast
struct BroadcastArgs { View g; Out y; double s = 1; };      // y[i] = s g[0]
struct TransposeArgs { View x; Out y; };                    // y[C,N] = x[N,C]
struct DropoutArgs { View x; Out y; float p; std::uint64_t seed, stream; };  // kept elements times 1/(1-p)
struct QuickGeluFwd { View x; Out y; };                     // y = x sigmoid(1.702 x)
struct QuickGeluBwd { View dy, x; Out dx; };                // dx may be dy itself
struct SumArgs { View x; Out y; double s = 1; };            // y[1] = s sum(x)
struct DotArgs { View a, b; Out y; };                       // y[1] = sum(a * b)
struct RowSumArgs { View x; Out y; };                       // y[C] = sum over rows of x[N,C]
struct RowDotArgs { View a, b; Out y; };                    // y[N] = sum_c a[n,c] b[n,c]
struct RowScaleArgs { View s, x; Out y; };                  // y[n,c] = s[n] x[n,c]
struct ColumnScaleArgs { View s, x; Out y; };               // y[n,c] = s[c] x[n,c]
struct ExpScaleArgs { View x, log_scale; Out y; };          // y = exp(log_scale[0]) x
// c = op(a) op(b) + bias + residual, op transposes when ta/tb. With `gelu`, pre keeps c and c becomes QuickGELU(c).
// With `gate` (written, not accumulated), c is multiplied by QuickGELU's derivative there: the way back through the activation; `act`,
// where given, becomes QuickGELU(gate), what the activation had made of it, in gate's dtype and if need be in its place.
// `sums`, where given: sums[m] (+)= the sum over k of op(a)[m,k]. Of a weight's gradient g^T x that is the bias' gradient.
struct GemmArgs { View a, b, bias{}, residual{}; Out c{}, pre{}; bool ta = false, tb = false, gelu = false; View gate{}; Out sums{}, act{}; };
struct GemmTwoArgs { GemmArgs first, second; };  // of which neither reads or writes what the other writes: a card may make both at once
// Products of blocks of rows (grouped, as in CUTLASS). Member i multiplies block a_at[i] of a with block b_at[i] of b, a_rows and b_rows
// rows of them, and belongs to block c_at[i] of c: the sum of its members in their order, and zero where there is none. Of indices
// without memory, the i-th is i; only without c_at there may be a bias, gelu and pre, which mean what they do in GemmArgs.
// `sums`, where given: sums[c's block, n] = the sum over the members' k of op(b)[k,n]; where a is transposed and b is not.
struct GroupedGemmArgs {
    View a, b, a_at{}, b_at{}, c_at{}, bias{};
    Out c{}, pre{{}, Mode::skip}, sums{{}, Mode::skip};
    std::int64_t members = 0;
    int a_rows = 0, b_rows = 0;
    bool ta = false, tb = false, gelu = false;
};
struct LayerNormFwd { View x, gamma, beta; Out y, mean, rstd; float eps; };
struct LayerNormBwd { View dy, x, gamma, mean, rstd; Out dx, dgamma, dbeta; };
// y[b,c] = max over the rows r of segment b of LN(x)[r,c]; argmax names the first that reaches it. Segments are x.rows / y.rows rows, one behind another.
struct LayerNormMaxFwd { View x, gamma, beta; Out y, argmax, mean, rstd; float eps; };
struct LayerNormMaxBwd { LayerNormBwd norm; View argmax; };  // norm.dy [segments, C] belongs to the rows that argmax names
struct L2NormalizeFwd { View x; Out y, rnorm; };            // y = x / |x|; a zero row stays zero; rnorm [N] = 1/|x|
struct L2NormalizeBwd { View dy, y, rnorm; Out dx; };

// Sequence b of the queries is rows begin[b] .. begin[b]+len[b]-1 of q; its outputs start at row o_begin[b] of y.
// `shared`: some rows belong to several sequences (an image that meets many texts), so dq, dk, dv sum over them.
// max_q, max_k: the longest lengths, k_rows: all keys together; a GPU sizes its launch by them without asking the device.
struct AttentionSeqs {
    View q_begin, q_len, o_begin, k_begin, k_len;
    bool shared = false;
    int max_q = 0, max_k = 0;
    std::int64_t k_rows = 0;
};
struct AttentionFwd { View q, k, v; AttentionSeqs seqs; Out y, lse; int heads; double scale; bool causal; };
struct AttentionBwd { View dy, q, k, v, y, lse; AttentionSeqs seqs; Out dq, dk, dv; int heads; double scale; bool causal; };
// map[o, j] = mean over heads of the probability with which output row o looks at the j-th key of its sequence.
struct AttentionMapArgs { View q, k; AttentionSeqs seqs; Out map; int heads; double scale; };

struct GatherRowsArgs { View x, idx; Out y; };              // y[n] = x[idx[n]]
struct ScatterAddRowsArgs { View dy, idx; Out dx; };        // dx[idx[n]] += dy[n], in the order of n
struct SegmentMaxFwd { View x, begin, len; Out y, argmax; };  // y[b,c] = max over the rows of segment b
struct SegmentMaxBwd { View dy, argmax; Out dx; };
struct EmbedFwd { View ids, positions, table, pos; Out y; };  // y[t] = table[ids[t]] + pos[positions[t]]
struct EmbedBwd { View dy, ids, positions; Out dtable, dpos; };

// Pixels u8 [B, H*W*3] to rows of patches [B*P, 3*patch*patch] in the order of conv1.weight (channel, y, x),
// normalised and augmented on the way. augment i32 [B,8]: flip, dx, dy (shift by padding and cropping), erase y, x,
// height, width (0: none), unused. Shifted-in pixels are black, erased ones take `fill` after normalisation.
struct PatchifyArgs {
    View pixels, augment;
    Out y;
    int height, width, patch, stride;
    float mean[3], std[3], fill[3];
};
// y[b,0] = cls + pos[0]; y[b,1+p] = patches[b,p] + pos[1+p]. cls and pos may have no memory and are zero then; pos has its size in any case.
struct ClassPositionsFwd { View patches, cls, pos; Out y; };
struct ClassPositionsBwd { View dy; Out dpatches, dcls, dpos; };

// DFA: a_k = sim(t_n, L_k), w = norm(a), f_n[c] = max_k w_k L_k[c], over the rows k of segment n (method: section 4).
struct FocusFwd { View t, l, begin, len; Out f, w, argmax; Similarity sim; WeightNorm norm; };
struct FocusBwd { View df, t, l, w, argmax, begin, len; Out dt, dl; Similarity sim; WeightNorm norm; };

// VSR (ops/vsr.cpp). A text has H S rows, one per head and slot; slots behind its prompts stay empty.
struct SpreadHeadsFwd { View x, begin, len; Out y; int heads, slots; };  // y[(b,h,s), c] = x[begin[b] + s, c] if s < len[b] and c lies in head h, else 0
// dx[begin[b] + s, first + c] = dy[(b,h,s), c] where c lies in head h; columns of dx beside those are zero (written) or left alone.
struct SpreadHeadsBwd { View dy, begin, len; Out dx; int heads, slots; std::int64_t first; };
struct CenterRowsArgs { View x; Out y; };                   // y = x - mean of its row
// How region n of a pair, row n / patches of `text`, mixes the values V of its text, and LN5's scale with it:
//   p[n,(h,s)] = softmax over s < len[text] of scale scores[n,(h,s)], 0 behind     rstd[n] = 1 / sqrt(p G p^T / width + eps), G = gram[text] = V V^T
//   y = rstd p: LN5(p V), before gain and offset, is y V, if V's rows have mean 0
struct SlotMixFwd { View scores, gram, text, len; Out y, rstd; int heads, slots, patches; double scale, width, eps; };
// dscores from dy, and dgram through `e`: of a text it is the sum of y^T e over its rows.
struct SlotMixBwd { View dy, y, rstd, gram, text; Out dscores, e; int heads, slots, patches; double scale, width; };

struct SoftmaxXentFwd { View logits, target; Out loss, lse; };  // loss[n] = lse - logits[n, target[n]]
struct SoftmaxXentBwd { View dloss, logits, target, lse; Out dlogits; };
// Row n: p = softmax(scale s), q = match / sum(match), loss[n] = sum_j p_j (log p_j - log(q_j + eps)).
// match i32 [N,C]: 1 the same person, 0 another, -1 no candidate (takes no part).
struct MatchingFwd { View scores, match; Out loss, lse; double scale, eps; };
struct MatchingBwd { View dloss, scores, match, loss, lse; Out dscores; double scale, eps; };

struct ClipScaleArgs { View sum_of_squares; Out scale; double limit; };  // scale[0] = min(scale[0], limit / sqrt(sum_of_squares[0])); NaN leaves it
// One pass over the flat buffers: moments, master, compute copy. Weights decay apart from the
// gradient (Loshchilov & Hutter, "Decoupled weight decay"), or with `l2` as a part of it, as Adam's decay was before. lr and decay f32 [S], ends i32 [S]: segment s runs from ends[s-1] to ends[s].
// scalars [3], in master's dtype: what gradients are multiplied by, 1/(1-beta1^step), 1/(1-beta2^step). What changes from
// step to step lies in memory, so that a recorded step can be replayed.
struct AdamWArgs {
    Out master, compute, m, v;
    View grad, lr, decay, ends, scalars;
    float beta1, beta2, eps;
    bool l2 = false;
};

// ---- Index tensors, i32. A step whose indices are made on the device never waits for the host.
struct CountUpArgs { Out y; std::int32_t first, inner, outer_step, inner_step; };  // y[i] = first + i / inner outer_step + i % inner inner_step
// Sequences which[i] of a list, and where their rows start when results are packed: y_out[i] = sum of y_len before i.
struct PickSeqsArgs { View begin, len, which; Out y_begin, y_len, y_out; };
struct MatchLabelsArgs { View rows, cols; Out match; };     // match[i,j] = 1 where rows[i] == cols[j], else 0
// order [n]: first + a permutation of 0..n-1 in which every `size` neighbours are a group (the last may be smaller). A group is the first
// i that is left and those j of the rest with the largest scores[i,j] + scores[j,i]; of the same label only when others run out.
struct GroupAlikeArgs { View scores, labels; Out order; int size; std::int32_t first; };
// What the rows first .. first+n of the batch meet, order and labels [B] given, outputs [n, size] but own [n]. Row i is member own[i] of its
// group; column b of it is the group's b-th member m: text = m, match = whether labels are equal, by_text = m size + own[i], where
// the same pair stands in the other direction; negative = -1e4 where InfoNCE must not look, else 0. Where a group is smaller: match -1.
struct PairUpArgs { View order, labels; Out text, by_text, match, negative, own; std::int32_t first; };

// ---- Convolution nets. A picture's pixels are rows: x [B*H*W, C], channels innermost.
struct ConvShape {
    int height, width, kernel, stride, pad;  // of the input; square kernels
    int out_height() const { return (height + 2 * pad - kernel) / stride + 1; }
    int out_width() const { return (width + 2 * pad - kernel) / stride + 1; }
};
struct ConvFwd { View x, w; Out y; ConvShape s; };          // w [O, I*k*k], each filter in the order (channel, y, x)
struct ConvBwd { View dy, x, w; Out dx, dw; ConvShape s; };
// y = gamma (x - mean) rstd + beta per channel. train: mean and variance of these rows, and running statistics [C] move
// towards them by `momentum` (the variance unbiased); else the running ones are used. mean, rstd [C] are kept for backward.
struct BatchNormFwd { View x, gamma, beta; Out running_mean, running_var, y, mean, rstd; float eps, momentum; bool train; };
struct BatchNormBwd { View dy, x, gamma, mean, rstd; Out dx, dgamma, dbeta; bool train; };
struct ReluFwd { View x; Out y; };
struct ReluBwd { View dy, y; Out dx; };
struct AvgPoolFwd { View x; Out y; int height, width, kernel; };  // stride = kernel; what does not fill one is dropped
struct AvgPoolBwd { View dy; Out dx; int height, width, kernel; };
struct MeanPositionsFwd { View x, pos; Out y; };            // y[b,0] = mean_p x[b,p] + pos[0]; y[b,1+p] = x[b,p] + pos[1+p]
struct MeanPositionsBwd { View dy; Out dx, dpos; std::int64_t positions; };  // P

// The steps of ops/vsr.cpp from its folded tensors to t in one kernel. Per pair: first row and number of rows in q, row of its text in
// the folded tensors (a count of texts), its taken slots. units [.,2]: two pairs of one text each, -1 for none.
struct VsrPoolArgs {
    View q, k, v, u, c, gamma5, beta5, w2, b2, gamma6, beta6;
    View q_begin, q_len, text, prompts, units;
    Out t;
    int heads, slots;
    float scale, eps;
    bool residual;
};
namespace cuda {
bool vsr_pool_fits(const VsrPoolArgs&);  // it exists on Hopper alone, for bf16 and the widths of ViT-B/16
void vsr_pool(const VsrPoolArgs&);
}  // namespace cuda

constexpr int kernel_count = 0
#define KERNEL(name, Args) +1
#include "ops/kernels.def"
#undef KERNEL
    ;
enum class KernelId : int {
#define KERNEL(name, Args) name,
#include "ops/kernels.def"
#undef KERNEL
};
inline thread_local long kernel_calls[kernel_count] = {};  // for the coverage test and the profiler

#define KERNEL(name, Args)                                      \
    namespace cpu { void name(const Args&); }                   \
    namespace cuda { void name(const Args&); }                  \
    inline void run_##name(Device d, const Args& a) {           \
        ++kernel_calls[int(KernelId::name)];                    \
        d == Device::cpu ? cpu::name(a) : cuda::name(a);        \
    }
#include "ops/kernels.def"
#undef KERNEL

}  // namespace eng
