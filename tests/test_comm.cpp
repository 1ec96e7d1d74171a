// Collectives: threads and gloo give the sums, in the same bits, for uneven shares, empty ones, and every dtype; whoever is lost is named.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>

#include "engine/comm/frames.h"
#include "engine/comm/start.h"
#include "engine/comm/threads.h"
#include "engine/transfer.h"
#include "tests/errors.h"
#include "tests/ports.h"

using namespace eng;

namespace {

using eng::test::error_of;
using eng::test::free_port;

Membership member(int rank, int size, int port) { return {rank, size, rank, size, "127.0.0.1", port}; }

// Runs body(rank) on a thread per rank; the first error of each rank is returned.
std::vector<std::string> on_threads(int size, const std::function<void(int)>& body) {
    std::vector<std::string> errors(size);
    std::vector<std::thread> threads;
    for (int r = 0; r < size; ++r)
        threads.emplace_back([&, r] {
            try {
                body(r);
            } catch (const std::exception& e) {
                errors[r] = e.what();
            }
        });
    for (auto& t : threads) t.join();
    return errors;
}

using Body = std::function<void(Comm&)>;
void with_threads(int size, const Body& body) {
    auto comms = thread_comms(size, 20);
    for (const auto& e : on_threads(size, [&](int r) { body(*comms[r]); })) EXPECT_EQ(e, "");
}
void with_gloo(int size, const Body& body) {
    const int port = free_port();
    const auto errors = on_threads(size, [&](int r) {
        const auto group = std::make_shared<Rendezvous>(member(r, size, port), 20);
        body(*make_comm(group));
    });
    for (const auto& e : errors) EXPECT_EQ(e, "");
}

// Times a power of two: exact, so that a compiler's fused multiply-add in the expected sums changes no bit.
float value(int rank, std::int64_t i) { return std::sin(float(rank * 1000 + i)) * 128; }
std::vector<float> values(int rank, std::int64_t n) {
    std::vector<float> v;
    for (std::int64_t i = 0; i < n; ++i) v.push_back(value(rank, i));
    return v;
}

// The sum as every transport must take it: rank after rank, in f32.
float sum_at(int size, std::int64_t i) {
    float s = value(0, i);
    for (int r = 1; r < size; ++r) s += value(r, i);
    return s;
}

void check_all(Comm& c) {
    Arena arena;
    const int N = c.size(), me = c.rank();
    for (const std::int64_t n : {1, 2, 5, 193, 4099}) {
        const Tensor t = upload(arena, {n}, values(me, n));
        c.all_reduce(t);
        const auto got = download<float>(t);
        for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(got[i], sum_at(N, i)) << N << " ranks, " << n << " elements, " << i;
    }
    std::vector<std::int64_t> rows;  // rank 1 has none
    for (int r = 0; r < N; ++r) rows.push_back(r == 1 ? 0 : r + 2);
    const std::int64_t total = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
    const Tensor part = upload(arena, {rows[me], 3}, values(me, rows[me] * 3)), whole(arena, {total, 3}, DType::f32);
    c.all_gather(part, whole, rows);
    const auto all = download<float>(whole);
    std::int64_t at = 0;
    for (int r = 0; r < N; ++r)
        for (std::int64_t i = 0; i < rows[r] * 3; ++i) ASSERT_EQ(all[at++], value(r, i));
    const Tensor mine = part.like();
    c.reduce_scatter(upload(arena, {total, 3}, values(me, total * 3)), mine, rows);
    const auto sums = download<float>(mine);
    const std::int64_t first = 3 * std::accumulate(rows.begin(), rows.begin() + me, std::int64_t{0});
    for (std::int64_t i = 0; i < rows[me] * 3; ++i) ASSERT_EQ(sums[i], sum_at(N, first + i));
    const Tensor word = upload<std::int32_t>(arena, {1}, {me});
    c.broadcast(word, N - 1);
    ASSERT_EQ(download<std::int32_t>(word)[0], N - 1);
    c.barrier();
    ASSERT_EQ(c.gather_number(me * me).back(), (N - 1) * (N - 1));
    ASSERT_EQ(c.sum_numbers({1, double(me)}), (std::vector<double>{double(N), N * (N - 1) / 2.0}));
}

TEST(Collectives, OfThreads) {
    for (const int n : {1, 2, 3, 4, 5}) with_threads(n, check_all);
}
TEST(Collectives, OfGloo) {
    for (const int n : {2, 3, 4}) with_gloo(n, check_all);
}
TEST(Collectives, Alone) {
    Comm c;
    check_all(c);
    c.begin_all_reduce(Tensor());
    c.finish();
}

// Rank 0 fails between begin and finish, and frees its tensors, while the others have not come yet.
TEST(Collectives, BegunOnesCanBeGivenUp) {
    with_gloo(3, [](Comm& c) {
        if (c.rank()) return std::this_thread::sleep_for(std::chrono::milliseconds(300));
        {
            Arena arena;
            for (int i = 0; i < 3; ++i) c.begin_all_reduce(upload(arena, {100000}, values(i, 100000)));
            c.give_up();
        }
        c.give_up();
    });
}

// What is begun goes on beside other collectives and gives the same bits; finish() is the only place that waits.
TEST(Collectives, BegunOnesRunBesideTheRest) {
    const Body body = [](Comm& c) {
        Arena arena;
        std::vector<Tensor> begun;
        for (int i = 0; i < 7; ++i) begun.push_back(upload(arena, {1000 + i}, values(c.rank() + i, 1000 + i)));
        for (const Tensor& t : begun) {
            c.begin_all_reduce(t);
            c.barrier();
        }
        c.finish();
        for (int b = 0; b < 7; ++b) {
            const auto got = download<float>(begun[b]);
            for (std::size_t i = 0; i < got.size(); ++i) {
                float s = value(b, std::int64_t(i));
                for (int r = 1; r < c.size(); ++r) s += value(r + b, std::int64_t(i));
                ASSERT_EQ(got[i], s);
            }
        }
        EXPECT_GT(c.traffic().beside, 0);
    };
    with_threads(3, body);
    with_gloo(3, body);
}

TEST(Collectives, RoundOnceInBf16) {
    with_threads(3, [](Comm& c) {
        Arena arena;
        const float x[3] = {1, 0.00390625f, 0.00390625f};  // 2^-8 twice: lost one by one in bf16, kept in f32
        const Tensor t = upload<bf16>(arena, {1}, {bf16(x[c.rank()])});
        c.all_reduce(t);
        EXPECT_EQ(float(download<bf16>(t)[0]), 1.0078125f);
    });
}

TEST(Collectives, SaySizesThatDoNotFit) {
    with_threads(2, [](Comm& c) {
        Arena arena;
        const Tensor a(arena, {2, 3}, DType::f32), b(arena, {5, 3}, DType::f32);
        EXPECT_NE(error_of([&] { c.all_gather(a, b, {2, 2}); }).find("all_gather: rank"), std::string::npos);
    });
}

TEST(Faults, AThreadThatDoesNotComeIsWaitedForOnlySoLong) {
    auto comms = thread_comms(2, 0.2);
    EXPECT_NE(error_of([&] { comms[0]->barrier(); }).find("1 of 2 ranks came within 0.2 s"), std::string::npos);
}

TEST(Faults, ThreadsThatCallDifferentThingsAreTold) {
    auto comms = thread_comms(2, 5);
    for (const auto& e : on_threads(2, [&](int r) {
             Arena arena;
             const Tensor t(arena, {4}, DType::f32);
             if (r) comms[r]->broadcast(t, 0);
             else comms[r]->barrier();
         }))
        EXPECT_NE(e.find("ranks call different collectives"), std::string::npos) << e;
}

TEST(Faults, ARankThatLeavesWithAnErrorIsQuotedByAllOthers) {
    const int port = free_port();
    const auto errors = on_threads(3, [&](int r) {
        const auto group = std::make_shared<Rendezvous>(member(r, 3, port), 20);
        const auto comm = make_comm(group);
        comm->barrier();
        if (r == 1) {
            group->failed("writing runs/x: No space left on device");
            return;
        }
        comm->barrier();
    });
    EXPECT_EQ(errors[1], "");
    for (const int r : {0, 2}) {
        EXPECT_NE(errors[r].find("rank " + std::to_string(r) + " of 3 gave up in barrier number"), std::string::npos) << errors[r];
        EXPECT_NE(errors[r].find("rank 1 has ended with: writing runs/x: No space left on device"), std::string::npos) << errors[r];
    }
}

TEST(Faults, ARankThatDoesNotComeIsNamed) {
    const int port = free_port();
    const auto errors = on_threads(2, [&](int r) {
        const auto group = std::make_shared<Rendezvous>(member(r, 2, port), 2);
        const auto comm = make_comm(group);
        if (r == 0) comm->barrier();
        else std::this_thread::sleep_for(std::chrono::seconds(6));
    });
    EXPECT_NE(errors[0].find("rank 1 is alive but has not come"), std::string::npos) << errors[0];
}

TEST(Faults, MissingRanksWrongWorldsAndTwinsAreRefused) {
    int port = free_port();
    EXPECT_NE(error_of([&] { Rendezvous(member(0, 3, port), 0.5); }).find("after 0 s only 1 of 3 ranks have come; missing: 1, 2"), std::string::npos);
    port = free_port();
    auto errors = on_threads(2, [&](int r) { Rendezvous(member(r, r == 0 ? 2 : 4, port), 5); });
    for (const auto& e : errors) EXPECT_NE(e.find("rank 1 believes in a run of 4 ranks, rank 0 in one of 2"), std::string::npos) << e;
    port = free_port();
    errors = on_threads(3, [&](int r) { Rendezvous(member(r == 2 ? 1 : r, 3, port), 5); });
    for (const auto& e : errors) EXPECT_NE(e.find("two processes call themselves rank 1"), std::string::npos) << e;
    port = free_port();
    const Socket taken = listen_on(port);
    EXPECT_NE(error_of([&] { Rendezvous(member(0, 2, port), 5); }).find("cannot listen on port " + std::to_string(port) + ": Address already in use"), std::string::npos);
    EXPECT_NE(error_of([&] { Rendezvous(member(1, 2, free_port()), 0.3); }).find("found no rank 0 at 127.0.0.1"), std::string::npos);
}

TEST(Membership, ComesFromTheStartersOfParallelPrograms) {
    std::map<std::string, std::string> env;
    const auto get = [&](const char* name) -> const char* { return env.count(name) ? env[name].c_str() : nullptr; };
    EXPECT_FALSE(membership(get));
    env = {{"RANK", "3"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}, {"MASTER_ADDR", "node1"}, {"MASTER_PORT", "29500"}};
    auto m = membership(get);
    EXPECT_EQ(m->rank, 3);
    EXPECT_EQ(m->size, 8);
    EXPECT_EQ(m->local_rank, 1);
    EXPECT_EQ(m->host, "node1");
    EXPECT_EQ(m->port, 29500);
    env["TORCHELASTIC_USE_AGENT_STORE"] = "True";
    EXPECT_EQ(membership(get)->port, 29501);
    env["RANK"] = "8";
    EXPECT_EQ(error_of([&] { membership(get); }), "launch: RANK = \"8\", want a number from 0 to 7");
    env.erase("RANK");
    EXPECT_NE(error_of([&] { membership(get); }).find("RANK is not set"), std::string::npos);
    env = {{"SLURM_PROCID", "5"}, {"SLURM_NTASKS", "6"}, {"SLURM_LOCALID", "1"}, {"SLURM_JOB_ID", "4711"}, {"SLURM_STEP_NODELIST", "gpu[07-09,12]"}};
    EXPECT_FALSE(membership(get)) << "a batch script is one process";
    env["SLURM_STEP_ID"] = "0";
    m = membership(get);
    EXPECT_EQ(m->rank, 5);
    EXPECT_EQ(m->size, 6);
    EXPECT_EQ(m->host, "gpu07");
    EXPECT_EQ(m->port, 24711);
    EXPECT_EQ(first_host("a1,b[2-3]"), "a1");
    EXPECT_EQ(first_host("n[3,5]-ib,x"), "n3-ib");
    EXPECT_EQ(first_host("solo"), "solo");
}

}  // namespace
