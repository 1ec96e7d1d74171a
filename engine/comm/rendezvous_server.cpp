#include "engine/comm/rendezvous_server.h"

#include <poll.h>

#include <algorithm>

#include "engine/error.h"

namespace eng {
namespace {

double seconds_since(std::chrono::steady_clock::time_point t) { return std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count(); }
int number(const std::string& s) { return s.empty() || s.size() > 9 || s.find_first_not_of("0123456789") != std::string::npos ? -1 : std::stoi(s); }
std::string rank_name(std::size_t r) { return "rank " + std::to_string(r); }

}  // namespace

RendezvousServer::RendezvousServer(int port, int size, double timeout)
    : listener_(listen_on(port)), size_(size), timeout_(timeout), ranks_(std::size_t(size)), thread_([this] { run(); }) {}

RendezvousServer::~RendezvousServer() {
    stop_ = true;
    thread_.join();
}

bool RendezvousServer::all_left() const {
    return std::all_of(ranks_.begin(), ranks_.end(), [](const Rank& r) { return r.left || !r.news; });
}

void RendezvousServer::run() {
    Clock::time_point stopping{};
    while (true) {
        if (stop_) {
            if (stopping == Clock::time_point{}) stopping = Clock::now();
            if (all_left() || seconds_since(stopping) > 5) return;
        }
        std::vector<pollfd> waits{{listener_.fd(), POLLIN, 0}};
        for (const Connection& c : connections_) waits.push_back({c.socket.fd(), POLLIN, 0});
        poll(waits.data(), waits.size(), 100);
        if (waits[0].revents) connections_.push_back({accept_from(listener_), -1, {}, false});
        std::size_t i = 1;
        for (auto c = connections_.begin(); i < waits.size(); ++c, ++i) {
            if (!waits[i].revents) continue;
            const bool alive = c->socket.fill();
            while (const auto m = c->socket.take()) serve(*c, *m);
            if (!alive) drop(*c);
        }
        connections_.remove_if([](const Connection& c) { return c.gone || !c.socket.open(); });
        check_deadline();
    }
}

void RendezvousServer::drop(Connection& c) {
    c.gone = true;
    if (c.rank < 0) return;
    Rank& r = ranks_[c.rank];
    r.news = nullptr;
    if (!r.left) lose(c.rank, rank_name(c.rank) + " has ended without a word (killed, crashed or out of memory?)");
    r.left = true;
}

void RendezvousServer::check_deadline() {
    if (complete_ || !verdict_.empty() || seconds_since(started_) < timeout_) return;
    std::string missing;
    int here = 0;
    for (std::size_t r = 0; r < ranks_.size(); ++r)
        if (ranks_[r].news) ++here;
        else missing += (missing.empty() ? "" : ", ") + std::to_string(r);
    verdict_ = {"refused", "after " + std::to_string(int(timeout_)) + " s only " + std::to_string(here) + " of " + std::to_string(size_) +
                               " ranks have come; missing: " + missing};
    tell_all(verdict_);
}

void RendezvousServer::tell_all(const Message& m) {
    for (Connection& c : connections_)
        if (c.rank >= 0) c.socket.send(m);
}

void RendezvousServer::lose(int, const std::string& how) {
    if (!verdict_.empty()) return;  // who ends after the first does so because of the first
    verdict_ = {complete_ ? "lost" : "refused", how};
    tell_all(verdict_);
    for (Connection& c : connections_) {  // what they wait for may never be said
        for (std::size_t i = 0; i < c.wants.size(); ++i) c.socket.send({"gone", how});
        c.wants.clear();
    }
}

void RendezvousServer::join(Connection& c, int rank, int size) {
    std::string why;
    if (size != size_) why = rank_name(std::size_t(std::max(rank, 0))) + " believes in a run of " + std::to_string(size) + " ranks, rank 0 in one of " + std::to_string(size_);
    else if (rank < 0 || rank >= size_) why = "a process calls itself rank " + std::to_string(rank) + " of " + std::to_string(size_);
    else if (ranks_[rank].news) why = "two processes call themselves rank " + std::to_string(rank);
    if (!why.empty() && verdict_.empty()) {
        verdict_ = {"refused", why};
        tell_all(verdict_);
    }
    if (!verdict_.empty()) {
        c.socket.send(verdict_);
        return;
    }
    c.rank = rank;
    ranks_[rank] = {&c, Clock::now(), "", false};
    complete_ = std::all_of(ranks_.begin(), ranks_.end(), [](const Rank& r) { return r.news; });
    if (complete_) tell_all({"welcome"});
}

void RendezvousServer::serve(Connection& c, const Message& m) {
    const std::string kind = m.empty() ? "" : m[0];
    if (c.rank >= 0) ranks_[c.rank].heard = Clock::now();
    if (kind == "join" && m.size() == 3 && c.rank < 0) {
        join(c, number(m[1]), number(m[2]));
    } else if (kind == "beat" && m.size() == 2 && c.rank >= 0) {
        ranks_[c.rank].doing = m[1];
    } else if (kind == "leave" && c.rank >= 0) {
        ranks_[c.rank].left = true;
    } else if (kind == "failed" && m.size() == 2 && c.rank >= 0) {
        ranks_[c.rank].left = true;
        lose(c.rank, rank_name(c.rank) + " has ended with: " + m[1]);
    } else if (kind == "set" && m.size() == 3) {
        keys_[m[1]] = m[2];
        for (Connection& other : connections_) {
            const auto at = std::find(other.wants.begin(), other.wants.end(), m[1]);
            if (at == other.wants.end()) continue;
            other.wants.erase(at);
            other.socket.send({"value", m[2]});
        }
    } else if (kind == "get" && m.size() == 2) {
        if (const auto it = keys_.find(m[1]); it != keys_.end()) c.socket.send({"value", it->second});
        else if (!verdict_.empty()) c.socket.send({"gone", verdict_[1]});
        else c.wants.push_back(m[1]);
    } else if (kind == "who") {
        c.socket.send({"who", who_is_late()});
    } else {
        c.gone = true;  // not one of us
    }
}

// Silent ranks, else ranks that wait for nobody, else what each waits in.
std::string RendezvousServer::who_is_late() const {
    std::string silent, free, waiting;
    const auto add = [](std::string& s, const std::string& more) { s += (s.empty() ? "" : "; ") + more; };
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
        const double quiet = seconds_since(ranks_[r].heard);
        if (ranks_[r].left) add(silent, rank_name(r) + " has left");
        else if (quiet > 3) add(silent, rank_name(r) + " has given no sign of life for " + std::to_string(int(quiet)) + " s (stopped, or its host is unreachable)");
        else if (ranks_[r].doing.empty()) add(free, rank_name(r) + " is alive but has not come (a slow disk, or more work than the others?)");
        else add(waiting, rank_name(r) + " waits in " + ranks_[r].doing);
    }
    return !silent.empty() ? silent : !free.empty() ? free : waiting;
}

}  // namespace eng
