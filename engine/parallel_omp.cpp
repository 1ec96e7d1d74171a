// The pool under g++: libgomp's, which oneDNN uses too, so the two never compete for a core.
#include <omp.h>

#include "engine/parallel.h"

namespace eng {

int num_threads() { return omp_in_parallel() ? 1 : omp_get_max_threads(); }
void set_num_threads(int n) { omp_set_num_threads(n < 1 ? omp_get_num_procs() : n); }

void run_chunks(int chunks, void (*task)(void*, int), void* context) {
#pragma omp parallel for schedule(static, 1) num_threads(chunks)
    for (int i = 0; i < chunks; ++i) task(context, i);
}

}  // namespace eng
