// Kernels with one planted mistake each, and the same kernels without it.
//   bugs NAME          exit 0: nothing noticed   1: wrong result   2: fault reported
//   bugs NAME fixed    the correct version; must exit 0 in every build
// run_bugs.py runs them all and prints who notices what.
#include "tests/cuemu/bugs_hopper.h"
#include "tests/cuemu/bugs_memory.h"

// ---- the list --------------------------------------------------------------------------------
struct Case {
    std::function<int()> bug, fixed;
};
#define ONE(k, x, want)                                                                         \
    {                                                                                           \
        [] { return one_block<k<true>>(x, want); }, [] { return one_block<k<false>>(x, want); } \
    }
#define CP(b) \
    { cp_case<Cp::b>, cp_case<Cp::none> }
#define STREAM(b) \
    { stream_case<Order::b>, stream_case<Order::right> }
#define HOP(b) \
    { hopper_case<Hop::b>, hopper_case<Hop::none> }
#define PAIR(b) \
    { pair_case<Pair::b>, pair_case<Pair::none> }

static vector<float> twice() {
    vector<float> v(2 * N, N * (N + 1) / 2);
    for (int i = 0; i < N; ++i) v[N + i] += N;
    return v;
}
static vector<float> warps(const vector<float>& x) {
    vector<float> v(N);
    for (int i = 0; i < N; ++i) v[i] = x[i / 32 * 32 + 31 - i % 32];
    return v;
}
static vector<float> xored(vector<float> v, int x, bool add) {
    auto r = v;
    for (int i = 0; i < N; ++i)
        if (i % 32 < 16) r[i] = v[i ^ x] + (add ? v[i] : 0);
    return r;
}
static vector<float> lane0() {
    vector<float> v(N);
    for (int i = 0; i < N; ++i) v[i] = float(i / 32 * 32 + 1);
    return v;
}
static vector<float> first96() {
    auto v = iota(N);
    std::reverse(v.begin(), v.begin() + 96);
    return v;
}

int main(int argc, char** argv) {
    const std::vector<std::pair<std::string, Case>> cases = {
        {"missing_syncthreads", ONE(reverse_block, iota(N), reversed(iota(N)))},
        {"missing_sync_on_reuse", ONE(reduce_twice, iota(N), twice())},
        {"missing_syncwarp", ONE(reverse_warp, iota(N), warps(iota(N)))},
        {"exit_before_barrier", ONE(early_exit, iota(N), reversed(iota(100)))},
        {"split_barrier", ONE(split_barrier, iota(N), reversed(iota(N)))},
        {"named_barrier_count", ONE(barrier_count, iota(N), first96())},
        {"shuffle_own_mask", ONE(shuffle_own_mask, iota(N), xored(iota(N), 1, true))},
        {"shuffle_missing_lane", ONE(shuffle_missing_lane, iota(N), lane0())},
        {"shuffle_after_exit", ONE(shuffle_after_exit, iota(N), (vector<float>{528, 1552, 2576, 2604}))},
        {"shuffle_reads_unmasked", ONE(shuffle_narrow_mask, iota(N), xored(iota(N), 8, false))},
        {"cp_async_no_wait", CP(no_wait)},
        {"cp_async_wait_count", CP(wrong_count)},
        {"cp_async_no_barrier", CP(no_barrier)},
        {"cp_async_refill_early", CP(refill_early)},
        {"oob_global_write", {oob<true, true>, oob<false, true>}},
        {"oob_global_read", {oob<true, false>, oob<false, false>}},
        {"oob_shared_dynamic",
         {[] { return one_block<oob_shared_dynamic<true>>(iota(N), iota(N), N * 4); },
          [] { return one_block<oob_shared_dynamic<false>>(iota(N), iota(N), N * 4); }}},
        {"oob_shared_static", ONE(oob_shared_static, iota(N), iota(N))},
        {"oob_inner_dimension", ONE(oob_inner_dimension, vector<float>(N, 0), vector<float>(N, 0))},
        {"uninit_shared", ONE(uninit_shared, iota(N), vector<float>(N, 5050))},
        {"uninit_global", ONE(uninit_global, iota(N), iota(N))},
        {"before_its_turn", ONE(before_its_turn, iota(N), iota(N))},
        {"never_in_turn", ONE(never_in_turn, iota(N), iota(N))},
        {"misaligned_float4",
         {[] { return one_block<misaligned_vector<true>>(iota(N + 4), iota(N, 2)); },
          [] { return one_block<misaligned_vector<false>>(iota(N + 4), iota(N)); }}},
        {"int_overflow",
         {[] {
              auto x = iota(N);
              Device<float> a(x), b(x);
              launch<int_overflow<true>>({dim3(1), dim3(N)}, a.p, b.p, 1 << 25);
              return compare(b.host(), x);
          },
          [] {
              auto x = iota(N);
              Device<float> a(x), b(x);
              launch<int_overflow<false>>({dim3(1), dim3(N)}, a.p, b.p, 1 << 25);
              return compare(b.host(), x);
          }}},
        {"host_pointer", {host_pointer<true>, host_pointer<false>}},
        {"host_reads_device", {host_reads_device<true>, host_reads_device<false>}},
        {"use_after_free", {use_after_free<true>, use_after_free<false>}},
        {"race_shared_update", ONE(race_order, iota(N), vector<float>(N, 128))},
        {"race_between_blocks", {race_grid_case<true>, race_grid_case<false>}},
        {"last_block_no_fence", {last_block_case<true>, last_block_case<false>}},
        {"stream_no_arrival_wait", STREAM(no_arrival)},
        {"stream_slot_taken_early", STREAM(slot_taken)},
        {"stream_no_result_wait", STREAM(no_result)},
        {"mbar_wrong_parity", HOP(wrong_parity)},
        {"mbar_no_full_wait", HOP(no_full_wait)},
        {"mbar_no_empty_wait", HOP(no_empty_wait)},
        {"mbar_wrong_tx_bytes", HOP(wrong_bytes)},
        {"mbar_init_unsynced", HOP(no_init_sync)},
        {"stage_released_early", HOP(released_early)},
        {"wgmma_no_wait", HOP(no_wgmma_wait)},
        {"wgmma_no_fence", HOP(no_wgmma_fence)},
        {"cluster_no_first_sync", PAIR(no_first_sync)},
        {"cluster_no_last_sync", PAIR(no_last_sync)},
        {"cluster_peer_not_told", PAIR(peer_not_told)},
        {"cluster_own_bytes_only", PAIR(own_bytes_only)},
        {"wgmma_no_proxy_fence", {filled_case<Fill::no_proxy_fence>, filled_case<Fill::none>}},
        {"wgmma_wrong_swizzle", {filled_case<Fill::no_swizzle>, filled_case<Fill::none>}},
    };
    if (argc < 2) {
        for (auto& [name, c] : cases) puts(name.c_str());
        return 0;
    }
    for (auto& [name, c] : cases)
        if (name == argv[1]) try {
                return argc > 2 && !strcmp(argv[2], "fixed") ? c.fixed() : c.bug();
            } catch (const std::exception& e) {
                printf("%s\n", e.what());
                return 2;
            }
    return 3;
}
