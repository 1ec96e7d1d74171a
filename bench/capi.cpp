// The engine as a C library, for measuring it inside other processes: every kernel by its name and argument struct, as
// listed in ops/kernels.def, and a whole training step. Calls return 0, or 1 with the sentence in scvd_error().
// Kernels are enqueued on scvd_stream() (null on the CPU, where they have run when the call returns).
#include <string>

#include "bench/capi.h"
#include "bench/made_up_step.h"
#include "engine/parallel.h"
#include "ops/kernels.h"

namespace scvd_bench {
std::string& last_error() {
    static thread_local std::string message;
    return message;
}
}  // namespace scvd_bench
using scvd_bench::guarded;

extern "C" {

const char* scvd_error() { return scvd_bench::last_error().c_str(); }
const char* scvd_sources(int whole_model) { return whole_model ? SCVD_STEP_HASH : SCVD_KERNEL_HASH; }
void scvd_set_threads(int n) { eng::set_num_threads(n); }

#define KERNEL(name, Args)                                                                       \
    std::size_t scvd_size_##name() { return sizeof(eng::Args); }                                 \
    int scvd_run_##name(int device, const eng::Args* args) {                                     \
        return guarded([&] { eng::run_##name(eng::Device(device), *args); });                    \
    }
#include "ops/kernels.def"
#undef KERNEL

// A step of `preset` at another batch size, dtype and choice of pairs ("hard:7", "all"; "": the preset's). null: an error.
void* scvd_step_open(const char* preset, const char* dtype, const char* pairs, int batch, int device) {
    void* step = nullptr;
    guarded([&] {
        scvd::Config c;
        scvd::load_config(c, preset);
        c.model.dtype = dtype;
        if (*pairs) c.model.loss.pairs = pairs;
        c.train.batch = batch;
        eng::default_device = eng::Device(device);
        step = new scvd::MadeUpStep(c, eng::Device(device));
    });
    return step;
}
int scvd_step_close(void* step) {
    return guarded([&] { delete static_cast<scvd::MadeUpStep*>(step); });
}
int scvd_step_dump(void* step, const char* folder) {
    return guarded([&] { static_cast<scvd::MadeUpStep*>(step)->dump(folder); });
}
int scvd_step_backward(void* step, double* loss) {
    return guarded([&] { *loss = static_cast<scvd::MadeUpStep*>(step)->backward(); });
}
int scvd_step_run(void* step, int as_graph) {
    return guarded([&] { static_cast<scvd::MadeUpStep*>(step)->run(as_graph); });
}
double scvd_step_peak_bytes(void* step) { return double(static_cast<scvd::MadeUpStep*>(step)->peak_bytes()); }
// Parameter i in the order of declaration: its name, and its gradient as floats (f32 beside f32 and bf16 models). 1 behind
// the last.
int scvd_step_gradient(void* step, int i, const char** name, eng::View* gradient) {
    auto& all = static_cast<scvd::MadeUpStep*>(step)->model().params().all();
    if (i >= int(all.size())) return 1;
    const eng::Tensor& g = all[i].grad;
    *name = all[i].name.c_str();
    *gradient = {g.raw(), g.dtype(), g.rows(), g.cols(), g.cols()};
    return 0;
}

}  // extern "C"
