#pragma once
// How the ranks of a run find each other, and how they learn that one of them is gone. Rank 0 listens on a TCP port; all
// ranks, itself included, keep two connections to it: one for questions, one for news and signs of life.
#include <functional>
#include <memory>
#include <string>

#include "engine/comm/membership.h"

namespace eng {

class RendezvousServer;

// What remains to be done where a collective has failed.
constexpr const char* kStartAgain = "; end all ranks and start again (train: with --resume)";

class Rendezvous {
public:
    // Returns when all ranks are here. Errors after `timeout_seconds`, and at once for a port in use, another world size than
    // rank 0's, or a rank that is here already; all ranks get the sentence.
    Rendezvous(const Membership&, double timeout_seconds);
    ~Rendezvous();  // takes leave, so that nobody counts this rank as lost

    const Membership& self() const;
    double timeout() const;
    std::string local_address() const;  // of this host, as rank 0 sees it

    void set(const std::string& key, const std::string& value);
    std::string get(const std::string& key);  // waits until somebody has set it; an error when a rank is lost before
    // What this rank waits in on channel 0 or 1, "" when it waits for nobody; goes out with its signs of life.
    void doing(int channel, const std::string& what);
    // Called when a rank is lost, from another thread, or at once where one is already. Null: nobody wants to know any more.
    void on_loss(std::function<void()>);
    // Why a collective failed: who is lost and how, or who is silent or behind; else `otherwise`.
    std::string reason(const std::string& otherwise);
    // This rank ends with that sentence; the others get it as the reason.
    void failed(const std::string& sentence);

private:
    struct Client;
    std::unique_ptr<RendezvousServer> server_;  // rank 0's
    std::unique_ptr<Client> client_;
};

}  // namespace eng
