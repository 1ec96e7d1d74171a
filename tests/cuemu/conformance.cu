// what each PTX wrapper does, written down as formulas and compared with
// what it did. Built by g++ this tests the host twins; built by nvcc and run on a GPU it
// tests the asm. Passing in both places is what makes the twins trustworthy.
#include "ops/cuda/chip.h"
#include "ops/cuda/tma.h"
#include "ops/cuda/wgmma.h"
#include "tests/cuemu/test.h"

using namespace eng::cuda;
using std::vector;

// Row addresses of an 8x8 matrix per eight lanes; element (r, c) of the 32x8 array is 8r + c.
__global__ void k_ldmatrix(unsigned* out, unsigned* out_trans) {
    in_turn();
    GPU_SHARED(s, uint4[32]);
    auto* e = reinterpret_cast<unsigned short*>(&s[threadIdx.x]);
    for (int c = 0; c < 8; ++c) e[c] = static_cast<unsigned short>(8 * threadIdx.x + c);
    __syncwarp();
    unsigned r[4];
    ldmatrix_x4(r, &s[threadIdx.x]);
    for (int i = 0; i < 4; ++i) out[threadIdx.x * 4 + i] = r[i];
    ldmatrix_x4_trans(r, &s[threadIdx.x]);
    for (int i = 0; i < 4; ++i) out_trans[threadIdx.x * 4 + i] = r[i];
}
static void ldmatrix() {
    Device<unsigned> d(128), t(128);
    launch<k_ldmatrix>({dim3(1), dim3(32)}, d.p, t.p);
    auto got = d.host(), trans = t.host();
    int bad = 0;
    for (unsigned lane = 0; lane < 32; ++lane)
        for (unsigned m = 0; m < 4; ++m) {
            const unsigned q = lane / 4, c = 2 * (lane % 4), base = 64 * m;
            bad += got[lane * 4 + m] != ((base + 8 * q + c) | (base + 8 * q + c + 1) << 16);
            bad += trans[lane * 4 + m] != ((base + 8 * c + q) | (base + 8 * (c + 1) + q) << 16);
        }
    expect("ldmatrix x4, and transposed", bad, 0);
}

// D = A B with A and B built straight from the documented fragment positions.
__global__ void k_mma(float* out) {
    in_turn();
    const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4;
    auto a = [](unsigned row, unsigned k) { return float(int(row * 5 + k * 3) % 11 - 5); };
    auto b = [](unsigned k, unsigned n) { return float(int(k * 7 + n * 2) % 9 - 4); };
    const unsigned fa[4] = {pack_bf16(a(g, 2 * t), a(g, 2 * t + 1)), pack_bf16(a(g + 8, 2 * t), a(g + 8, 2 * t + 1)),
                            pack_bf16(a(g, 2 * t + 8), a(g, 2 * t + 9)),
                            pack_bf16(a(g + 8, 2 * t + 8), a(g + 8, 2 * t + 9))};
    float d[4] = {1, 2, 3, 4};
    mma_m16n8k16_bf16(d, fa, pack_bf16(b(2 * t, g), b(2 * t + 1, g)), pack_bf16(b(2 * t + 8, g), b(2 * t + 9, g)));
    for (int i = 0; i < 4; ++i) out[threadIdx.x * 4 + i] = d[i] - float(i + 1);
}
static void mma() {
    Device<float> d(128);
    launch<k_mma>({dim3(1), dim3(32)}, d.p);
    auto got = d.host();
    int bad = 0;
    for (unsigned lane = 0; lane < 32; ++lane)
        for (unsigned i = 0; i < 4; ++i) {
            const unsigned row = lane / 4 + i / 2 * 8, col = lane % 4 * 2 + i % 2;
            float want = 0;
            for (unsigned k = 0; k < 16; ++k)
                want += float(int(row * 5 + k * 3) % 11 - 5) * float(int(k * 7 + col * 2) % 9 - 4);
            bad += got[lane * 4 + i] != want;
        }
    expect("mma.m16n8k16 fragments", bad, 0);
}

