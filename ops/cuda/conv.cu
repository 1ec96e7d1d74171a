// Convolution of pictures whose channels lie innermost (NHWC), as matrix products over patches.
//
//      patches [pixels of y][k k I]     row: an output pixel; columns (tap, channel): what a filter sees there, else zero
//      taps    [O][k k I]               the filters w [O][I][k k], turned into the same order
//
//      y = patches taps^T       dtaps = dy^T patches       dpatches = dy taps,  dx[p] = sum over taps of dpatches
//
// Work split   gather, scatter: a thread per four channels (or one) of a patch or of a pixel; the products are cuda::gemm's.
//              Rows of patches are padded with zeros to a multiple of eight elements, so that every row is whole 16 bytes.
// Traffic      patches are k^2 times as large as x: written once, read once, beside x, w and y. Pictures are taken in
//              chunks whose patches fill half of the L2 cache, so that they need not travel to memory and back; each chunk
//              of a weight gradient reads and writes dtaps once more. 2 B H' W' O I k^2 FLOP per product.
// Numerics     f32 sums; dpatches and dtaps stay f32 until the end: one rounding, like the CPU's.
// Determinism  no atomics: dx gathers its taps in order, chunks of a weight gradient are added in order; how many there are
//              depends on shape and card alone.
// Limits       any size, stride and padding; f32 and bf16. A picture's patches have to fit into memory.
// Idea         K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for document processing" (2006).
#include "ops/cuda/conv.h"

#include <algorithm>

#include "ops/cuda/chip.h"
#include "ops/cuda/cudnn.h"
#include "ops/cuda/kernel.h"
#include "ops/provider.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = 256;

struct Taps {
    ConvShape s;
    int channels, width, oh, ow;  // of a pixel; of a row of patches; of an output picture
};
Taps taps_of(const ConvShape& s, std::int64_t channels) {
    return {s, int(channels), int((s.kernel * s.kernel * channels + 7) / 8 * 8), s.out_height(), s.out_width()};
}

// patches[row, (tap, c)] for the output pixels of the pictures in x
template <class T, int V> __global__ void __launch_bounds__(kThreads) gather_patches_kernel(View x, Taps t, View patches) {
    in_turn();
    const std::int64_t i = (std::int64_t(blockIdx.x) * kThreads + threadIdx.x) * V, pixel = i / t.width;
    if (pixel >= patches.rows) return;
    const int col = int(i % t.width), tap = col / t.channels, k = t.s.kernel;
    const int iy = int(pixel / t.ow % t.oh) * t.s.stride + tap / k - t.s.pad, ix = int(pixel % t.ow) * t.s.stride + tap % k - t.s.pad;
    Vec<T, V> v{};
    if (tap < k * k && iy >= 0 && iy < t.s.height && ix >= 0 && ix < t.s.width) {
        const std::int64_t from = (pixel / (t.oh * t.ow) * t.s.height + iy) * t.s.width + ix;
        v = *reinterpret_cast<const Vec<T, V>*>(row<T>(x, from) + col % t.channels);
    }
    *reinterpret_cast<Vec<T, V>*>(ptr<T>(patches) + i) = v;
}

// dx[pixel, c] (+)= the sum of dpatches over the taps that looked at this pixel
template <int V> __global__ void __launch_bounds__(kThreads) scatter_patches_kernel(const float* dpatches, Taps t, Out dx) {
    in_turn();
    const std::int64_t i = (std::int64_t(blockIdx.x) * kThreads + threadIdx.x) * V, pixel = i / t.channels;
    if (pixel >= dx.rows) return;
    const std::int64_t image = pixel / (t.s.height * t.s.width);
    const int y = int(pixel / t.s.width % t.s.height) + t.s.pad, x = int(pixel % t.s.width) + t.s.pad;
    Vec<float, V> sum{};
    for (int tap = 0; tap < t.s.kernel * t.s.kernel; ++tap) {
        const int dy = y - tap / t.s.kernel, dx_ = x - tap % t.s.kernel;  // in steps of the stride
        if (dy < 0 || dx_ < 0 || dy % t.s.stride || dx_ % t.s.stride) continue;
        const int oy = dy / t.s.stride, ox = dx_ / t.s.stride;
        if (oy >= t.oh || ox >= t.ow) continue;
        const Vec<float, V> d = read<V>(dpatches + ((image * t.oh + oy) * t.ow + ox) * t.width + tap * t.channels + i % t.channels);
        for (int j = 0; j < V; ++j) sum[j] += d[j];
    }
    emit<V>(dx, i, sum);
}

template <class T> __global__ void __launch_bounds__(kThreads) filters_to_taps_kernel(View w, View taps, int channels) {
    in_turn();
    const std::int64_t i = std::int64_t(blockIdx.x) * kThreads + threadIdx.x, o = i / taps.cols;
    if (o >= taps.rows) return;
    const std::int64_t tap = i % taps.cols / channels, c = i % taps.cols % channels, k2 = w.cols / channels;
    const T v = tap < k2 ? row<T>(w, o)[c * k2 + tap] : T(0.f);
    ptr<T>(taps)[i] = v;
}

template <class T> __global__ void __launch_bounds__(kThreads) taps_to_filters_kernel(View taps, Out w, int channels) {
    in_turn();
    const std::int64_t i = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= w.numel()) return;
    const std::int64_t k2 = w.cols / channels, c = i % w.cols / k2, tap = i % k2;
    emit(w, i, float(row<T>(taps, i / w.cols)[tap * channels + c]));
}

