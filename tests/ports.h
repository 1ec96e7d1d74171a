#pragma once
// A TCP port that nobody listens on.
#include <unistd.h>

#include <atomic>

#include "engine/comm/frames.h"
#include "engine/error.h"

namespace eng::test {

inline int free_port() {
    static std::atomic<int> next = 21000 + getpid() % 20000;
    for (;; ++next) try {
            listen_on(next);
            return next++;
        } catch (const Error&) {}
}

}  // namespace eng::test
