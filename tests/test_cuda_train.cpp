// `scvd train --device cuda` is the same program with the same numbers: two updates of a toy run on both devices, forward,
// backward, optimizer, validation and checkpoint included. On the emulator here, on a GPU with gpu_suite.sh.
#include <gtest/gtest.h>

#include <fstream>

#include "engine/device.h"
#include "engine/io/json.h"
#include "tests/toy_set.h"
#include "train/loop.h"

using namespace scvd;
using namespace scvd::test;

namespace {

// Every number that a run logged per update, by name; but speed and memory.
std::map<std::string, std::vector<double>> logged(const std::string& run) {
    std::map<std::string, std::vector<double>> v;
    std::ifstream in(run + "/metrics.jsonl");
    for (std::string line; std::getline(in, line);) {
        const auto j = eng::parse_json(line);
        if (!j.contains("loss")) continue;
        for (const auto& [key, value] : j.items())
            if (value.is_number() && key.find("per_second") == std::string::npos && !key.ends_with("_bytes")) v[key].push_back(value);
    }
    return v;
}

void run(const Config& c, const std::string& out, eng::Device device, bool resume = false, std::int64_t updates = 2) {
    TrainOptions o;
    o.config = c, o.out = out, o.stop_after = updates, o.resume = resume;
    if (const char* vocabulary = std::getenv("SCVD_BPE")) o.bpe = vocabulary;  // on a machine without this source tree
    eng::default_device = device;
    train(o);
    eng::default_device = eng::Device::cpu;
}

class CudaTraining : public testing::Test {
protected:
    TempFolder folder;
    Config config;
    void SetUp() override {
        make_toy_set(folder.path / "set");
        config = toy_config(folder / "set");
        config.train.batch = 6;
        config.model.loss.pairs = "hard:2";
    }
};

TEST_F(CudaTraining, LogsTheNumbersOfTheCpu) {
    for (const char* dtype : {"f32", "bf16"}) {
        config.model.dtype = dtype;
        if (std::string(dtype) == "bf16") config.model.loss.pairs = "all";  // of two that are nearly alike, rounding decides which is met
        const std::string at = folder / dtype;
        run(config, at + "-cpu", eng::Device::cpu);
        run(config, at + "-cuda", eng::Device::cuda);
        const auto want = logged(at + "-cpu"), got = logged(at + "-cuda");
        ASSERT_EQ(want.at("loss").size(), 2u);
        // The second loss has been through every gradient and the optimizer. bf16 rounds hundreds of activations on the
        // way, each by 2^-9 of itself at most; they average out, and a wrong gradient would be off by far more.
        const double tolerance = std::string(dtype) == "f32" ? 2e-4 : 2e-2;
        for (const auto& [name, values] : want)
            for (std::size_t i = 0; i < values.size(); ++i)
                EXPECT_NEAR(got.at(name)[i], values[i], tolerance * (1 + std::fabs(values[i]))) << dtype << " " << name << " of update " << i + 1;
    }
}

// RN50's operators end to end: batch norm by the batch's statistics, then by the running ones that the first run left.
TEST_F(CudaTraining, TrainsAConvolutionNet) {
    config.model.image.height = 64, config.model.image.width = 32;
    config.model.image.encoder = "resnet", config.model.image.blocks = "1-1-1-1";
    config.model.image.dim = 8, config.model.image.heads = 4;
    config.model.dtype = "f32";
    for (const char* bn : {"train", "frozen"}) {
        config.model.image.bn = bn;
        const std::string at = folder / bn;
        run(config, at + "-cpu", eng::Device::cpu);
        run(config, at + "-cuda", eng::Device::cuda);
        const auto want = logged(at + "-cpu"), got = logged(at + "-cuda");
        ASSERT_EQ(want.at("loss").size(), 2u);
        for (const auto& [name, values] : want)
            for (std::size_t i = 0; i < values.size(); ++i)
                EXPECT_NEAR(got.at(name)[i], values[i], 2e-4 * (1 + std::fabs(values[i]))) << bn << " " << name << " of update " << i + 1;
    }
}

TEST_F(CudaTraining, RepeatsItsBitsAndACheckpointGoesOnOnTheOtherDevice) {
    config.model.dtype = "f32";
    run(config, folder / "a", eng::Device::cuda, false, 1);
    run(config, folder / "b", eng::Device::cuda, false, 1);
    EXPECT_EQ(logged(folder / "a"), logged(folder / "b"));
    run(config, folder / "a", eng::Device::cpu, true);
    run(config, folder / "b", eng::Device::cuda, true);
    EXPECT_NEAR(logged(folder / "a").at("loss")[1], logged(folder / "b").at("loss")[1], 2e-4);
}

}  // namespace
