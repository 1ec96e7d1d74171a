// The engine's stream for who measures it: work of other libraries goes there too.
#include "bench/capi.h"
#include "engine/context_cuda.h"

extern "C" int scvd_stream(void** stream) {
    return scvd_bench::guarded([&] { *stream = eng::cuda::stream(); });
}
