// Streams and events of the emulated GPU, as late as they may be: what is put on a stream happens when somebody waits for
// it, so that a wait which is missing, on either side, shows as stale bytes. Kernels run at once, after all that their own
// stream was given before. CUEMU_ASYNC=eager does everything at once; random does some of it at once.
// A stream that records a graph does nothing: what it is given is kept, with the arguments of that moment, and done again at each
// launch of the graph. What CUDA forbids meanwhile (waiting for the stream or for another one's events, cudaMalloc) is an error here too.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "cuemu/core.h"

namespace {

using Graph = std::vector<std::function<void()>>;
struct Stream {
    std::deque<std::function<void()>> work;
    std::shared_ptr<Graph> recording;  // null: it works
};
struct Record {  // of an event: done when the stream gets there
    explicit Record(Stream* s) : stream(s) {}
    Stream* stream;
    std::atomic<bool> done = false;  // asked for without the lock, which a host function may hold for long
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
    if (of(stream)->recording) return of(stream)->recording->push_back(std::move(work));
    of(stream)->work.push_back(std::move(work));
    if (at_once()) finish(*of(stream));
}

}  // namespace

namespace cuemu {
void launch(cudaStream_t s, std::function<void()> grid) {
    {
        std::lock_guard g(lock);
        if (s && of(s)->recording) return of(s)->recording->push_back(std::move(grid));
        if (s) finish(*of(s));
    }
    grid();
}
bool recording() {
    std::lock_guard g(lock);
    return std::any_of(streams.begin(), streams.end(), [](Stream* s) { return s->recording != nullptr; });
}
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

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* most) {
    *least = 0, *most = -5;
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned flags, int) { return cudaStreamCreateWithFlags(s, flags); }
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
cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t n, cudaMemcpyKind, cudaStream_t s) {
    put(s, [=] { cuemu::copy(dst, src, n); });
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* dst, int value, size_t n, cudaStream_t s) {
    put(s, [=] { cuemu::fill(dst, value, n); });
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
    const auto r = std::make_shared<Record>(of(s));
    of(e)->last = r;
    put(s, [r] { r->done = true; });
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
    if (of(s)->recording) return cudaErrorStreamCaptureIsolation;
    if (const auto r = of(e)->last) put(s, [r] { finish(*r); });
    return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t e) {
    const auto r = of(e)->last;
    return r && !r->done ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e) {
    delete of(e);
    return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void* data) {
    put(s, [=] { f(data); });
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
    std::lock_guard g(lock);
    if (const auto r = of(e)->last) finish(*r);
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
    if (of(s)->recording) return cudaErrorStreamCaptureUnsupported;
    cuemu::catch_up(s);
    return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
    of(s)->recording = std::make_shared<Graph>();
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* graph) {
    *graph = reinterpret_cast<cudaGraph_t>(new std::shared_ptr<Graph>(std::move(of(s)->recording)));
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
    *exec = reinterpret_cast<cudaGraphExec_t>(new std::shared_ptr<Graph>(*reinterpret_cast<std::shared_ptr<Graph>*>(graph)));
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s) {
    put(s, [graph = *reinterpret_cast<std::shared_ptr<Graph>*>(exec)] {
        for (const auto& work : *graph) work();
    });
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete reinterpret_cast<std::shared_ptr<Graph>*>(graph);
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    delete reinterpret_cast<std::shared_ptr<Graph>*>(exec);
    return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
    cuemu::catch_up_all();
    return cudaSuccess;
}

}  // extern "C"
