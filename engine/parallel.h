#pragma once
// One pool of threads for every CPU kernel. Work is split statically into contiguous ranges, so which thread
// computes what never depends on timing.
#include <cstdint>
#include <type_traits>

namespace eng {

int num_threads();
void set_num_threads(int n);  // n < 1: as many as the machine has

// Runs task(context, chunk) for chunk = 0 .. chunks-1, all of them before returning. Nested calls run in turn.
void run_chunks(int chunks, void (*task)(void*, int), void* context);

// body(begin, end) over a partition of [0, n) into at most num_threads() ranges of at least `grain` elements.
template <class Body>
void parallel_for(std::int64_t n, std::int64_t grain, Body&& body) {
    if (n <= 0) return;
    const std::int64_t most = (n + grain - 1) / grain;
    const int chunks = int(most < num_threads() ? most : num_threads());
    if (chunks <= 1) return body(std::int64_t(0), n);
    struct Context { std::remove_reference_t<Body>* body; std::int64_t n; int chunks; } context{&body, n, chunks};
    run_chunks(chunks, [](void* p, int chunk) {
        const Context& c = *static_cast<Context*>(p);
        (*c.body)(c.n * chunk / c.chunks, c.n * (chunk + 1) / c.chunks);
    }, &context);
}

}  // namespace eng
