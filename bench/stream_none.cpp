// A build without CUDA has no stream to share.
#include "bench/capi.h"
#include "engine/error.h"

extern "C" int scvd_stream(void**) {
    return scvd_bench::guarded([] { eng::fail("cuda", "this build has no CUDA"); });
}
