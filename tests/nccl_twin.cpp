// A stand-in for libnccl.so.2 on the emulated GPU: the collectives that engine/comm/nccl_cuda.cpp calls, after NCCL's manual, between
// processes of one host over a file that all map. They happen in the order of their stream, and like NCCL's wait for ever for a rank that
// does not come. Sums are taken in the order of the ranks. Ranks that call different things are an error here; NCCL hangs or mixes bytes.
#include <fcntl.h>
#include <nccl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/comm/transport.h"

namespace {

constexpr int kRanks = 8;
constexpr std::size_t kChunk = std::size_t(1) << 18;

struct Call {
    char name[24];
    std::size_t count;
    int type, root;
    bool operator==(const Call& o) const { return !std::strcmp(name, o.name) && count == o.count && type == o.type && root == o.root; }
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);  // between processes
struct Shared {  // zero at first
    std::atomic<int> here, gone;
    std::atomic<std::uint64_t> posted[kRanks], taken[kRanks];
    Call call[kRanks];
    std::byte data[kRanks][kChunk];
};

std::size_t size_of(int t) { return t == ncclFloat64 ? 8 : t == ncclBfloat16 ? 2 : t == ncclUint8 ? 1 : 4; }

}  // namespace

struct ncclComm {
    Shared* shared;
    int rank, size;
    std::uint64_t turn = 0;
    std::atomic<bool> aborted = false;

    bool all(const std::atomic<std::uint64_t>* counters, std::uint64_t want) const {
        for (int r = 0; r < size; ++r)
            while (counters[r] < want) {
                if (aborted) return false;
                usleep(50);
            }
        return true;
    }
    // This rank's bytes go to the others; while f runs those of rank r lie in shared->data[r].
    template <class F> bool exchange(const Call& call, const void* in, std::size_t bytes, F&& f) {
        if (!all(shared->taken, turn)) return false;
        if (in) std::memcpy(shared->data[rank], in, bytes);
        shared->call[rank] = call;
        shared->posted[rank] = ++turn;
        if (!all(shared->posted, turn)) return false;
        for (int r = 0; r < size; ++r)
            if (const Call& c = shared->call[r]; !(c == call)) {
                std::fprintf(stderr, "nccl twin: rank %d calls %s of %zu, rank %d %s of %zu\n", rank, call.name, call.count, r, c.name, c.count);
                std::abort();
            }
        f();
        shared->taken[rank] = turn;
        return true;
    }
    void sum_chunk(int type, void* out, std::size_t n) const {
        std::vector<const void*> parts(shared->data, shared->data + size);
        if (type == ncclInt32) {  // a barrier's
            auto* total = static_cast<std::int32_t*>(out);
            std::fill_n(total, n, 0);
            for (const void* p : parts)
                for (std::size_t i = 0; i < n; ++i) total[i] += static_cast<const std::int32_t*>(p)[i];
            return;
        }
        eng::sum_in_order(parts, out, n, type == ncclFloat32 ? eng::DType::f32 : type == ncclFloat64 ? eng::DType::f64 : type == ncclBfloat16 ? eng::DType::bf16 : eng::DType::u8);
    }
};

namespace {

using Bytes = std::byte*;

// What a stream gets to do: the call, a chunk of it at a time.
struct Work {
    ncclComm* comm;
    Call call;
    const std::byte* in;
    Bytes out;

