#include "engine/comm/start.h"
#include "engine/error.h"

namespace eng {

std::unique_ptr<Transport> gloo_transport(Rendezvous&, const std::string&) {
    fail("launch", "this build has no gloo (Debian: libgloo-dev), which several CPU processes need to talk to each other");
}

}  // namespace eng
