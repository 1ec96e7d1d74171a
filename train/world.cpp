#include "train/world.h"

#include <sstream>

#include "engine/comm/start.h"
#include "engine/transfer.h"

namespace scvd {
namespace {

// The first line in which b differs from a: "train.lr = 0.001 against train.lr = 0.002".
std::string difference(const std::string& a, const std::string& b) {
    std::istringstream as(a), bs(b);
    for (std::string x, y; ;) {
        const bool more_a = bool(std::getline(as, x)), more_b = bool(std::getline(bs, y));
        if (!more_a && !more_b) return "";
        if (!more_a) x.clear();
        if (!more_b) y.clear();
        if (x != y) return x + " against " + y;
    }
}

}  // namespace

void World::agree(const std::string& what, const std::string& text) {
    if (size() == 1) return;
    eng::Arena arena;
    const std::vector<std::int64_t> lengths = comm_->gather_number(std::int64_t(text.size()));
    std::vector<std::uint8_t> bytes(text.begin(), text.end());
    std::int64_t total = 0;
    for (const auto n : lengths) total += n;
    const eng::Tensor own = eng::upload(arena, {std::int64_t(bytes.size())}, bytes), all(arena, {total}, eng::DType::u8);
    comm_->all_gather(own, all, lengths);
    const std::vector<std::uint8_t> texts = eng::download<std::uint8_t>(all);
    const std::string of_first(texts.begin(), texts.begin() + lengths[0]);
    for (std::int64_t r = 0, at = 0; r < size(); at += lengths[r++]) {
        const std::string other(texts.begin() + at, texts.begin() + at + lengths[r]);
        ENG_CHECK(other == of_first, "launch", "rank ", r, " has another ", what, " than rank 0: ", difference(other, of_first), "; start all ranks with the same");
    }
}

void in_world(double timeout, const std::function<void(World&)>& f) {
    ENG_CHECK(timeout > 0, "comm", "--comm-timeout ", timeout, ", want more than 0 seconds");
    const auto group = eng::join_group(timeout);
    if (group) eng::default_gpu = group->self().local_rank;
    const auto telling = [&](auto&& step) {  // the others may be waiting for this rank
        try {
            return step();
        } catch (const std::exception& e) {
            if (group) group->failed(e.what());
            throw;
        }
    };
    World world(telling([&] { return eng::make_comm(group); }));
    telling([&] { f(world); });
}

}  // namespace scvd
