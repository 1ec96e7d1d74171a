#pragma once
// Which process of which run this is, as the starters of parallel programs say it.
#include <functional>
#include <optional>
#include <string>

namespace eng {

struct Membership {
    int rank = 0, size = 1;              // over all hosts
    int local_rank = 0, local_size = 1;  // on this host
    std::string host;                    // where rank 0 listens
    int port = 0;
};

// From RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT (torchrun, Kubernetes operators, scvd launch) or from what
// srun sets. Nothing: this process is alone. Errors: a name that is missing beside the others, a value that is no number or out of range.
// `get` reads a variable, null when it is not set.
std::optional<Membership> membership(const std::function<const char*(const char*)>& get);
std::optional<Membership> membership();  // from this process's environment

// The first host of a list as Slurm writes it: "node[03-05,09],login1" -> "node03".
std::string first_host(const std::string& nodelist);

}  // namespace eng
