#pragma once
// What attention computes with on the CPU: small f32 matrices that stay in cache, rows padded to whole vectors, and their
// products, whose sums stay in registers.
#include <algorithm>
#include <utility>

#include "ops/cpu/math.h"
#include "ops/cpu/store.h"

namespace eng::cpu {

// As wide as the CPU's: g++ takes wider ones apart, element by element.
#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kSums = 16;  // 32 registers
#elif defined(__AVX__)
constexpr int kVectorBytes = 32, kSums = 8;   // 16 registers
#else
constexpr int kVectorBytes = 16, kSums = 8;
#endif
template <class A> struct Lanes;
template <> struct Lanes<float> { typedef float type __attribute__((vector_size(kVectorBytes), aligned(4), may_alias)); };
template <> struct Lanes<double> { typedef double type __attribute__((vector_size(kVectorBytes), aligned(8), may_alias)); };
template <class A> using Vec = typename Lanes<A>::type;

inline Vec<float>* vectors(float* p) { return reinterpret_cast<Vec<float>*>(p); }
inline Vec<double>* vectors(double* p) { return reinterpret_cast<Vec<double>*>(p); }

template <class A> constexpr std::int64_t kLanes = kVectorBytes / std::int64_t(sizeof(A));
template <class A> std::int64_t padded(std::int64_t n) { return (n + kLanes<A> - 1) / kLanes<A> * kLanes<A>; }

inline Vec<float> exp_of_lanes(Vec<float> x) {
    typedef std::uint32_t Bits __attribute__((vector_size(kVectorBytes)));
    return exp_of<Vec<float>, Bits>(x);
}
inline Vec<double> exp_of_lanes(Vec<double> x) {
    for (int i = 0; i < kLanes<double>; ++i) x[i] = exp_(x[i]);
    return x;
}

template <class A> struct Tile {  // [rows][ld], reused from call to call
    struct alignas(kVectorBytes) Line { A at[kLanes<A>]; };  // vectors that straddled two cache lines would be loaded twice
    std::vector<Line> data;
    std::int64_t rows = 0, ld = 0;
    void shape(std::int64_t n, std::int64_t cols) {  // each row's last vector becomes 0, and with it what pads the row
        rows = n, ld = std::max(kLanes<A>, padded<A>(cols));
        data.resize(std::size_t(rows * ld / kLanes<A>));
        for (std::int64_t r = 0; r < rows; ++r) vec(r, ld - kLanes<A>) = Vec<A>{};
    }
    A* row(std::int64_t r) { return reinterpret_cast<A*>(data.data()) + r * ld; }
    Vec<A>& vec(std::int64_t r, std::int64_t c) { return *vectors(row(r) + c); }
    void zero() { std::fill(data.begin(), data.end(), Line{}); }
};

// tile [n,D] = rows [first, first+n) of v, D columns from `col` on.
template <class T, class A>
void load(Tile<A>& tile, const View& v, std::int64_t first, std::int64_t n, std::int64_t col, std::int64_t D) {
    tile.shape(n, D);
    for (std::int64_t r = 0; r < n; ++r) {
        const T* x = row<T>(v, first + r) + col;
        A* to = tile.row(r);
#pragma omp simd
        for (std::int64_t d = 0; d < D; ++d) to[d] = A(x[d]);
    }
}
// rows [first, first+n) of o, D columns from `col` on, (+)= tile
template <class T, class A>
void put(const Out& o, std::int64_t first, std::int64_t n, std::int64_t col, std::int64_t D, Tile<A>& tile) {
    if (o.mode == Mode::skip) return;
    for (std::int64_t r = 0; r < n; ++r) {
        T* y = row<T>(o, first + r) + col;
        const A* x = tile.row(r);
        if (o.mode == Mode::accumulate)
#pragma omp simd
            for (std::int64_t d = 0; d < D; ++d) store(y[d], A(y[d]) + x[d]);
        else
#pragma omp simd
            for (std::int64_t d = 0; d < D; ++d) store(y[d], x[d]);
    }
}

// The halves of two vectors, lane by lane in turns: a0 b0 a1 b1 ..
template <class A, bool Upper, std::size_t... I>
Vec<A> interleaved(Vec<A> a, Vec<A> b, std::index_sequence<I...>) {
    constexpr int N = int(kLanes<A>);
    return __builtin_shufflevector(a, b, int(I % 2 * N + I / 2 + Upper * N / 2)...);
}
// to = from^T, square by square. Interleaving row i with row i + N/2, for all i, moves one bit of an element's row number to
// its column number; when all of them have moved, the square is transposed.
template <class A>
void transpose(Tile<A>& to, Tile<A>& from) {
    constexpr int N = int(kLanes<A>);
    to.shape(from.ld, from.rows);
    for (std::int64_t r = 0; r < from.rows; r += N)
        for (std::int64_t c = 0; c < from.ld; c += N) {
            Vec<A> x[N], y[N];
            for (int i = 0; i < N; ++i) x[i] = r + i < from.rows ? from.vec(r + i, c) : Vec<A>{};
            for (int moved = 1; moved < N; moved *= 2) {
                for (int i = 0; i < N / 2; ++i) {
                    y[2 * i] = interleaved<A, false>(x[i], x[i + N / 2], std::make_index_sequence<N>{});
                    y[2 * i + 1] = interleaved<A, true>(x[i], x[i + N / 2], std::make_index_sequence<N>{});
                }
                for (int i = 0; i < N; ++i) x[i] = y[i];
            }
            for (int i = 0; i < N; ++i) to.vec(c + i, r) = x[i];
        }
}

// c[R, V vectors] (+)= a b, a element (m,k) at a[m*am + k*ak].
template <bool Add, int R, int V, class A>
void product_tile(std::int64_t K, A* a, std::int64_t am, std::int64_t ak, A* b, std::int64_t ldb, A* c, std::int64_t ldc) {
    Vec<A> sum[R][V] = {};
    if constexpr (Add)
        for (int r = 0; r < R; ++r)
            for (int v = 0; v < V; ++v) sum[r][v] = vectors(c + r * ldc)[v];
    for (std::int64_t k = 0; k < K; ++k)
        for (int v = 0; v < V; ++v) {
            const Vec<A> x = vectors(b + k * ldb)[v];
            for (int r = 0; r < R; ++r) sum[r][v] += a[r * am + k * ak] * x;
        }
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) vectors(c + r * ldc)[v] = sum[r][v];
}
// All rows of V vectors of columns, R at a time and the rest by half as many: b's columns stay in L1.
template <bool Add, int R, int V, class A>
void product_columns(std::int64_t M, std::int64_t K, A* a, std::int64_t am, std::int64_t ak, A* b, std::int64_t ldb, A* c, std::int64_t ldc) {
    std::int64_t m = 0;
    for (; m + R <= M; m += R) product_tile<Add, R, V>(K, a + m * am, am, ak, b, ldb, c + m * ldc, ldc);
    if constexpr (R > 1) product_columns<Add, R / 2, V>(M - m, K, a + m * am, am, ak, b, ldb, c + m * ldc, ldc);
}
struct Rows { std::int64_t first, count; };
template <bool Add, class A>
void product_of(Tile<A>& c, Rows rows, A* a, std::int64_t am, std::int64_t ak, Tile<A>& b, std::int64_t b_first, std::int64_t K) {
    const auto columns = [&](auto vectors, std::int64_t n) {
        constexpr int V = vectors();
        product_columns<Add, std::min(8, kSums / V), V>(rows.count, K, a, am, ak, b.row(b_first) + n, b.ld, c.row(rows.first) + n, c.ld);
    };
    std::int64_t n = 0;
    for (; n + 4 * kLanes<A> <= c.ld; n += 4 * kLanes<A>) columns(std::integral_constant<int, 4>{}, n);
    for (; n + 2 * kLanes<A> <= c.ld; n += 2 * kLanes<A>) columns(std::integral_constant<int, 2>{}, n);
    if (n < c.ld) columns(std::integral_constant<int, 1>{}, n);
}
// Some rows of c (+)= the same rows of a, times the first K of b.
template <bool Add = false, class A>
void product(Tile<A>& c, Rows rows, Tile<A>& a, Tile<A>& b, std::int64_t K) {
    product_of<Add>(c, rows, a.row(rows.first), a.ld, 1, b, 0, K);
}
// Some rows of c = a^T b over rows k of both; the first column of a makes the first of these rows.
template <class A>
void product_transposed(Tile<A>& c, Rows rows, Tile<A>& a, Tile<A>& b, Rows k) {
    product_of<false>(c, rows, a.row(k.first), 1, a.ld, b, k.first, k.count);
}

}  // namespace eng::cpu
