// cuBLASLt as a peer: the fastest of its 16 best guesses for a product, found by timing them, on our stream and memory.
// The library is whichever one the process has loaded (PyTorch brings one) or the machine finds; nothing links to it.
//
// Its matrices are column-major, ours row-major: it is asked for the transpose, c' [n,m] = op(b)' op(a)'.
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "bench/capi.h"
#include "engine/context_cuda.h"
#include "engine/graph.h"
#include "ops/kernels.h"

namespace {

using eng::cuda::stream;
constexpr int kGuesses = 16, kLaunches = 32;
constexpr std::size_t kWorkspace = std::size_t(64) << 20;

struct Library {
    void* so = nullptr;
    template <class F> F* find(const char* name) const {
        void* f = dlsym(so, name);
        ENG_CHECK(f, "cublaslt", "the library has no ", name);
        return reinterpret_cast<F*>(f);
    }
    static void* open() {
        for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"})
            if (void* so = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return so;
        eng::fail("cublaslt", "this machine has no libcublasLt");
    }
    Library() : so(open()) {}
};
const Library& library() {
    static const Library l;
    return l;
}
#define LT(f) library().find<decltype(f)>(#f)
#define LT_CHECK(call)                                                                            \
    do {                                                                                          \
        if (const cublasStatus_t s_ = (call); s_ != CUBLAS_STATUS_SUCCESS) eng::fail("cublaslt", #call, ": status ", int(s_)); \
    } while (0)

struct Context {
    cublasLtHandle_t handle = nullptr;
    void* workspace = nullptr;
    decltype(&cublasLtMatmul) matmul = LT(cublasLtMatmul);
    Context() {
        LT_CHECK(LT(cublasLtCreate)(&handle));
        CUDA_CHECK(cudaMalloc(&workspace, kWorkspace));
    }
};
const Context& context() {
    static const Context c;
    return c;
}

struct Peer {
    cublasLtMatmulDesc_t op = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr, d = nullptr;  // in cuBLASLt's roles: its a is our b, its c what is added, its d our c
    cublasLtMatmulAlgo_t algo{};

    template <class T> void set(cublasLtMatmulDescAttributes_t what, const T& value) const {
        LT_CHECK(LT(cublasLtMatmulDescSetAttribute)(op, what, &value, sizeof(value)));
    }
    // What cuBLASLt adds to the product, or nothing.
    static const void* added(const eng::GemmArgs& g) { return g.residual.p ? g.residual.p : g.c.mode == eng::Mode::accumulate ? g.c.p : nullptr; }
    cublasStatus_t run(const eng::GemmArgs& g, const cublasLtMatmulAlgo_t& with) const {
        if (g.sums.p) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, g.sums.p);
        const float one = 1, beta = added(g) ? 1 : 0;
        return context().matmul(context().handle, op, &one, g.b.p, a, g.a.p, b, &beta, added(g) ? added(g) : g.c.p, c, g.c.p, d, &with,
                                context().workspace, kWorkspace, stream());
    }
};

cublasLtMatrixLayout_t layout(eng::View v) {  // row-major [rows, cols] seen as column-major [cols, rows]
    cublasLtMatrixLayout_t l = nullptr;
    LT_CHECK(LT(cublasLtMatrixLayoutCreate)(&l, v.dtype == eng::DType::f32 ? CUDA_R_32F : CUDA_R_16BF, v.cols, v.rows, v.pitch));
    return l;
}

// Of one launch among many that walk over the copies of the operands, as a graph: one by one, a small product would wait for the host
// and find its operands in the cache.
float milliseconds(const Peer& p, std::span<const eng::GemmArgs> sets, const cublasLtMatmulAlgo_t& algo) {
    if (p.run(sets[0], algo) != CUBLAS_STATUS_SUCCESS) return INFINITY;  // loads its kernels, too
    const int n = int(sets.size()), launches = (kLaunches + n - 1) / n * n;
    const auto graph = eng::cuda::capture([&] {
        for (int i = 0; i < launches; ++i) LT_CHECK(p.run(sets[i % n], algo));
    });
    cudaEvent_t begin, end;
    CUDA_CHECK(cudaEventCreate(&begin));
    CUDA_CHECK(cudaEventCreate(&end));
    float least = INFINITY;
    for (int i = 0; i < 3; ++i) {  // the first warms up
        float ms = 0;
        CUDA_CHECK(cudaEventRecord(begin, stream()));
        graph->launch();
        CUDA_CHECK(cudaEventRecord(end, stream()));
        CUDA_CHECK(cudaEventSynchronize(end));
        CUDA_CHECK(cudaEventElapsedTime(&ms, begin, end));
        least = std::min(least, ms);
    }
    CUDA_CHECK(cudaEventDestroy(begin));
    CUDA_CHECK(cudaEventDestroy(end));
    return least / float(launches);
}

void choose(Peer& p, std::span<const eng::GemmArgs> sets, int* tried) {
    cublasLtMatmulPreference_t preference = nullptr;
    LT_CHECK(LT(cublasLtMatmulPreferenceCreate)(&preference));
    LT_CHECK(LT(cublasLtMatmulPreferenceSetAttribute)(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspace, sizeof(kWorkspace)));
    std::vector<cublasLtMatmulHeuristicResult_t> guesses(kGuesses);
    int found = 0;
    LT_CHECK(LT(cublasLtMatmulAlgoGetHeuristic)(context().handle, p.op, p.a, p.b, p.c, p.d, preference, kGuesses, guesses.data(), &found));
    LT(cublasLtMatmulPreferenceDestroy)(preference);
    ENG_CHECK(found > 0, "cublaslt", "knows no way to multiply these");
    float least = INFINITY;
    for (int i = 0; i < found; ++i)
        if (const float ms = milliseconds(p, sets, guesses[i].algo); ms < least) least = ms, p.algo = guesses[i].algo;
    ENG_CHECK(std::isfinite(least), "cublaslt", "none of its ", found, " ways ran");
    *tried = found;
}

}  // namespace

extern "C" {

// c = op(a) op(b) (+ bias) (+ residual), or with the sums of a's columns, as in GemmArgs; its other epilogues are not cuBLASLt's. Times
// every guess on these copies of the operands (c is overwritten); `tried`: how many. null: an error, in scvd_error().
void* peer_cublaslt_open(const eng::GemmArgs* sets, int copies, int* tried) {
    Peer* p = nullptr;
    scvd_bench::guarded([&] {
        const eng::GemmArgs& g = *sets;
        const auto epilogue = [&](cublasLtEpilogue_t e, const void* vector, eng::DType type) {
            p->set(CUBLASLT_MATMUL_DESC_EPILOGUE, e);
            p->set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector);
            p->set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type == eng::DType::f32 ? CUDA_R_32F : CUDA_R_16BF);
        };
        p = new Peer;
        LT_CHECK(LT(cublasLtMatmulDescCreate)(&p->op, CUBLAS_COMPUTE_32F, CUDA_R_32F));
        p->set(CUBLASLT_MATMUL_DESC_TRANSA, g.tb ? CUBLAS_OP_T : CUBLAS_OP_N);
        p->set(CUBLASLT_MATMUL_DESC_TRANSB, g.ta ? CUBLAS_OP_T : CUBLAS_OP_N);
        if (g.bias.p) epilogue(CUBLASLT_EPILOGUE_BIAS, g.bias.p, g.bias.dtype);
        if (g.sums.p) epilogue(CUBLASLT_EPILOGUE_BGRADB, g.sums.p, g.sums.dtype);  // sums over k of its b, which is our a
        p->a = layout(g.b), p->b = layout(g.a), p->d = layout(g.c);
        p->c = layout(g.residual.p ? g.residual : g.c);
        choose(*p, {sets, std::size_t(copies)}, tried);
    });
    return p && p->c && *tried > 0 ? p : nullptr;
}
int peer_cublaslt_run(void* peer, const eng::GemmArgs* g) {
    return scvd_bench::guarded([&] {
        const Peer* p = static_cast<Peer*>(peer);
        LT_CHECK(p->run(*g, p->algo));
    });
}

}  // extern "C"