// A short copy is filled with zeros.
__global__ void k_cp_async(const unsigned char* in, unsigned char* out) {
    in_turn();
    GPU_SHARED(s, uint4[32]);
    cp_async16(&s[threadIdx.x], in + 16 * threadIdx.x, threadIdx.x % 17);
    cp_async_commit();
    cp_async_wait<0>();
    for (int i = 0; i < 16; ++i) out[16 * threadIdx.x + i] = reinterpret_cast<unsigned char*>(&s[threadIdx.x])[i];
}
static void cp_async() {
    vector<unsigned char> in(512, 7);
    Device<unsigned char> d(in), o(512);
    launch<k_cp_async>({dim3(1), dim3(32)}, d.p, o.p);
    auto got = o.host();
    int bad = 0;
    for (int i = 0; i < 512; ++i) bad += got[i] != (i % 16 < i / 16 % 17 ? 7 : 0);
    expect("cp.async zero fill", bad, 0);
}

// A box that hangs over two edges of the tensor, or lies behind one: where its bytes land, the zeros, and that all bytes are counted.
__global__ void k_tma(const __grid_constant__ TensorMap map, unsigned short* out, int x, int y) {
    in_turn();
    GPU_DYN_SHARED(unsigned short, s);
    GPU_SHARED(bar, uint64_t);
    if (threadIdx.x == 0) {
        mbar_init(&bar, 1);
        fence_mbar_init();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        mbar_arrive_expect_tx(&bar, 64 * 128);
        tma_load_2d(s, map, &bar, x, y);
    }
    while (!mbar_try_wait(&bar, 0)) {}
    for (int i = threadIdx.x; i < 64 * 64; i += blockDim.x) out[i] = s[i];
}
static void tma(const char* where, int x, int y) {
    const int rows = 100, cols = 120;
    vector<bf16> in(rows * cols);
    for (size_t i = 0; i < in.size(); ++i)
        *reinterpret_cast<unsigned short*>(&in[i]) = static_cast<unsigned short>(i + 1);
    Device<bf16> d(in);
    Device<unsigned short> o(64 * 64);
    launch<k_tma>({dim3(1), dim3(32), 64 * 128}, make_tensor_map_bf16(d, rows, cols, 64, 64), o.p, x, y);
    auto got = o.host();
    int bad = 0;
    for (int r = 0; r < 64; ++r)
        for (int c = 0; c < 64; ++c) {
            const int at = r * 64 + ((c / 8 ^ r % 8) * 8 + c % 8);  // 16-byte chunks permuted by the row
            bad += got[at] != (y + r < rows && x + c < cols ? (y + r) * cols + x + c + 1 : 0);
        }
    expect(std::string("TMA box ") + where + ", 128-byte swizzle, zero fill", bad, 0);
}

