#pragma once
// This process among the ranks of its run.
#include <functional>
#include <memory>
#include <string>

#include "engine/comm/comm.h"
#include "engine/comm/rendezvous.h"

namespace scvd {

class World {
public:
    World() : comm_(std::make_unique<eng::Comm>()) {}  // alone
    explicit World(std::unique_ptr<eng::Comm> comm) : comm_(std::move(comm)) {}

    eng::Comm& comm() { return *comm_; }
    int rank() const { return comm_->rank(); }
    int size() const { return comm_->size(); }
    bool first() const { return rank() == 0; }  // the rank that prints and writes files
    // Every rank must say the same. Error: the first line that differs, and whose it is.
    void agree(const std::string& what, const std::string& text);

private:
    std::unique_ptr<eng::Comm> comm_;
};

// Runs f in the world that the environment names; when it throws, the other ranks hear why. A collective that takes longer than
// `timeout` seconds is an error.
void in_world(double timeout, const std::function<void(World&)>& f);

}  // namespace scvd
