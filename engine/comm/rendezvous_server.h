#pragma once
// Rank 0's side of the rendezvous: one thread that keeps the list of ranks, the keys, and the news.
#include <atomic>
#include <chrono>
#include <list>
#include <map>
#include <thread>

#include "engine/comm/frames.h"

namespace eng {

class RendezvousServer {
public:
    RendezvousServer(int port, int size, double timeout_seconds);  // error: the port is in use
    ~RendezvousServer();                                           // waits a moment for ranks that are still leaving

private:
    using Clock = std::chrono::steady_clock;
    struct Connection {
        Socket socket;
        int rank = -1;  // of a joined rank's news connection
        std::vector<std::string> wants;  // keys it waits for
        bool gone = false;
    };
    struct Rank {
        Connection* news = nullptr;
        Clock::time_point heard;
        std::string doing;
        bool left = false;
    };
    void run();
    void serve(Connection&, const Message&);
    void join(Connection&, int rank, int size);
    void tell_all(const Message&);
    void lose(int rank, const std::string& how);
    void drop(Connection&);
    void check_deadline();
    std::string who_is_late() const;
    bool all_left() const;

    Socket listener_;
    int size_;
    double timeout_;
    Clock::time_point started_ = Clock::now();
    std::list<Connection> connections_;
    std::vector<Rank> ranks_;
    std::map<std::string, std::string> keys_;
    Message verdict_;       // {"refused", why} or {"lost", how}, once there is one
    bool complete_ = false;
    std::atomic<bool> stop_ = false;
    std::thread thread_;
};

}  // namespace eng
