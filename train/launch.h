#pragma once
// Starts the ranks of a run on this host.
#include <string>
#include <vector>

namespace scvd {

struct LaunchOptions {
    int ranks = 1;
    int restarts = 0;                  // times the whole group is started again after a failure
    std::vector<std::string> command;  // of this program: "train", "--config", ...
};

// Runs the command once per rank, with RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT set and each line of output
// behind the rank's number. When one ends with an error, the others are given a moment to say theirs and are then killed. A restarted
// `train` goes on from its last checkpoint. Returns 0, or the exit code of the rank that failed first (128 + signal).
int launch(const LaunchOptions&);

}  // namespace scvd