    void run() const {
        const std::string name = call.name;
        const std::size_t width = size_of(call.type), whole = call.count * width;
        for (int share = 0; share < (name == "ReduceScatter" ? comm->size : 1); ++share)
            for (std::size_t at = 0; at < whole; at += kChunk)
                if (!chunk(name, std::size_t(share), at, std::min(kChunk, whole - at), width)) return;
    }

private:
    bool chunk(const std::string& name, std::size_t share, std::size_t at, std::size_t bytes, std::size_t width) const {
        const std::size_t whole = call.count * width;
        const bool own = name == "AllReduce" || (name == "ReduceScatter" && int(share) == comm->rank) || (name == "Reduce" && call.root == comm->rank);
        const bool sends = name != "Broadcast" || call.root == comm->rank;
        return comm->exchange(call, sends ? in + share * whole + at : nullptr, bytes, [&] {
            if (name == "AllGather")
                for (int r = 0; r < comm->size; ++r) std::memcpy(out + std::size_t(r) * whole + at, comm->shared->data[r], bytes);
            else if (name == "Broadcast") std::memcpy(out + at, comm->shared->data[call.root], bytes);
            else if (own) comm->sum_chunk(call.type, out + at, bytes / width);
        });
    }
};

thread_local int group_depth = 0;
thread_local std::vector<std::pair<Work, cudaStream_t>> grouped;

ncclResult_t enqueue(const char* name, const void* in, void* out, std::size_t count, int type, int root, ncclComm* comm, cudaStream_t stream) {
    if (!comm || comm->aborted || root < 0 || root >= comm->size) return ncclInvalidArgument;
    Work work{comm, {}, static_cast<const std::byte*>(in), static_cast<Bytes>(out)};
    std::snprintf(work.call.name, sizeof work.call.name, "%s", name);
    work.call.count = count, work.call.type = type, work.call.root = root;
    if (group_depth) return grouped.emplace_back(work, stream), ncclSuccess;
    const auto run = [](void* w) { std::unique_ptr<Work>(static_cast<Work*>(w))->run(); };
    return cudaLaunchHostFunc(stream, run, new Work(work)) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

}  // namespace

extern "C" {

const char* ncclGetErrorString(ncclResult_t r) { return r == ncclSuccess ? "no error" : r == ncclInvalidArgument ? "invalid argument" : "system error"; }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
    static std::atomic<int> count = 0;
    const char* folder = std::getenv("TMPDIR");
    *id = {};
    const int n = std::snprintf(id->internal, sizeof id->internal, "%s/nccl-twin-%d-%d", folder ? folder : "/tmp", int(getpid()), count++);
    unlink(id->internal);  // a process of that number may have left one
    return n < int(sizeof id->internal) ? ncclSuccess : ncclSystemError;
}

ncclResult_t ncclCommInitRank(ncclComm_t* comm, int size, ncclUniqueId id, int rank) {
    if (size < 1 || size > kRanks || rank < 0 || rank >= size) return ncclInvalidArgument;
    const int fd = open(id.internal, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(Shared))) return ncclSystemError;
    void* p = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED) return ncclSystemError;
    *comm = new ncclComm{static_cast<Shared*>(p), rank, size};
    ++(*comm)->shared->here;
    while ((*comm)->shared->here < size) usleep(50);
    unlink(id.internal);  // whoever is last; for the others it is gone already
    return ncclSuccess;
}
// As in NCCL, the ranks leave together. Streams may still hold calls, which end at once; so the memory stays.
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
    ++comm->shared->gone;
    while (comm->shared->gone < comm->size) usleep(50);
    return comm->aborted = true, ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) { return comm->aborted = true, ncclSuccess; }
ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* error) { return *error = ncclSuccess; }

ncclResult_t ncclAllReduce(const void* in, void* out, size_t n, ncclDataType_t t, ncclRedOp_t op, ncclComm_t comm, cudaStream_t s) {
    return op == ncclSum ? enqueue("AllReduce", in, out, n, t, 0, comm, s) : ncclInvalidArgument;
}
ncclResult_t ncclAllGather(const void* in, void* out, size_t n, ncclDataType_t t, ncclComm_t comm, cudaStream_t s) {
    return enqueue("AllGather", in, out, n, t, 0, comm, s);
}
ncclResult_t ncclReduceScatter(const void* in, void* out, size_t n, ncclDataType_t t, ncclRedOp_t op, ncclComm_t comm, cudaStream_t s) {
    return op == ncclSum ? enqueue("ReduceScatter", in, out, n, t, 0, comm, s) : ncclInvalidArgument;
}
ncclResult_t ncclBroadcast(const void* in, void* out, size_t n, ncclDataType_t t, int root, ncclComm_t comm, cudaStream_t s) {
    return enqueue("Broadcast", in, out, n, t, root, comm, s);
}
ncclResult_t ncclReduce(const void* in, void* out, size_t n, ncclDataType_t t, ncclRedOp_t op, int root, ncclComm_t comm, cudaStream_t s) {
    return op == ncclSum ? enqueue("Reduce", in, out, n, t, root, comm, s) : ncclInvalidArgument;
}
ncclResult_t ncclGroupStart() { return ++group_depth, ncclSuccess; }
ncclResult_t ncclGroupEnd() {
    if (--group_depth) return ncclSuccess;
    for (const auto& [w, stream] : std::exchange(grouped, {}))
        if (const auto e = enqueue(w.call.name, w.in, w.out, w.call.count, w.call.type, w.call.root, w.comm, stream)) return e;
    return ncclSuccess;
}

}  // extern "C"
