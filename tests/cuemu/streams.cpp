// Streams and events of the emulated GPU, as late as they may be: what is put on a stream happens when somebody waits for
// it, so that a wait which is missing, on either side, shows as stale bytes. Kernels run at once, after all that their own
// stream was given before. CUEMU_ASYNC=eager does everything at once; random does some of it at once.
#include <cuda_runtime_api.h>

#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "cuemu/core.h"

namespace {

struct Stream {
    std::deque<std::function<void()>> work;
};
struct Record {  // of an event: done when the stream gets there
    Stream* stream;
    bool done = false;
};
struct Event {
    std::shared_ptr<Record> last;
};
std::recursive_mutex lock;
std::vector<Stream*> streams;

Stream* of(cudaStream_t s) { return reinterpret_cast<Stream*>(s); }
Event* of(cudaEvent_t e) { return reinterpret_cast<Event*>(e); }

void step(Stream& s) {
    const auto work = std::move(s.work.front());
    s.work.pop_front();
    work();
}
void finish(Stream& s) {
    while (!s.work.empty()) step(s);
}
void finish(Record& r) {
    while (!r.done) step(*r.stream);
}
bool at_once() {
    using Async = cuemu::Options::Async;
    static std::mt19937_64 coin(cuemu::options().seed);
    return cuemu::options().async == Async::eager || (cuemu::options().async == Async::random && coin() % 2);
}
void put(cudaStream_t stream, std::function<void()> work) {
    std::lock_guard g(lock);
    if (!stream) return work();
    of(stream)->work.push_back(std::move(work));
    if (at_once()) finish(*of(stream));
}

}  // namespace

namespace cuemu {
void catch_up(cudaStream_t s) {
    std::lock_guard g(lock);
    if (s) finish(*of(s));
}
void catch_up_all() {
    std::lock_guard g(lock);
    for (Stream* s : streams) finish(*s);
}
}  // namespace cuemu

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
    std::lock_guard g(lock);
    streams.push_back(new Stream);
    *s = reinterpret_cast<cudaStream_t>(streams.back());
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
    *e = reinterpret_cast<cudaEvent_t>(new Event);
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t n, cudaMemcpyKind kind, cudaStream_t s) {
    put(s, [=] { cudaMemcpy(dst, src, n, kind); });
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* dst, int value, size_t n, cudaStream_t s) {
    put(s, [=] { cudaMemset(dst, value, n); });
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
    const auto r = std::make_shared<Record>(Record{of(s)});
    of(e)->last = r;
    put(s, [r] { r->done = true; });
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
    if (const auto r = of(e)->last) put(s, [r] { finish(*r); });
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
    std::lock_guard g(lock);
    if (const auto r = of(e)->last) finish(*r);
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
    cuemu::catch_up(s);
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
    cuemu::catch_up_all();
    return cudaSuccess;
}

}  // extern "C"
