// From pixels to tokens: patches of an image as rows, normalised and augmented; then class token and positions.
//
//   patchify          y[image, gy, gx][c, i, j] = (pixel[gy*stride + i, gx*stride + j, c] / 255 - mean[c]) / std[c]
//                     with flip, shift and erasing folded into the read: no augmented picture is ever stored
//   class positions   y[b, 0] = cls + pos[0];  y[b, 1+p] = patches[b, p] + pos[1+p]; cls and pos may be absent (zero)
//
// Work split   a thread per output element; the gradient of a position is one thread's sum over the images.
// Traffic      patchify reads bytes (interleaved, so a line serves its three channels from L1) and writes y once;
//              class positions read and write each row once, and the position table from L2.
// Numerics     f32, one rounding. Determinism: one owner per element, images are summed in order.
// Limits       any geometry that fits the picture; f32 and bf16.
#include "ops/cuda/kernel.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = 256;

// The value of channel c at (oy, ox) of the augmented picture. g: flip, dx, dy, erase y, x, height, width, unused.
__device__ float pixel(const PatchifyArgs& a, const unsigned char* image, const std::int32_t* g, int c, int oy, int ox) {
    const float black = -a.mean[c] / a.std[c], gain = 1.f / (255.f * a.std[c]);
    int sy = oy, sx = ox;
    if (g) {
        if (g[5] && oy >= g[3] && oy < g[3] + g[5] && ox >= g[4] && ox < g[4] + g[6]) return a.fill[c];
        sy = oy + g[2], sx = ox + g[1];
        if (g[0]) sx = a.width - 1 - sx;
    }
    const bool inside = sy >= 0 && sy < a.height && sx >= 0 && sx < a.width;
    return inside ? float(image[(sy * a.width + sx) * 3 + c]) * gain + black : black;
}

__global__ void __launch_bounds__(kThreads) patchify_kernel(PatchifyArgs a, int grid_h, int grid_w) {
    const std::int64_t i = std::int64_t(blockIdx.x) * kThreads + threadIdx.x, patch = i / a.y.cols;
    if (patch >= a.y.rows) return;
    const int e = int(i % a.y.cols), c = e / (a.patch * a.patch), y = e / a.patch % a.patch, x = e % a.patch;
    const std::int64_t image = patch / (grid_h * grid_w);
    const int at = int(patch % (grid_h * grid_w)), oy = at / grid_w * a.stride + y, ox = at % grid_w * a.stride + x;
    emit(a.y, i, pixel(a, row<unsigned char>(a.pixels, image), a.augment.p ? row<std::int32_t>(a.augment, image) : nullptr, c, oy, ox));
}

template <class T, int V> __global__ void __launch_bounds__(kWarps * 32) class_positions_kernel(ClassPositionsFwd a) {
    const std::int64_t r = warp_row();
    const unsigned L = unsigned(a.pos.rows), image = unsigned(r) / L, token = unsigned(r) % L;
    if (r >= a.y.rows) return;
    const T* x = token ? row<T>(a.patches, r - image - 1) : ptr<T>(a.cls);
    for_columns<V>(a.pos.cols, [&](std::int64_t c) {
        Vec<float, V> y{}, p{};
        if (x) y = read<V>(x + c);
        if (a.pos.p) p = read<V>(row<T>(a.pos, token) + c);
        for (int j = 0; j < V; ++j) y[j] += p[j];
        emit<V>(a.y, r * a.pos.cols + c, y);
    });
}

template <class T, int V> __global__ void __launch_bounds__(kWarps * 32) class_positions_dpatches_kernel(ClassPositionsBwd a) {
    const std::int64_t r = warp_row(), C = a.dy.cols;
    if (r >= a.dpatches.rows) return;
    const T* dy = row<T>(a.dy, r + unsigned(r) / unsigned(a.dpos.rows - 1) + 1);
    for_columns<V>(C, [&](std::int64_t c) { emit<V>(a.dpatches, r * C + c, read<V>(dy + c)); });
}

template <class T> __global__ void __launch_bounds__(kThreads) class_positions_dpos_kernel(ClassPositionsBwd a) {
    const std::int64_t i = std::int64_t(blockIdx.x) * kThreads + threadIdx.x, size = a.dpos.rows * a.dy.cols;
    if (i >= size) return;
    float sum = 0;
    for (std::int64_t image = 0; image < a.dy.rows / a.dpos.rows; ++image) sum += float(ptr<T>(a.dy)[image * size + i]);
    emit(a.dpos, i, sum);
    if (i < a.dy.cols) emit(a.dcls, i, sum);
}

}  // namespace

void patchify(const PatchifyArgs& a) {
    launch<patchify_kernel>({ceil_div(a.y.numel(), kThreads), kThreads}, a, (a.height - a.patch) / a.stride + 1,
                            (a.width - a.patch) / a.stride + 1);
}

void class_positions_forward(const ClassPositionsFwd& a) {
    dispatch(a.patches.dtype, in_fours(a.pos.cols, {&a.patches, &a.cls, &a.pos, &a.y}), "add_class_and_positions",
             [&](auto tag, auto v) { launch<class_positions_kernel<decltype(tag), v>>(warp_per_row(a.y.rows), a); });
}

void class_positions_backward(const ClassPositionsBwd& a) {
    const std::int64_t L = a.dpos.rows;
    if (a.dpatches.mode != Mode::skip)
        dispatch(a.dy.dtype, in_fours(a.dy.cols, {&a.dy, &a.dpatches}), "add_class_and_positions", [&](auto tag, auto v) {
            launch<class_positions_dpatches_kernel<decltype(tag), v>>(warp_per_row(a.dpatches.rows), a);
        });
    if (a.dpos.mode == Mode::skip && a.dcls.mode == Mode::skip) return;
    dispatch(a.dy.dtype, "add_class_and_positions", [&](auto tag) {
        launch<class_positions_dpos_kernel<decltype(tag)>>({ceil_div(L * a.dy.cols, kThreads), kThreads}, a);
    });
}

}  // namespace eng::cuda
