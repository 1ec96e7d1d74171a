// From pixels to tokens: patches of an image as rows, normalised and augmented; then class token and positions.
//
//   patchify          y[image, gy, gx][c, i, j] = (pixel[gy*stride + i, gx*stride + j, c] / 255 - mean[c]) / std[c]
//                     with flip, shift and erasing folded into the read: no augmented picture is ever stored
//   class positions   y[b, 0] = cls + pos[0];  y[b, 1+p] = patches[b, p] + pos[1+p]; cls and pos may be absent (zero)
//
// Work split   patchify: a block per row of patches; a warp runs along a line of the picture, across its patches, and a thread
//              takes four neighbours (one, where a patch is no multiple of four wide) in all channels, in every fourth line:
//                  line y of the picture   r g b r g b r g b r g b | r g b ...      a thread: 12 bytes, a warp: 384 in a row
//                  -> three vectors        r r r r at (0, y), g g g g at (1, y), b b b b at (2, y) of its patch
//              class positions: a warp per row; the gradient of a position is one thread's sum over the images.
// Traffic      patchify reads the picture once and writes y once, each block a stretch of both that hangs together. What it takes
//              most of is L1: a load of bytes touches 3 to 4 lines, 12 of them, and three stores 8 each: 66 cycles for 128 pixels.
//              Class positions read and write each row once, and the position table from L2.
// Numerics     f32, one rounding. Determinism: one owner per element, images are summed in order.
// Limits       any geometry that fits the picture, with up to 65,535 rows of patches; fewer than 2^32 tokens; f32 and bf16.
#include "ops/cuda/kernel.h"

namespace eng::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kLines = 4;  // of a patch, by neighbouring warps

struct Tones {  // a byte of channel c becomes byte * gain[c] + black[c]
    float gain[3], black[3];
};

// V neighbours x of a patch in all three channels, in every fourth line. Which columns they see is the same in each.
template <int V> __global__ void __launch_bounds__(32 * kLines) patchify_kernel(PatchifyArgs a, Tones tones, unsigned grid_w) {
    in_turn();
    const unsigned per_line = unsigned(a.patch) / V, q = blockIdx.z * 32 + threadIdx.x, gx = q / per_line;
    const int x = int(q % per_line) * V, left = int(gx) * a.stride + x;
    if (gx >= grid_w) return;
    int g[8] = {};  // flip, dx, dy, erase y, x, height, width, unused
    if (a.augment.p)
        for (int k = 0; k < 8; ++k) g[k] = row<std::int32_t>(a.augment, blockIdx.x)[k];
    int from[V];  // the pixel's first byte in its line
    bool seen[V], erase[V];
#pragma unroll
    for (int j = 0; j < V; ++j) {
        const int ox = left + j, shifted = ox + g[1], sx = g[0] ? a.width - 1 - shifted : shifted;
        seen[j] = sx >= 0 && sx < a.width;
        from[j] = seen[j] ? sx * 3 : 0;
        erase[j] = ox >= g[4] && ox < g[4] + g[6];
    }
    const std::int64_t patch = (std::int64_t(blockIdx.x) * gridDim.y + blockIdx.y) * grid_w + gx;
    for (int y = int(threadIdx.y); y < a.patch; y += int(blockDim.y)) {
        const int oy = int(blockIdx.y) * a.stride + y, sy = oy + g[2];
        const bool inside = sy >= 0 && sy < a.height, erased = oy >= g[3] && oy < g[3] + g[5];
        const unsigned char* line = row<unsigned char>(a.pixels, blockIdx.x) + (inside ? sy : 0) * a.width * 3;
        unsigned char byte[3][V];  // all loads first: stores might change what later ones read
#pragma unroll
        for (int c = 0; c < 3; ++c)
            for (int j = 0; j < V; ++j) byte[c][j] = line[from[j] + c];
#pragma unroll
        for (int c = 0; c < 3; ++c) {
            Vec<float, V> v;
            for (int j = 0; j < V; ++j) {
                v[j] = inside && seen[j] ? float(byte[c][j]) * tones.gain[c] + tones.black[c] : tones.black[c];
                if (erased && erase[j]) v[j] = a.fill[c];
            }
            emit<V>(a.y, patch * a.y.cols + (c * a.patch + y) * a.patch + x, v);
        }
    }
}

template <class T, int V> __global__ void __launch_bounds__(kWarps * 32) class_positions_kernel(ClassPositionsFwd a) {
    in_turn();
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
    in_turn();
    const std::int64_t r = warp_row(), C = a.dy.cols;
    if (r >= a.dpatches.rows) return;
    const T* dy = row<T>(a.dy, r + unsigned(r) / unsigned(a.dpos.rows - 1) + 1);
    for_columns<V>(C, [&](std::int64_t c) { emit<V>(a.dpatches, r * C + c, read<V>(dy + c)); });
}

template <class T> __global__ void __launch_bounds__(kThreads) class_positions_dpos_kernel(ClassPositionsBwd a) {
    in_turn();
    const std::int64_t i = std::int64_t(blockIdx.x) * kThreads + threadIdx.x, size = a.dpos.rows * a.dy.cols;
    if (i >= size) return;
    float sum = 0;
    for (std::int64_t image = 0; image < a.dy.rows / a.dpos.rows; ++image) sum += float(ptr<T>(a.dy)[image * size + i]);
    emit(a.dpos, i, sum);
    if (i < a.dy.cols) emit(a.dcls, i, sum);
}

}  // namespace

void patchify(const PatchifyArgs& a) {
    const unsigned grid_h = unsigned((a.height - a.patch) / a.stride + 1), grid_w = unsigned((a.width - a.patch) / a.stride + 1);
    Tones tones;
    for (int c = 0; c < 3; ++c) tones.gain[c] = 1.f / (255.f * a.std[c]), tones.black[c] = -a.mean[c] / a.std[c];
    dispatch_width(in_fours(a.patch, {&a.y}), [&](auto v) {
        const dim3 grid(unsigned(a.pixels.rows), grid_h, ceil_div(std::int64_t(grid_w) * a.patch / v, 32));
        launch<patchify_kernel<v>>({grid, {32, unsigned(std::min(a.patch, kLines))}}, a, tones, grid_w);
    });
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
