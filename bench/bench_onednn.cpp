// oneDNN alone, as a peer of bench/cpu_peers.py: y [m,n] = x [m,k] w' with w in its plain layout, and with w packed once in
// the layout that oneDNN likes best (as a program could that only infers).
//   bench_onednn f32|bf16 plain|packed MxNxK...      a JSON object: milliseconds, least and median, per shape
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <dnnl.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace {

using dnnl::memory;

struct Product {
    dnnl::engine engine{dnnl::engine::kind::cpu, 0};
    dnnl::stream stream{engine};
    dnnl::matmul op;
    memory x, w, y;

    Product(memory::dim m, memory::dim n, memory::dim k, bool bf16, bool packed) {
        const auto type = bf16 ? memory::data_type::bf16 : memory::data_type::f32;
        const memory::desc dx({m, k}, type, memory::dims{k, 1}), plain({k, n}, type, memory::dims{1, k}), dy({m, n}, type, memory::dims{n, 1});
        const memory::desc dw = packed ? memory::desc({k, n}, type, memory::format_tag::any) : plain;
        const dnnl::matmul::primitive_desc pd(dnnl::matmul::desc(dx, dw, dy), engine);
        op = dnnl::matmul(pd);
        x = filled(dx), y = memory(dy, engine);
        memory source = filled(plain);
        w = memory(pd.weights_desc(), engine);
        dnnl::reorder(source, w).execute(stream, source, w);
        stream.wait();
    }
    memory filled(const memory::desc& d) {
        const memory::desc wide(d.dims(), memory::data_type::f32, memory::dims{d.dims()[1], 1});
        memory from(wide, engine), to(d, engine);
        auto* p = static_cast<float*>(from.get_data_handle());
        unsigned state = 1;
        for (memory::dim i = 0; i < d.dims()[0] * d.dims()[1]; ++i) p[i] = float(int((state = state * 1664525u + 1013904223u) >> 16) % 2001 - 1000) / 1000;
        dnnl::reorder(from, to).execute(stream, from, to);
        stream.wait();
        return to;
    }
    void run() {
        op.execute(stream, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DST, y}});
        stream.wait();
    }
};

nlohmann::json milliseconds(Product& p) {
    using clock = std::chrono::steady_clock;
    const char* threads = std::getenv("OMP_NUM_THREADS");
    const auto now = [cpu = threads && std::string(threads) == "1"] {  // one thread: the time that this process computed
        return cpu ? 1e3 * double(std::clock()) / CLOCKS_PER_SEC : std::chrono::duration<double, std::milli>(clock::now().time_since_epoch()).count();
    };
    std::vector<double> ms;
    for (int i = 0; i < 3; ++i) p.run();
    for (const auto end = clock::now() + std::chrono::milliseconds(300); clock::now() < end || ms.size() < 10;) {
        const double start = now();
        p.run();
        ms.push_back(now() - start);
    }
    std::sort(ms.begin(), ms.end());
    return {ms.front(), ms[ms.size() / 2]};
}

}  // namespace

int main(int argc, char** argv) try {
    nlohmann::json out;
    for (int i = 3; i < argc; ++i) {
        long m = 0, n = 0, k = 0;
        if (std::sscanf(argv[i], "%ldx%ldx%ld", &m, &n, &k) != 3) throw std::runtime_error(std::string(argv[i]) + " is not MxNxK");
        Product p(m, n, k, std::string(argv[1]) == "bf16", std::string(argv[2]) == "packed");
        out[argv[i]] = milliseconds(p);
    }
    if (out.empty()) throw std::runtime_error("usage: bench_onednn f32|bf16 plain|packed MxNxK...");
    fmt::print("{}\n", out.dump());
} catch (const std::exception& e) {
    fmt::print(stderr, "bench_onednn: {}\n", e.what());
    return 1;
}
