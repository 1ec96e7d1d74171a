#include "engine/comm/rendezvous.h"

#include <poll.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "engine/comm/rendezvous_server.h"
#include "engine/error.h"

namespace eng {

struct Rendezvous::Client {
    Membership self;
    double timeout;
    Socket news, questions;
    std::mutex mutex, asking, speaking, calling;  // calling: held while on_loss runs, so that who takes it away knows it has ended
    std::condition_variable heard;
    std::string doing[2], lost;
    std::function<void()> on_loss;
    bool stop = false;
    std::thread thread;

    // Signs of life out, news in.
    void watch() {
        while (true) {
            std::string now;
            {
                std::lock_guard lock(mutex);
                if (stop) return;
                now = doing[0].empty() ? doing[1] : doing[0];
            }
            bool alive = say({"beat", now});
            pollfd p{news.fd(), POLLIN, 0};
            if (alive && poll(&p, 1, 500) > 0) alive = news.fill();
            std::string sad;
            while (const auto m = news.take())
                if (m->size() == 2 && ((*m)[0] == "lost" || (*m)[0] == "refused")) sad = (*m)[1];
            if (sad.empty() && !alive) sad = "rank 0 has ended without a word (killed, crashed or out of memory?)";
            if (!sad.empty()) return mourn(sad);
        }
    }
    bool say(const Message& m) {
        std::lock_guard lock(speaking);
        return news.send(m);
    }
    void mourn(const std::string& sad) {
        {
            std::lock_guard lock(mutex);
            lost = sad;
        }
        heard.notify_all();
        std::lock_guard lock(calling);
        if (on_loss) on_loss();
    }
    std::optional<Message> ask(const Message& m, double seconds) {
        std::lock_guard lock(asking);
        if (!questions.send(m)) return std::nullopt;
        return questions.receive(seconds);
    }
};

Rendezvous::Rendezvous(const Membership& self, double timeout) : client_(std::make_unique<Client>()) {
    if (self.rank == 0) server_ = std::make_unique<RendezvousServer>(self.port, self.size, timeout);
    Client& c = *client_;
    c.self = self, c.timeout = timeout;
    const std::string where = self.host + ":" + std::to_string(self.port);
    c.news = connect_to(self.host, self.port, timeout);
    if (c.news.open()) c.questions = connect_to(self.host, self.port, timeout);
    ENG_CHECK(c.news.open() && c.questions.open(), "launch", "rank ", self.rank, " of ", self.size, " found no rank 0 at ", where, " within ", timeout,
              " s; is it running, and are MASTER_ADDR and MASTER_PORT the same everywhere?");
    c.news.send({"join", std::to_string(self.rank), std::to_string(self.size)});
    const auto answer = c.news.receive(timeout + 5);
    ENG_CHECK(answer && !answer->empty(), "launch", "rank ", self.rank, ": what listens at ", where, " is not rank 0 of this program; MASTER_PORT names another port");
    ENG_CHECK((*answer)[0] == "welcome", "launch", answer->size() > 1 ? (*answer)[1] : "refused");
    c.thread = std::thread([&c] { c.watch(); });
}

Rendezvous::~Rendezvous() {
    Client& c = *client_;
    {
        std::lock_guard lock(c.mutex);
        c.stop = true;
    }
    if (c.thread.joinable()) c.thread.join();
    if (c.news.open()) c.say({"leave"});
    c.news.close(), c.questions.close();
}

const Membership& Rendezvous::self() const { return client_->self; }
double Rendezvous::timeout() const { return client_->timeout; }
std::string Rendezvous::local_address() const { return client_->news.local_address(); }

void Rendezvous::set(const std::string& key, const std::string& value) {
    std::lock_guard lock(client_->asking);
    ENG_CHECK(client_->questions.send({"set", key, value}), "launch", "rank ", self().rank, " lost its connection to rank 0");
}
std::string Rendezvous::get(const std::string& key) {
    const auto answer = client_->ask({"get", key}, timeout());
    ENG_CHECK(!answer || answer->size() != 2 || (*answer)[0] != "gone", "launch", "rank ", self().rank, " of ", self().size, " cannot start: ", (*answer)[1]);
    ENG_CHECK(answer && answer->size() == 2, "launch", "rank ", self().rank, " waited ", timeout(), " s for \"", key, "\": ", reason("nobody has said it"));
    return (*answer)[1];
}

void Rendezvous::doing(int channel, const std::string& what) {
    std::lock_guard lock(client_->mutex);
    client_->doing[channel] = what;
}
void Rendezvous::on_loss(std::function<void()> f) {
    Client& c = *client_;
    std::lock_guard lock(c.calling);
    c.on_loss = std::move(f);
    bool lost = false;
    {
        std::lock_guard reading(c.mutex);
        lost = !c.lost.empty();
    }
    if (lost && c.on_loss) c.on_loss();
}

std::string Rendezvous::reason(const std::string& otherwise) {
    Client& c = *client_;
    {
        std::unique_lock lock(c.mutex);
        c.heard.wait_for(lock, std::chrono::seconds(2), [&] { return !c.lost.empty(); });
        if (!c.lost.empty()) return c.lost;
    }
    const auto who = c.ask({"who"}, 3);
    if (!who || who->size() != 2) return "rank 0 does not answer (stopped, or its host is unreachable)";
    return (*who)[1].empty() ? otherwise : (*who)[1];
}

void Rendezvous::failed(const std::string& sentence) { client_->say({"failed", sentence}); }

}  // namespace eng
