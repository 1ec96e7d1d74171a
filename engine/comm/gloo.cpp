// Between CPU processes: gloo moves the bytes over TCP, sums are taken here, in the order of the ranks.
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <numeric>

#include "engine/comm/start.h"
#include "engine/error.h"

namespace eng {
namespace {

// What gloo asks of a store, from our rendezvous.
class Store : public gloo::rendezvous::Store {
public:
    Store(Rendezvous& group, std::string prefix) : group_(group), prefix_(std::move(prefix)) {}
    void set(const std::string& key, const std::vector<char>& v) override { group_.set(prefix_ + key, {v.begin(), v.end()}); }
    std::vector<char> get(const std::string& key) override {
        const std::string v = group_.get(prefix_ + key);
        return {v.begin(), v.end()};
    }
    void wait(const std::vector<std::string>& keys) override {
        for (const auto& k : keys) get(k);
    }

private:
    Rendezvous& group_;
    std::string prefix_;
};

class Gloo : public Transport {
public:
    Gloo(Rendezvous& group, const std::string& name) {
        gloo::transport::tcp::attr attr;
        if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME")) attr.iface = interface;
        else attr.hostname = group.local_address();
        auto device = gloo::transport::tcp::CreateDevice(attr);
        const auto context = std::make_shared<gloo::rendezvous::Context>(group.self().rank, group.self().size);
        context->setTimeout(std::chrono::milliseconds(std::int64_t(group.timeout() * 1000)));
        Store store(group, name + "/");
        context->connectFullMesh(store, device);
        context_ = context;
    }
    int rank() const override { return context_->rank; }
    int size() const override { return context_->size; }

    void all_gather(const void* in, void* out, const std::vector<std::size_t>& bytes) override {
        const std::vector<std::size_t> from = starts(bytes);
        char* own = static_cast<char*>(out) + from[rank()];
        if (own != in && bytes[rank()]) std::memmove(own, in, bytes[rank()]);
        exchange(own, std::vector<std::size_t>(size(), 0), std::vector<std::size_t>(size(), bytes[rank()]), out, from, bytes);
    }
    void reduce_scatter(const void* in, void* out, const std::vector<std::size_t>& counts, DType dtype) override {
        std::vector<std::size_t> bytes;
        for (const std::size_t c : counts) bytes.push_back(c * size_of(dtype));
        const std::vector<std::size_t> to = starts(bytes), each(size(), bytes[rank()]), from = starts(each);
        std::vector<char> parts(bytes[rank()] * std::size_t(size()));
        if (bytes[rank()]) std::memcpy(parts.data() + from[rank()], static_cast<const char*>(in) + to[rank()], bytes[rank()]);
        exchange(in, to, bytes, parts.data(), from, each);
        std::vector<const void*> of_rank;
        for (const std::size_t f : from) of_rank.push_back(parts.data() + f);
        sum_in_order(of_rank, out, counts[rank()], dtype);
    }
    void broadcast(void* data, std::size_t bytes, int root) override {
        const std::vector<std::size_t> none(size(), 0);
        std::vector<std::size_t> to = none, from = none;
        if (rank() == root) to.assign(size(), bytes);
        else from[root] = bytes;
        exchange(data, none, to, data, none, from);
    }
    void barrier() override {
        char flag[1] = {};
        std::vector<char> flags(size());
        all_gather(flag, flags.data(), std::vector<std::size_t>(size(), 1));
    }
    // gloo wakes only who waits for the lost rank itself; in a ring of waiting ranks the others would sit out the whole timeout.
    void abort() override {
        std::lock_guard lock(mutex_);
        aborted_ = true;
        for (auto* b : {in_, out_})
            if (b) b->abortWaitRecv(), b->abortWaitSend();
    }

private:
    static std::vector<std::size_t> starts(const std::vector<std::size_t>& n) {
        std::vector<std::size_t> at(n.size(), 0);
        std::partial_sum(n.begin(), n.end() - 1, at.begin() + 1);
        return at;
    }

    // Sends bytes [send_at[r], + send_n[r]) of `in` to every other rank r, and receives recv_n[r] bytes of it at recv_at[r] of `out`.
    using Places = std::vector<std::size_t>;
    void exchange(const void* in, const Places& send_at, const Places& send_n, void* out, const Places& recv_at, const Places& recv_n) {
        const auto extent = [&](const Places& at, const Places& n) {
            std::size_t end = 0;
            for (int r = 0; r < size(); ++r) end = std::max(end, at[r] + n[r]);
            return end;
        };
        const auto from = context_->createUnboundBuffer(const_cast<void*>(in), extent(send_at, send_n));
        const auto to = context_->createUnboundBuffer(out, extent(recv_at, recv_n));
        const Waiting waiting(*this, from.get(), to.get());
        const std::uint64_t slot = std::uint64_t(context_->nextSlot());
        const auto until = std::chrono::steady_clock::now() + context_->getTimeout();
        const auto each_other = [&](const Places& n, auto&& act) {
            for (int i = 1; i < size(); ++i)
                if (const int r = (rank() + i) % size(); n[r]) act(r);
        };
        each_other(recv_n, [&](int r) { to->recv(r, slot, recv_at[r], recv_n[r]); });
        each_other(send_n, [&](int r) { from->send(r, slot, send_at[r], send_n[r]); });
        each_other(recv_n, [&](int) { ENG_CHECK(to->waitRecv(until), "gloo", "another rank is lost"); });
        each_other(send_n, [&](int) { ENG_CHECK(from->waitSend(until), "gloo", "another rank is lost"); });
    }

    // The buffers that abort() must wake up.
    struct Waiting {
        Waiting(Gloo& g, gloo::transport::UnboundBuffer* in, gloo::transport::UnboundBuffer* out) : self(g) {
            std::lock_guard lock(self.mutex_);
            ENG_CHECK(!self.aborted_, "gloo", "another rank is lost");
            self.in_ = in, self.out_ = out;
        }
        ~Waiting() {
            std::lock_guard lock(self.mutex_);
            self.in_ = self.out_ = nullptr;
        }
        Gloo& self;
    };

    std::mutex mutex_;
    gloo::transport::UnboundBuffer *in_ = nullptr, *out_ = nullptr;
    bool aborted_ = false;
    std::shared_ptr<gloo::Context> context_;
};

}  // namespace

std::unique_ptr<Transport> gloo_transport(Rendezvous& group, const std::string& name) {
    try {
        return std::make_unique<Gloo>(group, name);
    } catch (const Error&) {
        throw;
    } catch (const std::exception& e) {
        fail("launch", "rank ", group.self().rank, " cannot connect to all others: ", group.reason(e.what()));
    }
}

}  // namespace eng