// Two blocks of a cluster: each sends its half of a box to both and waits for both; then it tells the other that it has read.
struct PairSmem { unsigned short box[64 * 64]; uint64_t full, read; };
__global__ void k_multicast(const __grid_constant__ TensorMap map, unsigned short* out, unsigned* ranks) {
    in_turn();
    GPU_DYN_SHARED(PairSmem, s);
    const unsigned rank = cluster_rank();
    if (threadIdx.x == 0) {
        ranks[blockIdx.x] = rank;
        mbar_init(&s->full, 1);
        mbar_init(&s->read, 2 * blockDim.x);
        fence_mbar_init();
    }
    cluster_sync();
    if (threadIdx.x == 0) {
        mbar_arrive_expect_tx(&s->full, 64 * 128);
        tma_load_2d_multicast(s->box + rank * 32 * 64, map, &s->full, 64 * (blockIdx.x / 2), rank * 32, 3);
    }
    mbar_wait(&s->full, 0);
    for (int i = threadIdx.x; i < 64 * 64; i += blockDim.x) out[blockIdx.x * 64 * 64 + i] = s->box[i];
    mbar_arrive_at(&s->read, rank), mbar_arrive_at(&s->read, 1 - rank);
    mbar_wait(&s->read, 0);
    if (threadIdx.x == 0 && rank == 0) {  // what the other has read may be overwritten
        mbar_arrive_expect_tx(&s->full, 32 * 128);
        tma_load_2d_multicast(s->box, map, &s->full, 64 * (blockIdx.x / 2), 32, 3);
    }
    if (threadIdx.x == 0 && rank == 1) mbar_arrive_expect_tx(&s->full, 32 * 128);
    mbar_wait(&s->full, 1);
    for (int i = threadIdx.x; i < 32 * 64; i += blockDim.x) out[(4 + blockIdx.x) * 64 * 64 + i] = s->box[i];
    cluster_sync();
}
static void multicast() {
    const int rows = 50, cols = 128;  // the second half hangs over the edge
    vector<bf16> in(rows * cols);
    for (size_t i = 0; i < in.size(); ++i) *reinterpret_cast<unsigned short*>(&in[i]) = static_cast<unsigned short>(i + 1);
    Device<bf16> d(in);
    Device<unsigned short> o(vector<unsigned short>(8 * 64 * 64, 0));
    Device<unsigned> ranks(4);
    launch<k_multicast>({dim3(4), dim3(128), sizeof(PairSmem), 2}, make_tensor_map_bf16(d, rows, cols, 32, 64), o.p, ranks.p);
    const auto got = o.host();
    const auto who = ranks.host();
    int bad = 0;
    for (int b = 0; b < 4; ++b) {
        bad += who[b] != unsigned(b % 2);
        for (int r = 0; r < 64; ++r)
            for (int c = 0; c < 64; ++c) {
                const int at = b * 64 * 64 + r * 64 + ((c / 8 ^ r % 8) * 8 + c % 8), x = b / 2 * 64 + c;
                bad += got[at] != (r < rows ? r * cols + x + 1 : 0);
                if (r < 32) bad += got[4 * 64 * 64 + at] != (r + 32 < rows ? (r + 32) * cols + x + 1 : 0);
            }
    }
    expect("clusters: TMA multicast, arrival at a peer's mbarrier", bad, 0);
}

// wgmma on operands stored by hand in the swizzled layout, each k-major or mn-major; every K step of the tile.
// Element (r, k) of an operand of 64-wide blocks: k-major blocks of 64 k, mn-major blocks of 64 rows, 8 KB each.
template <Major M>
static int operand_at(int r, int k) {
    const int line = M == Major::k ? r : k, at = M == Major::k ? k : r % 64, block = M == Major::k ? 0 : r / 64;
    return block * 64 * 64 + line * 64 + (at / 8 ^ line % 8) * 8 + at % 8;
}
template <Major M>
PTX_INLINE const bf16* k_step_of(const bf16* tile, int k) { return tile + (M == Major::k ? k : k * 64); }

static float value_a(int r, int k) { return float((r * 5 + k * 3) % 11 - 5); }
static float value_b(int k, int c) { return float((k * 7 + c * 2) % 9 - 4); }

template <int N, Major MA, Major MB>
__global__ __launch_bounds__(128, 1) void k_wgmma(const bf16* stored, float* out, int first) {  // a as it is to lie, then b
    in_turn();
    GPU_DYN_SHARED(bf16, memory);
    bf16* s = memory + first;
    for (int i = threadIdx.x; i < (64 + N) * 64; i += 128) s[i] = stored[i];
    fence_proxy_async();
    __syncthreads();
    float d[N / 2];
#pragma unroll
    for (int i = 0; i < N / 2; ++i) d[i] = 1e9f;  // must be ignored: the first product does not accumulate
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < 64; k += 16)
        wgmma_bf16<N, MA, MB>(d, wgmma_desc(k_step_of<MA>(s, k), 8192), wgmma_desc(k_step_of<MB>(s + 64 * 64, k), 8192), k > 0);
    wgmma_commit();
    wgmma_wait<0>();
