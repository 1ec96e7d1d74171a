#pragma once
// From what the environment says to a Comm.
#include <memory>
#include <string>

#include "engine/comm/comm.h"
#include "engine/comm/rendezvous.h"

namespace eng {

// One channel between all ranks of the group; `name` tells channels apart. Every rank makes the same ones in the same order.
std::unique_ptr<Transport> gloo_transport(Rendezvous&, const std::string& name);  // CPU processes, over TCP
// One process per GPU; `beside`: works on a stream of its own. Errors: no NCCL library, two ranks on one GPU.
namespace cuda { std::unique_ptr<Transport> nccl_transport(Rendezvous&, const std::string& name, bool beside); }

// The group that the environment names; null when this process is alone.
std::shared_ptr<Rendezvous> join_group(double timeout_seconds);
// The group's Comm on eng::default_device; a lone one without a group.
std::unique_ptr<Comm> make_comm(const std::shared_ptr<Rendezvous>&);

}  // namespace eng
