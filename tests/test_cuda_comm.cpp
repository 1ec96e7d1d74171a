// NCCL on one GPU: a world of one is the identity, bit for bit, on both channels; two ranks on one GPU are refused. Runs where a GPU and NCCL
// are (scripts/gpu_suite.sh), and on the emulated GPU with a stand-in for the library; tests/ranks.py tries several ranks.
#include <gtest/gtest.h>

#include <thread>

#include "engine/comm/start.h"
#include "engine/transfer.h"
#include "tests/errors.h"
#include "tests/ports.h"

using namespace eng;

namespace {

using eng::test::free_port;

TEST(Nccl, AWorldOfOneIsTheIdentity) {
    Rendezvous group({0, 1, 0, 1, "127.0.0.1", free_port()}, 20);
    Arena arena(0, Device::cuda);
    for (const bool beside : {false, true}) {
        const auto nccl = cuda::nccl_transport(group, beside ? "side" : "main", beside);
        for (const std::size_t n : {std::size_t(1), std::size_t(193), std::size_t(100003)}) {
            std::vector<float> values;
            for (std::size_t i = 0; i < n; ++i) values.push_back(float(i) * 0.37f - 5);
            const Tensor x = upload(arena, {std::int64_t(n)}, values), y = x.like();
            if (beside) nccl->begin();
            nccl->all_reduce(x.raw(), n, DType::f32);
            nccl->all_gather(x.raw(), y.raw(), {x.bytes()});
            nccl->reduce_scatter(y.raw(), x.raw(), {n}, DType::f32);
            nccl->broadcast(x.raw(), x.bytes(), 0);
            if (beside) nccl->join();
            EXPECT_EQ(download<float>(x), values);
            EXPECT_EQ(download<float>(y), values);
        }
        nccl->barrier();
    }
}

TEST(Nccl, TwoRanksOnOneGpuAreRefused) {
    const int port = free_port();
    std::vector<std::string> errors(2);
    std::vector<std::thread> threads;
    for (int r = 0; r < 2; ++r)
        threads.emplace_back([&, r] {
            Rendezvous group({r, 2, r, 2, "127.0.0.1", port}, 20);
            errors[r] = test::error_of([&] { cuda::nccl_transport(group, "main", false); });
        });
    for (auto& t : threads) t.join();
    for (const auto& e : errors) EXPECT_NE(e.find("ranks 0 and 1 are both on "), std::string::npos) << e;
}

}  // namespace