#pragma unroll
    for (int i = 0; i < N / 2; ++i) out[threadIdx.x * (N / 2) + i] = d[i];
}
template <int N>
static int wrong_elements(const vector<float>& got) {
    int bad = 0;
    for (int t = 0; t < 128; ++t)
        for (int i = 0; i < N / 2; ++i) {
            const int row = t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8, col = i / 4 * 8 + t % 4 * 2 + i % 2;
            float want = 0;
            for (int k = 0; k < 64; ++k) want += value_a(row, k) * value_b(k, col);
            bad += got[t * (N / 2) + i] != want;
        }
    return bad;
}
template <int N, Major MA, Major MB>
static void wgmma_case(int kb = 0) {  // the operands lie so far into shared memory
    vector<bf16> stored((64 + N) * 64);
    for (int k = 0; k < 64; ++k) {
        for (int r = 0; r < 64; ++r) stored[operand_at<MA>(r, k)] = __float2bfloat16(value_a(r, k));
        for (int c = 0; c < N; ++c) stored[64 * 64 + operand_at<MB>(c, k)] = __float2bfloat16(value_b(k, c));
    }
    Device<bf16> in(stored);
    Device<float> d(128 * N / 2);
    launch<k_wgmma<N, MA, MB>>({dim3(1), dim3(128), std::size_t(kb) * 1024 + (64 + N) * 128}, in.p, d.p, kb * 512);
    const char* major[] = {"k-major", "mn-major"};
    expect("wgmma m64n" + std::to_string(N) + "k16, a " + major[int(MA)] + ", b " + major[int(MB)] + (kb ? ", " + std::to_string(kb) + " KB on" : ""),
           wrong_elements<N>(d.host()), 0);
}
// a from registers: fragments of value_a.
template <int N, Major MB>
__global__ __launch_bounds__(128, 1) void k_wgmma_registers(const bf16* a, const bf16* stored, float* out) {  // a [64][64]; b as it is to lie
    in_turn();
    GPU_DYN_SHARED(bf16, s);
    for (int i = threadIdx.x; i < N * 64; i += 128) s[i] = stored[i];
    fence_proxy_async();
    __syncthreads();
    float d[N / 2];
    unsigned f[4][4];
    const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, col = threadIdx.x % 4 * 2;
#pragma unroll
    for (int k = 0; k < 4; ++k)
#pragma unroll
        for (int i = 0; i < 4; ++i) f[k][i] = *reinterpret_cast<const unsigned*>(&a[(row + i % 2 * 8) * 64 + k * 16 + i / 2 * 8 + col]);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; ++k) wgmma_bf16<N, MB>(d, f[k], wgmma_desc(k_step_of<MB>(s, 16 * k), 8192), k > 0);
    wgmma_commit();
    wgmma_wait<0>();
#pragma unroll
    for (int i = 0; i < N / 2; ++i) out[threadIdx.x * (N / 2) + i] = d[i];
}
template <int N, Major MB>
static void wgmma_registers_case() {
    vector<bf16> a(64 * 64), stored(N * 64);
    for (int k = 0; k < 64; ++k) {
        for (int r = 0; r < 64; ++r) a[r * 64 + k] = __float2bfloat16(value_a(r, k));
        for (int c = 0; c < N; ++c) stored[operand_at<MB>(c, k)] = __float2bfloat16(value_b(k, c));
    }
    Device<bf16> da(a), db(stored);
    Device<float> d(128 * N / 2);
    launch<k_wgmma_registers<N, MB>>({dim3(1), dim3(128), N * 128}, da.p, db.p, d.p);
    expect("wgmma m64n" + std::to_string(N) + "k16, a in registers, b " + (MB == Major::k ? "k-major" : "mn-major"), wrong_elements<N>(d.host()), 0);
}
template <int N>
static void wgmma() {
    wgmma_case<N, Major::k, Major::k>();
    wgmma_case<N, Major::k, Major::mn>();
    wgmma_case<N, Major::mn, Major::k>();
    wgmma_case<N, Major::mn, Major::mn>();
}