View matrix(void* p, DType t, std::int64_t rows, std::int64_t cols) { return {p, t, rows, cols, cols}; }
Out output(const View& v, Mode mode = Mode::write) {
    Out o;
    static_cast<View&>(o) = v, o.mode = mode;
    return o;
}
// Rows first.. of a matrix.
template <class V> V rows_of(V v, std::int64_t first, std::int64_t rows) {
    v.p = static_cast<char*>(v.p) + first * v.pitch * std::int64_t(size_of(v.dtype)), v.rows = rows;
    return v;
}

void gather_patches(const View& x, const Taps& t, const View& patches) {
    dispatch(x.dtype, in_fours(t.channels, {&x}), "conv2d", [&](auto tag, auto v) {
        launch<gather_patches_kernel<decltype(tag), v>>({ceil_div(patches.numel(), kThreads * v), kThreads}, x, t, patches);
    });
}

// Calls f(first picture, how many, memory for their patches) chunk by chunk.
template <class F> void for_chunks(std::int64_t pictures, const Taps& t, DType type, F&& f) {
    const std::int64_t bytes = std::int64_t(t.oh) * t.ow * t.width * std::int64_t(size_of(type));
    const std::int64_t most = std::clamp<std::int64_t>(std::int64_t(chip().l2) / 2 / bytes, 1, std::max<std::int64_t>(pictures, 1));
    const Scratch memory(std::size_t(most * bytes));
    for (std::int64_t at = 0; at < pictures; at += most) {
        const std::int64_t n = std::min(most, pictures - at);
        f(at, n, matrix(memory.as<void>(), type, n * t.oh * t.ow, t.width));
    }
}

void input_gradient(const ConvBwd& a, const Taps& t, std::int64_t pictures) {
    const std::int64_t in = std::int64_t(t.s.height) * t.s.width, out = std::int64_t(t.oh) * t.ow;
    const Scratch memory(std::size_t(a.w.rows * t.width) * size_of(a.w.dtype));
    const View taps = matrix(memory.as<void>(), a.w.dtype, a.w.rows, t.width);
    filters_to_taps(a.w, taps, t.channels);
    for_chunks(pictures, t, DType::f32, [&](std::int64_t at, std::int64_t n, const View& dpatches) {
        gemm({.a = rows_of(a.dy, at * out, n * out), .b = taps, .c = output(dpatches)});
        const Out dx = rows_of(a.dx, at * in, n * in);
        dispatch_width(in_fours(t.channels, {&dx}), [&](auto v) {
            launch<scatter_patches_kernel<v>>({ceil_div(dx.numel(), kThreads * v), kThreads}, static_cast<const float*>(dpatches.p), t, dx);
        });
    });
}

void weight_gradient(const ConvBwd& a, const Taps& t, std::int64_t pictures) {
    const std::int64_t in = std::int64_t(t.s.height) * t.s.width, out = std::int64_t(t.oh) * t.ow;
    const std::size_t bytes = std::size_t(a.w.rows * t.width) * sizeof(float);
    const Scratch memory(bytes);
    const View dtaps = matrix(memory.as<void>(), DType::f32, a.w.rows, t.width);
    CUDA_CHECK(cudaMemsetAsync(dtaps.p, 0, bytes, stream()));
    for_chunks(pictures, t, a.x.dtype, [&](std::int64_t at, std::int64_t n, const View& patches) {
        gather_patches(rows_of(a.x, at * in, n * in), t, patches);
        gemm({.a = rows_of(a.dy, at * out, n * out), .b = patches, .c = output(dtaps, Mode::accumulate), .ta = true});
    });
    taps_to_filters(dtaps, a.dw, t.channels);
}

std::int64_t pictures_in(const View& x, const ConvShape& s) { return x.rows / (std::int64_t(s.height) * s.width); }

}  // namespace

void filters_to_taps(const View& w, const View& taps, int channels) {
    dispatch(w.dtype, "conv2d", [&](auto tag) {
        launch<filters_to_taps_kernel<decltype(tag)>>({ceil_div(taps.numel(), kThreads), kThreads}, w, taps, channels);
    });
}
void taps_to_filters(const View& taps, const Out& w, int channels) {
    if (w.mode == Mode::skip) return;
    dispatch(taps.dtype, "conv2d", [&](auto tag) {
        launch<taps_to_filters_kernel<decltype(tag)>>({ceil_div(w.numel(), kThreads), kThreads}, taps, w, channels);
    });
}

void conv_forward(const ConvFwd& a) {
    if (conv_provider == Provider::cudnn) return cudnn::conv_forward(a);
    const Taps t = taps_of(a.s, a.x.cols);
    const std::int64_t in = std::int64_t(a.s.height) * a.s.width, out = std::int64_t(t.oh) * t.ow;
    const Scratch memory(std::size_t(a.w.rows * t.width) * size_of(a.w.dtype));
    const View taps = matrix(memory.as<void>(), a.w.dtype, a.w.rows, t.width);
    filters_to_taps(a.w, taps, t.channels);
    for_chunks(pictures_in(a.x, a.s), t, a.x.dtype, [&](std::int64_t at, std::int64_t n, const View& patches) {
        gather_patches(rows_of(a.x, at * in, n * in), t, patches);
        gemm({.a = patches, .b = taps, .c = rows_of(a.y, at * out, n * out), .tb = true});
    });
}

void conv_backward(const ConvBwd& a) {
    if (conv_provider == Provider::cudnn) return cudnn::conv_backward(a);
    const Taps t = taps_of(a.s, a.x.cols);
    if (a.dx.mode != Mode::skip) input_gradient(a, t, pictures_in(a.x, a.s));
    if (a.dw.mode != Mode::skip) weight_gradient(a, t, pictures_in(a.x, a.s));
}

}  // namespace eng::cuda
