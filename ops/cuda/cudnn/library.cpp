#include "ops/cuda/cudnn/library.h"

#include <dlfcn.h>

#include "engine/environment.h"
#include "ops/provider.h"

namespace eng::cuda::cudnn {
namespace {

Library load() {
    const char* file = environment_or("SCVD_CUDNN", "libcudnn.so.9");
    Library l{};
    l.handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!l.handle)
        fail("cudnn", "--conv cudnn and --attention cudnn need NVIDIA's cuDNN 9, and it cannot be loaded: ", dlerror(),
             " (where it is elsewhere, SCVD_CUDNN names the file)");
#define CUDNN_LOAD(name)                                                              \
    l.name = reinterpret_cast<decltype(l.name)>(dlsym(l.handle, "cudnn" #name));      \
    ENG_CHECK(l.name, "cudnn", file, " has no function cudnn" #name ": it is not cuDNN 9");
    CUDNN_FUNCTIONS(CUDNN_LOAD)
#undef CUDNN_LOAD
    const std::size_t version = l.GetVersion();
    ENG_CHECK(version / 10000 == 9, "cudnn", file, " is of version ", version, " (want 9)");
    return l;
}

}  // namespace

const Library& library() {
    static const Library l = load();
    return l;
}

cudnnHandle_t handle() {
    static const cudnnHandle_t h = [] {
        const cudaStream_t compute = stream();
        cudnnHandle_t h = nullptr;
        CUDNN_CHECK(Create(&h));
        CUDNN_CHECK(SetStream(h, compute));
        return h;
    }();
    return h;
}

}  // namespace eng::cuda::cudnn

namespace eng::cuda {
void require_cudnn_conv() { cudnn::library(); }
}  // namespace eng::cuda