// Shuffles with narrow widths, votes.
__global__ void k_shuffle(int* out) {
    in_turn();
    const int l = threadIdx.x;
    int* o = out + l * 8;
    o[0] = __shfl_sync(0xffffffffu, l, l + 3, 8);
    o[1] = __shfl_up_sync(0xffffffffu, l, 3, 8);
    o[2] = __shfl_down_sync(0xffffffffu, l, 3, 8);
    o[3] = __shfl_xor_sync(0xffffffffu, l, 5, 8);
    o[4] = __shfl_xor_sync(0xffffffffu, l, 16);
    o[5] = int(__ballot_sync(0xffffffffu, l % 5 == 0));
    o[6] = __reduce_max_sync(0xffffffffu, l * 7 % 13);
    o[7] = __all_sync(0xffffffffu, l < 31) + 2 * __any_sync(0xffffffffu, l > 30);
}
static void shuffle() {
    Device<int> d(256);
    launch<k_shuffle>({dim3(1), dim3(32)}, d.p);
    auto got = d.host();
    int bad = 0;
    unsigned fives = 0;
    for (int l = 0; l < 32; l += 5) fives |= 1u << l;
    for (int l = 0; l < 32; ++l) {
        const int base = l / 8 * 8, want[8] = {base + (l + 3) % 8,
                                               l % 8 >= 3 ? l - 3 : l,
                                               l % 8 < 5 ? l + 3 : l,
                                               l ^ 5,
                                               l ^ 16,
                                               int(fives),
                                               12,
                                               2};
        for (int i = 0; i < 8; ++i) bad += got[l * 8 + i] != want[i];
    }
    expect("shuffles, votes, reduce", bad, 0);
}

// Warpgroups trade registers, as the product's producer and consumers do: 24 + 240 + 240 instead of 3 x 168.
__global__ __launch_bounds__(384, 1) void k_registers(const float* in, float* out) {
    in_turn();
    out += blockIdx.x * 384;
    if (threadIdx.x < 128) {
        setmaxnreg_dec<24>();
        out[threadIdx.x] = in[threadIdx.x];
    } else {
        setmaxnreg_inc<240>();
        float v[160];
#pragma unroll
        for (int i = 0; i < 160; ++i) v[i] = in[(threadIdx.x + i) % 384];
        float sum = 0;
#pragma unroll
        for (int i = 0; i < 160; ++i) sum += v[i] * v[159 - i];
        out[threadIdx.x] = sum;
    }
}
static void registers() {
    vector<float> in(384);
    for (int i = 0; i < 384; ++i) in[i] = float(i % 5 - 2);
    constexpr int blocks = 200;  // more than run at once: what one has traded is whole again for the next
    Device<float> d(in), o(blocks * 384);
    launch<k_registers>({dim3(blocks), dim3(384)}, d.p, o.p);
    const auto got = o.host();
    int bad = 0;
    for (int t = 0; t < 384; ++t) {
        float want = t < 128 ? in[t] : 0;
        for (int i = 0; i < 160 && t >= 128; ++i) want += in[(t + i) % 384] * in[(t + 159 - i) % 384];
        for (int b = 0; b < blocks; ++b) bad += got[b * 384 + t] != want;
    }
    expect("setmaxnreg", bad, 0);
}

int main() {
    try {
        shuffle();
        cp_async();
        ldmatrix();
        mma();
        tma("over two edges", 80, 60);
        tma("behind the last column", 128, 0);
        tma("behind the last row", 0, 128);
        wgmma_case<8, Major::k, Major::k>();
        wgmma_registers_case<64, Major::k>();
        wgmma_registers_case<64, Major::mn>();
        wgmma_registers_case<256, Major::k>();
        wgmma_registers_case<256, Major::mn>();
        wgmma<64>();
        wgmma<128>();
        wgmma<192>();
        wgmma<256>();
        wgmma_case<256, Major::k, Major::k>(72);
        wgmma_case<256, Major::k, Major::k>(176);
        wgmma_case<256, Major::mn, Major::mn>(176);
        registers();
        if (clusters_are_wanted()) multicast();
    } catch (const std::exception& e) {
        printf("%s\n", e.what());
        return 1;
    }
    printf("%d failures\n", failures);
    return failures != 0;
}
