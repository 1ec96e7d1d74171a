// Attention: which kernel, the row sums of the backward pass, rows that no sequence owns, and the map of probabilities.
//
// Work split   delta: a warp per (row, head); eight lanes and 16 bytes a load where a head is 64 wide. Map: a block per output
//              row, a thread per key, heads one after another.
// Traffic      delta reads y and dy once. The map reads a sequence's keys once per output row: it is made for pictures.
// Numerics     f32 throughout.
#include "ops/cuda/attention.h"

#include <algorithm>

#include "ops/cuda/chip.h"
#include "ops/cuda/cudnn.h"
#include "ops/cuda/gemm.h"
#include "ops/cuda/tile.h"
#include "ops/provider.h"

namespace eng::cuda {
namespace {

template <class T>
__global__ __launch_bounds__(256) void delta_kernel(AttentionBwd a, float* __restrict__ delta) {
    in_turn();
    const std::int64_t i = std::int64_t(blockIdx.x) * 8 + threadIdx.x / 32;
    if (i >= a.y.rows * a.heads) return;
    const std::int64_t r = i / a.heads, D = a.y.cols / a.heads, col = i % a.heads * D;
    float s = 0;
    for (std::int64_t d = threadIdx.x % 32; d < D; d += 32) s += float(row<T>(a.dy, r)[col + d]) * float(row<T>(a.y, r)[col + d]);
    s = warp_sum(s);
    if (threadIdx.x % 32 == 0) delta[i] = s;
}

// The same for heads of 64 in bf16, 16 bytes a load: eight lanes a head.
__global__ __launch_bounds__(256) void delta64_kernel(AttentionBwd a, float* __restrict__ delta) {
    in_turn();
    const std::int64_t i = std::int64_t(blockIdx.x) * 256 + threadIdx.x, at = i / 8, r = at / a.heads, col = at % a.heads * 64 + i % 8 * 8;
    float s = 0;
    if (r < a.y.rows) {
        const Vec<float, 8> y = read<8>(row<bf16>(a.y, r) + col), dy = read<8>(row<bf16>(a.dy, r) + col);
        for (int e = 0; e < 8; ++e) s += y[e] * dy[e];
    }
    for (int d = 1; d < 8; d *= 2) s += __shfl_xor_sync(kAllLanes, s, d);
    if (r < a.y.rows && i % 8 == 0) delta[at] = s;
}

__global__ __launch_bounds__(256) void clear_kernel(Out o) {
    in_turn();
    const std::int64_t i = std::int64_t(blockIdx.x) * 256 + threadIdx.x;
    if (i < o.rows * o.cols) emit(o, i / o.cols * o.pitch + i % o.cols, 0.0f);
}

// map[o, j] += p / heads; a thread owns keys j = thread, thread + 128, ... and keeps their scores in shared memory.
template <class T>
__global__ __launch_bounds__(128) void map_kernel(AttentionMapArgs a) {
    in_turn();
    GPU_DYN_SHARED(float, score);
    const int i = int(blockIdx.x % a.seqs.max_q), D = int(a.q.cols) / a.heads;
    const Seq s = seq_at(a.seqs, int(blockIdx.x / a.seqs.max_q));
    if (i >= s.nq) return;
    const std::int64_t at = std::int64_t(s.o + i) * a.map.pitch;
    for (int h = 0; h < a.heads; ++h) {
        const T* q = row<T>(a.q, s.q + i) + h * D;
        float top = -INFINITY, sum = 0;
        for (int j = threadIdx.x; j < s.nk; j += 128) {
            const T* k = row<T>(a.k, s.k + j) + h * D;
            float x = 0;
            for (int d = 0; d < D; ++d) x += float(q[d]) * float(k[d]);
            score[j] = x * float(a.scale), top = fmaxf(top, score[j]);
        }
        top = block_max<128>(top);
        for (int j = threadIdx.x; j < s.nk; j += 128) sum += score[j] = expf(score[j] - top);
        sum = block_sum<128>(sum);
        for (int j = threadIdx.x; j < s.nk; j += 128) {
            Out o = a.map;
            o.mode = h ? Mode::accumulate : a.map.mode;
            emit(o, at + j, score[j] / (sum * float(a.heads)));
        }
    }
}

// Head width 64 on tensor cores: every row of a head starts at 16 bytes.
bool wide_rows(std::initializer_list<const View*> views, int heads) {
    for (const View* v : views)
        if (v->p && (v->dtype != DType::bf16 || !whole_chunks(v->p, v->pitch) || v->cols != heads * 64)) return false;
    return true;
}
// Arguments made by hand may leave the longest lengths out.
template <class Args>
Args with_lengths(Args a) {
    ENG_CHECK(std::max(a.q.rows, a.k.rows) < (std::int64_t(1) << 30), "attention", a.q.rows, " query and ", a.k.rows, " key rows are too many");
    ENG_CHECK(a.scale > 0, "attention", "scale ", a.scale, ", want more than 0: the largest score is found before it is scaled");
    if (!a.seqs.max_q) a.seqs.max_q = int(a.q.rows);
    if (!a.seqs.max_k) a.seqs.max_k = int(a.k.rows);
    return a;
}
// Rows of a head that fit into shared memory: 128 bytes each, of two matrices (backward: four), beside some strips.
constexpr int kWhole = 256;
bool fits(int rows_k, int rows_q, int matrices) {
    return rows_k && rows_q && std::max(rows_k, rows_q) <= kWhole && std::size_t(rows_k + rows_q) / 2 * matrices * 128 + 16 * 1024 <= chip().smem;
}

bool wgmma_is_there() {  // SCVD_WGMMA_ATTENTION=0 does without, for finding out what it brings
    static const bool there = chip().hopper && hopper_was_built() && !environment_says("SCVD_WGMMA_ATTENTION", "0");
    return there;
}
template <class Args> bool fills_tiles(const Args& a) { return !a.causal && std::min(a.seqs.max_q, a.seqs.max_k) > kFewRows && wgmma_is_there(); }

}  // namespace

bool can_run(AttentionKernel kernel, const AttentionFwd& a) {
    if (kernel == AttentionKernel::any) return true;
    if (kernel == AttentionKernel::pairs || (kernel == AttentionKernel::hopper && !fills_tiles(a))) return false;
    return wide_rows({&a.q, &a.k, &a.v, &a.y}, a.heads) && (kernel == AttentionKernel::tiled || fits(a.seqs.max_k, a.seqs.max_k, 2));
}
bool can_run(AttentionKernel kernel, const AttentionBwd& a) {
    if (kernel == AttentionKernel::any) return true;
    const auto grad = [](const Out& o) { return static_cast<const View*>(&o); };
    if (!wide_rows({&a.q, &a.k, &a.v, &a.y, &a.dy, grad(a.dq), grad(a.dk), grad(a.dv)}, a.heads)) return false;
    if (kernel == AttentionKernel::pairs) return !a.causal && pairs_fit(a.seqs);
    if (kernel == AttentionKernel::hopper && !fills_tiles(a)) return false;
    return kernel == AttentionKernel::tiled || (!a.seqs.shared && fits(a.seqs.max_k, a.seqs.max_q, 4));
}

template <class Args>
static void run_one(AttentionKernel kernel, const Args& given) {
    const Args a = with_lengths(given);
    if (!a.seqs.q_begin.numel()) return;
    ENG_CHECK(can_run(kernel, a), "attention", "kernel ", int(kernel), " cannot run heads of ", a.q.cols / a.heads, " in ",
              name_of(a.q.dtype));
    switch (kernel) {
        case AttentionKernel::any: return attention_any(a);
        case AttentionKernel::tiled: return attention_tiled(a);
        case AttentionKernel::whole: return attention_whole(a);
        case AttentionKernel::hopper: return attention_hopper(a);
        case AttentionKernel::pairs:
            if constexpr (std::is_same_v<Args, AttentionBwd>) attention_pairs(a);
    }
}
template <class Args>
static AttentionKernel best(const Args& a) {
    for (const auto kernel : {AttentionKernel::hopper, AttentionKernel::whole, AttentionKernel::pairs, AttentionKernel::tiled})
        if (can_run(kernel, a)) return kernel;
    return AttentionKernel::any;
}

// Sequences own rows; what no sequence owns is zero.
static void clear_the_rest(const AttentionBwd& a) {
    if (a.seqs.shared) return;
    if (a.y.rows != a.q.rows) clear_rows(a.dq);
    if (a.seqs.k_rows != a.k.rows) clear_rows(a.dk), clear_rows(a.dv);
}

void run_attention_kernel(AttentionKernel kernel, const AttentionFwd& a) { run_one(kernel, a); }
void run_attention_kernel(AttentionKernel kernel, const AttentionBwd& a) {
    clear_the_rest(a);
    run_one(kernel, a);
}
void attention_forward(const AttentionFwd& a) {
    attention_provider == Provider::cudnn && cudnn::takes(a) ? cudnn::attention_forward(a) : run_attention_kernel(best(a), a);
}
void attention_backward(const AttentionBwd& a) {
    if (attention_provider != Provider::cudnn || !cudnn::takes(a)) return run_attention_kernel(best(a), a);
    clear_the_rest(a);
    cudnn::attention_backward(a);
}

void clear_rows(const Out& o) {
    if (o.mode == Mode::write) launch<clear_kernel>({dim3(ceil_div(o.rows * o.cols, 256)), dim3(256)}, o);
}

void attention_delta(const AttentionBwd& a, float* delta) {
    if (wide_rows({&a.y, &a.dy}, a.heads)) return launch<delta64_kernel>({dim3(ceil_div(a.y.rows * a.heads, 32)), dim3(256)}, a, delta);
    dispatch(a.q.dtype, "attention", [&](auto tag) {
        launch<delta_kernel<decltype(tag)>>({dim3(ceil_div(a.y.rows * a.heads, 8)), dim3(256)}, a, delta);
    });
}

void attention_map(const AttentionMapArgs& given) {
    const AttentionMapArgs a = with_lengths(given);
    clear_rows(a.map);
    const std::size_t smem = std::size_t(a.seqs.max_k) * sizeof(float);
    ENG_CHECK(smem <= 96 * 1024, "attention_map", "of ", a.seqs.max_k, " keys (want at most ", 96 * 1024 / sizeof(float), ")");
    dispatch(a.q.dtype, "attention_map", [&](auto tag) {
        launch<map_kernel<decltype(tag)>>({dim3(unsigned(a.seqs.q_begin.numel() * a.seqs.max_q)), dim3(128), smem}, a);
    });
}

}  // namespace eng::cuda
