// Between GPUs: NCCL, one process per GPU. The library is loaded when it is first needed, so that a machine without it runs all else.
// Collectives are enqueued: those of the first channel on the compute stream, those beside it on a stream of their own.
#include <dlfcn.h>
#include <nccl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <deque>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

#include "engine/comm/start.h"
#include "engine/context_cuda.h"
#include "engine/environment.h"

namespace eng::cuda {
namespace {

// The functions of libnccl.so.2 that we call.
struct Library {
#define NCCL_FUNCTIONS(F) \
    F(GetUniqueId) F(CommInitRank) F(CommDestroy) F(CommAbort) F(CommGetAsyncError) F(AllReduce) F(AllGather) F(ReduceScatter) F(Broadcast) F(Reduce) F(GroupStart) F(GroupEnd) F(GetErrorString)
#define DECLARE(name) decltype(&nccl##name) name;
    NCCL_FUNCTIONS(DECLARE)
    Library() {
        const char* file = environment_or("SCVD_NCCL", "libnccl.so.2");
        void* so = dlopen(file, RTLD_NOW | RTLD_LOCAL);
        ENG_CHECK(so, "nccl", "several GPUs need NVIDIA's NCCL, and it cannot be loaded: ", dlerror(), " (where it is elsewhere, SCVD_NCCL names the file)");
#define LOAD(name)                                                         \
    name = reinterpret_cast<decltype(name)>(dlsym(so, "nccl" #name));      \
    ENG_CHECK(name, "nccl", file, " has no function nccl" #name "; it is too old");
        NCCL_FUNCTIONS(LOAD)
    }
};
const Library& nccl() {
    static const Library library;
    return library;
}

#define NCCL_CHECK(call)                                                                               \
    do {                                                                                               \
        if (const ncclResult_t e_ = nccl().call; e_ != ncclSuccess)                                    \
            ::eng::fail("nccl", #call, ": ", nccl().GetErrorString(e_));                               \
    } while (0)

ncclDataType_t type_of(DType t) {
    constexpr ncclDataType_t types[] = {ncclFloat32, ncclBfloat16, ncclFloat64, ncclInt32, ncclUint8};
    return types[int(t)];
}

// Host and GPU of every rank, so that two ranks on one GPU are refused in a sentence; NCCL itself would hang or say "invalid usage".
void check_gpus(Rendezvous& group) {
    int device = 0;
    cudaDeviceProp p;
    CUDA_CHECK(cudaGetDevice(&device));
    CUDA_CHECK(cudaGetDeviceProperties(&p, device));
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    const auto key = [](int r) { return "gpu/" + std::to_string(r); };
    std::string own = std::string(host) + " GPU ";
    for (const char c : p.uuid.bytes) own += "0123456789abcdef"[(c >> 4) & 15], own += "0123456789abcdef"[c & 15];
    group.set(key(group.self().rank), own);
    for (int r = 0; r < group.self().size; ++r)
        ENG_CHECK(r == group.self().rank || group.get(key(r)) != own, "nccl", "ranks ", std::min(r, group.self().rank), " and ", std::max(r, group.self().rank),
                  " are both on ", own, "; NCCL wants a GPU for each rank: start as many ranks as there are GPUs");
}

class Nccl : public Transport {
public:
    Nccl(Rendezvous& group, const std::string& name, bool beside) : group_(group), stream_(stream()), beside_(beside) {
        if (!beside) check_gpus(group);
        ncclUniqueId id;
        if (group.self().rank == 0) {
            NCCL_CHECK(GetUniqueId(&id));
            group.set("nccl/" + name, {id.internal, sizeof id.internal});
        }
        const std::string bytes = group.get("nccl/" + name);
        std::copy_n(bytes.begin(), std::min(bytes.size(), sizeof id.internal), id.internal);
        pending_.push_back({nullptr, Clock::now()});
        watchdog_ = std::jthread([this, device = device_of_thread()](std::stop_token stop) { watch(stop, device); });
        const Listening listening{*this};
        ncclComm_t comm = nullptr;
        if (const ncclResult_t e = nccl().CommInitRank(&comm, group.self().size, id, group.self().rank); e != ncclSuccess)
            fail("nccl", "the ranks do not get together: ", group.reason(nccl().GetErrorString(e)));
        if (beside) CUDA_CHECK(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, most_urgent()));
        CUDA_CHECK(cudaEventCreateWithFlags(&order_, cudaEventDisableTiming));
        std::lock_guard lock(mutex_);
        comm_ = comm, doing_ = "a collective on the GPU";
        pending_.pop_front();
    }
    ~Nccl() override {
        // While an error ends this rank, others may never come to what is enqueued: it is given up instead of waited for.
        if (std::uncaught_exceptions()) {
            watchdog_ = {};
            nccl().CommAbort(comm_);
            return;
        }
        const Listening listening{*this};
        cudaStreamSynchronize(stream_);
        ncclComm_t comm = nullptr;
        {
            std::lock_guard lock(mutex_);
            comm = std::exchange(comm_, nullptr), doing_ = "leaving NCCL";  // the watchdog asks it nothing any more
            pending_.push_back({nullptr, never});  // the others come here when their work is done, whenever that is
        }
        nccl().CommDestroy(comm);
        watchdog_ = {};
    }
    int rank() const override { return group_.self().rank; }
    int size() const override { return group_.self().size; }

    void all_reduce(void* data, std::size_t n, DType t) override {
        enqueue([&] { NCCL_CHECK(AllReduce(data, data, n, type_of(t), ncclSum, comm_, stream_)); });
    }
    void all_gather(const void* in, void* out, const std::vector<std::size_t>& bytes) override {
        enqueue([&] {
            if (even(bytes)) {
                NCCL_CHECK(AllGather(in, out, bytes[0], ncclUint8, comm_, stream_));
                return;
            }
            std::size_t at = 0;
            NCCL_CHECK(GroupStart());
            for (int r = 0; r < size(); at += bytes[r++])
                if (bytes[r]) NCCL_CHECK(Broadcast(in, static_cast<char*>(out) + at, bytes[r], ncclUint8, r, comm_, stream_));
            NCCL_CHECK(GroupEnd());
        });
    }
    void reduce_scatter(const void* in, void* out, const std::vector<std::size_t>& counts, DType t) override {
        enqueue([&] {
            if (even(counts)) {
                NCCL_CHECK(ReduceScatter(in, out, counts[0], type_of(t), ncclSum, comm_, stream_));
                return;
            }
            std::size_t at = 0;
            NCCL_CHECK(GroupStart());
            for (int r = 0; r < size(); at += counts[r++] * size_of(t))
                if (counts[r]) NCCL_CHECK(Reduce(static_cast<const char*>(in) + at, out, counts[r], type_of(t), ncclSum, r, comm_, stream_));
            NCCL_CHECK(GroupEnd());
        });
    }
    void broadcast(void* data, std::size_t bytes, int root) override {
        enqueue([&] { NCCL_CHECK(Broadcast(data, data, bytes, ncclUint8, root, comm_, stream_)); });
    }
    void barrier() override {
        Scratch one(4);
        all_reduce(one.as<void>(), 1, DType::i32);
        CUDA_CHECK(cudaStreamSynchronize(stream_));
    }
    bool enqueues() const override { return true; }
    void begin() override { follow(stream_, cuda::stream()); }
    void join() override { follow(cuda::stream(), stream_); }
    void abort() override { lost_ = Clock::now(); }

private:
    using Clock = std::chrono::steady_clock;
    struct Pending {
        cudaEvent_t done;  // null: the host is in NCCL, which may wait for all ranks too
        Clock::time_point since;
    };
    struct Listening {  // to what befalls the group, while no Comm does
        explicit Listening(Nccl& n) : group(n.group_) { group.on_loss([&n] { n.abort(); }); }
        ~Listening() { group.on_loss(nullptr); }
        Rendezvous& group;
    };
    static int device_of_thread() {
        int d = 0;
        CUDA_CHECK(cudaGetDevice(&d));
        return d;
    }
    // A collective's few blocks go first where a kernel leaves multiprocessors free: behind products, each of which wants all of them,
    // they would come when backward has ended.
    static int most_urgent() {
        int least = 0, most = 0;
        CUDA_CHECK(cudaDeviceGetStreamPriorityRange(&least, &most));
        return most;
    }
    static bool even(const std::vector<std::size_t>& n) { return std::adjacent_find(n.begin(), n.end(), std::not_equal_to<>()) == n.end(); }
    void follow(cudaStream_t later, cudaStream_t earlier) {
        CUDA_CHECK(cudaEventRecord(order_, earlier));
        CUDA_CHECK(cudaStreamWaitEvent(later, order_, 0));
    }
    template <class Call> void enqueue(Call&& call) {
        cudaEvent_t done = nullptr;
        CUDA_CHECK(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
        {
            std::lock_guard lock(mutex_);
            pending_.push_back({nullptr, Clock::now()});
        }
        call();  // the first ones connect the ranks before they return
        CUDA_CHECK(cudaEventRecord(done, stream_));
        std::lock_guard lock(mutex_);
        pending_.back().done = done;
    }
    // A rank that is gone leaves the others' kernels spinning for ever and the host inside the driver: the process ends from here.
    void watch(std::stop_token stop, int device) {
        cudaSetDevice(device);
        while (!stop.stop_requested()) {
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
            std::lock_guard lock(mutex_);
            ncclResult_t error = ncclSuccess;
            if (comm_) nccl().CommGetAsyncError(comm_, &error);
            while (!pending_.empty() && pending_.front().done && cudaEventQuery(pending_.front().done) == cudaSuccess) {
                cudaEventDestroy(pending_.front().done);
                pending_.pop_front();
            }
            if (late() || (error != ncclSuccess && error != ncclInProgress)) end(nccl().GetErrorString(error));
        }
    }
    bool late() const {
        const auto longer = [](double seconds, Clock::time_point since) { return since != never && Clock::now() - since > std::chrono::duration<double>(seconds); };
        return !pending_.empty() && (longer(group_.timeout(), pending_.front().since) || longer(kLastBytes, lost_));
    }
    [[noreturn]] void end(const std::string& otherwise) {
        const std::string text = "comm: rank " + std::to_string(rank()) + " of " + std::to_string(size()) + " gave up in " + doing_ +
                                 (beside_ ? " (gradients)" : " (features and losses)") + ": " + group_.reason(otherwise) + kStartAgain;
        std::fprintf(stderr, "scvd: %s\n", text.c_str());
        group_.failed(text);
        _exit(1);
    }

    static constexpr auto never = Clock::time_point::max();
    static constexpr double kLastBytes = 1;  // seconds in which what a lost rank had sent may still arrive
    Rendezvous& group_;
    cudaStream_t stream_;
    bool beside_;
    std::atomic<Clock::time_point> lost_ = never;
    ncclComm_t comm_ = nullptr;
    const char* doing_ = "setting up NCCL";
    cudaEvent_t order_ = nullptr;
    std::mutex mutex_;  // over comm_, doing_ and pending_, which the watchdog reads
    std::deque<Pending> pending_;
    std::jthread watchdog_;  // last: ends before what it reads does
};

}  // namespace

std::unique_ptr<Transport> nccl_transport(Rendezvous& group, const std::string& name, bool beside) { return std::make_unique<Nccl>(group, name, beside); }

}  // namespace eng::cuda
