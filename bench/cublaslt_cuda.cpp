// cuBLASLt as a peer: the fastest of its 16 best guesses for a product, found by timing them, on our stream and memory.
// The library is whichever one the process has loaded (PyTorch brings one) or the machine finds; nothing links to it.
//
// Its matrices are column-major, ours row-major: it is asked for the transpose, c' [n,m] = op(b)' op(a)'.
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <cmath>
#include <vector>

#include "bench/capi.h"
#include "engine/context_cuda.h"
#include "ops/kernels.h"

namespace {

using eng::cuda::stream;
constexpr int kGuesses = 16;
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
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;  // in cuBLASLt's roles: its a is our b
    cublasLtMatmulAlgo_t algo{};
    bool accumulate = false;

    template <class T> void set(cublasLtMatmulDescAttributes_t what, const T& value) {
        LT_CHECK(LT(cublasLtMatmulDescSetAttribute)(op, what, &value, sizeof(value)));
    }
    cublasStatus_t run(const eng::GemmArgs& g, const cublasLtMatmulAlgo_t& with) const {
        const float one = 1, beta = accumulate ? 1 : 0;
        return context().matmul(context().handle, op, &one, g.b.p, a, g.a.p, b, &beta, g.c.p, c, g.c.p, c, &with, context().workspace,
                                kWorkspace, stream());
    }
};

cublasLtMatrixLayout_t layout(eng::View v) {  // row-major [rows, cols] seen as column-major [cols, rows]
    cublasLtMatrixLayout_t l = nullptr;
    LT_CHECK(LT(cublasLtMatrixLayoutCreate)(&l, v.dtype == eng::DType::f32 ? CUDA_R_32F : CUDA_R_16BF, v.cols, v.rows, v.pitch));
    return l;
}

float milliseconds(const Peer& p, const eng::GemmArgs& g, const cublasLtMatmulAlgo_t& algo) {
    cudaEvent_t begin, end;
    CUDA_CHECK(cudaEventCreate(&begin));
    CUDA_CHECK(cudaEventCreate(&end));
    float ms = INFINITY;
    bool ok = true;
    for (int i = 0; i < 3 && ok; ++i) ok = p.run(g, algo) == CUBLAS_STATUS_SUCCESS;
    if (ok) {
        CUDA_CHECK(cudaEventRecord(begin, stream()));
        for (int i = 0; i < 20; ++i) p.run(g, algo);
        CUDA_CHECK(cudaEventRecord(end, stream()));
        CUDA_CHECK(cudaEventSynchronize(end));
        CUDA_CHECK(cudaEventElapsedTime(&ms, begin, end));
    }
    CUDA_CHECK(cudaEventDestroy(begin));
    CUDA_CHECK(cudaEventDestroy(end));
    return ms;
}

void choose(Peer& p, const eng::GemmArgs& g, int* tried) {
    cublasLtMatmulPreference_t preference = nullptr;
    LT_CHECK(LT(cublasLtMatmulPreferenceCreate)(&preference));
    LT_CHECK(LT(cublasLtMatmulPreferenceSetAttribute)(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspace, sizeof(kWorkspace)));
    std::vector<cublasLtMatmulHeuristicResult_t> guesses(kGuesses);
    int found = 0;
    LT_CHECK(LT(cublasLtMatmulAlgoGetHeuristic)(context().handle, p.op, p.a, p.b, p.c, p.c, preference, kGuesses, guesses.data(), &found));
    LT(cublasLtMatmulPreferenceDestroy)(preference);
    ENG_CHECK(found > 0, "cublaslt", "knows no way to multiply these");
    float least = INFINITY;
    for (int i = 0; i < found; ++i)
        if (const float ms = milliseconds(p, g, guesses[i].algo); ms < least) least = ms, p.algo = guesses[i].algo;
    ENG_CHECK(std::isfinite(least), "cublaslt", "none of its ", found, " ways ran");
    *tried = found;
}

}  // namespace

extern "C" {

// c = op(a) op(b) (+ bias) as in GemmArgs, without its other epilogues. Times every guess on these very buffers (c is
// overwritten); `tried`: how many. null: an error, in scvd_error().
void* peer_cublaslt_open(const eng::GemmArgs* g, int* tried) {
    Peer* p = nullptr;
    scvd_bench::guarded([&] {
        p = new Peer;
        p->accumulate = g->c.mode == eng::Mode::accumulate;
        LT_CHECK(LT(cublasLtMatmulDescCreate)(&p->op, CUBLAS_COMPUTE_32F, CUDA_R_32F));
        p->set(CUBLASLT_MATMUL_DESC_TRANSA, g->tb ? CUBLAS_OP_T : CUBLAS_OP_N);
        p->set(CUBLASLT_MATMUL_DESC_TRANSB, g->ta ? CUBLAS_OP_T : CUBLAS_OP_N);
        if (g->bias.p) {
            p->set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
            p->set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, g->bias.p);
            p->set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, g->bias.dtype == eng::DType::f32 ? CUDA_R_32F : CUDA_R_16BF);
        }
        p->a = layout(g->b), p->b = layout(g->a), p->c = layout(g->c);
        choose(*p, *g, tried);
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
