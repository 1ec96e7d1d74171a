#include "engine/comm/start.h"

namespace eng {

std::shared_ptr<Rendezvous> join_group(double timeout) {
    const auto self = membership();
    if (!self || self->size == 1) return nullptr;
    return std::make_shared<Rendezvous>(*self, timeout);
}

std::unique_ptr<Comm> make_comm(const std::shared_ptr<Rendezvous>& group) {
    if (!group) return std::make_unique<Comm>();
    const auto channel = [&](const char* name, bool beside) {
        return default_device == Device::cpu ? gloo_transport(*group, name) : cuda::nccl_transport(*group, name, beside);
    };
    auto main = channel("main", false), side = channel("side", true);
    return std::make_unique<Comm>(std::move(main), std::move(side), group);
}

}  // namespace eng
