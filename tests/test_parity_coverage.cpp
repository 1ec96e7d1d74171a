// A CUDA kernel without a parity case does not exist: every __global__ function in ops/cuda must have been launched, under
// the emulator, by a case of the catalogue (or by adamw, which has no op).
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include "cuemu/core.h"
#include "engine/transfer.h"
#include "ops/cuda/ragged.h"
#include "ops/optimizer.h"
#include "tests/check.h"

using namespace eng;
using namespace eng::test;

namespace {

std::set<std::string> kernels_in_sources() {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(SCVD_SOURCE "/ops/cuda")) {
        if (!entry.is_regular_file()) continue;
        std::ifstream in(entry.path());
        std::string text((std::istreambuf_iterator<char>(in)), {});
        text = std::regex_replace(text, std::regex(R"(//[^\n]*)"), "");
        text = std::regex_replace(text, std::regex(R"(__launch_bounds__\([^)]*\))"), "");
        const std::regex kernel(R"(__global__\s+void\s+(\w+)\s*\()");
        for (std::sregex_iterator i(text.begin(), text.end(), kernel), end; i != end; ++i) names.insert((*i)[1]);
    }
    return names;
}

// "eng::cuda::{anonymous}::map_kernel<float, 4, Sum>" -> "map_kernel"
std::string base_name(const std::string& full) {
    const std::string head = full.substr(0, full.find('<'));
    return head.substr(head.rfind(':') + 1);
}

void run_adamw_once(Arena& device) {
    ParamStore params(device, DType::bf16);
    params.add("w", {5}, Init::ones(), ParamGroup::clip, true);
    params.finalize(1);
    AdamW(params, device, {.clip_norm = 1}).step(1e-3f, 1e-3f, 1.f);
}

TEST(Coverage, EveryGlobalFunctionIsReachedByACase) {
    Arena host(std::size_t(1) << 32, Device::cpu), device(std::size_t(1) << 32, Device::cuda);
    for (const Case& c : all_cases())
        for (const DType t : {DType::f32, DType::bf16}) {
            std::vector<Tensor> x;
            for (const Shape& s : c.inputs) x.push_back(upload_as(device, s, download_wide(random_normal(host, s, t, 3)), t));
            Recording off(nullptr);
            const Tensor y = c.f(device, x);
            run(c, device, x, upload_as(device, y.shape(), download_wide(random_normal(host, y.shape(), DType::f32, 4)), y.dtype()));
        }
    run_adamw_once(device);
    const Tensor begin = indices(device, {0, 3}), offsets = indices(device, {0, 0, 0});
    cuda::ragged_offsets(in(begin), in(begin), 8, offsets.as<std::int32_t>());
    std::set<std::string> launched;
    for (const std::string& name : cuemu::launched_kernels()) launched.insert(base_name(name));
    const auto sources = kernels_in_sources();
    EXPECT_GT(sources.size(), 20u) << "the test found no kernels in the sources";
    for (const std::string& k : sources) EXPECT_TRUE(launched.count(k)) << k << " is in ops/cuda, but no case launches it";
}

}  // namespace
