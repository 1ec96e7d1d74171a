// The include directions are the architecture; this test is its cheapest document.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

struct Rule {
    const char* folder;
    std::vector<const char*> forbidden;  // beginnings of include paths
    const char* because;
};
const std::vector<const char*> host_headers = {"ops/ops.h", "ops/host.h", "engine/tensor.h", "engine/tape.h", "engine/params.h", "engine/arena.h"};
std::vector<const char*> and_also(std::vector<const char*> list, const char* more) { return list.push_back(more), list; }

const Rule rules[] = {
    {"engine/", {"ops/", "model/", "train/", "bench/", "tests/"}, "engine knows of no op"},
    {"ops/", {"model/", "train/", "bench/", "tests/"}, "ops know of no model"},
    {"ops/cpu/", and_also(host_headers, "ops/cuda/"), "kernels see views, not tensors"},
    {"ops/cuda/", and_also(host_headers, "ops/cpu/"), "kernels see views, not tensors"},
    {"model/", {"train/", "bench/", "tests/", "ops/kernels", "ops/host", "ops/cases"}, "the model speaks the op vocabulary only"},
    {"train/", {"bench/", "tests/", "ops/cases"}, "bench and tests are leaves"},
};

// The path of an `#include "..."` line; empty for any other line.
std::string included(const std::string& line) {
    const auto start = line.find_first_not_of(" \t");
    if (start == std::string::npos || line[start] != '#' || line.find("include") == std::string::npos) return "";
    const auto open = line.find('"'), close = line.find('"', open + 1);
    return close == std::string::npos ? "" : line.substr(open + 1, close - open - 1);
}

bool is_source(const fs::path& p) {
    const auto ext = p.extension();
    return ext == ".h" || ext == ".cpp" || ext == ".cu" || ext == ".cuh";
}

TEST(Architecture, IncludesPointDownwards) {
    int includes = 0;
    for (const Rule& rule : rules)
        for (const auto& entry : fs::recursive_directory_iterator(fs::path(SCVD_SOURCE) / rule.folder)) {
            if (!is_source(entry.path())) continue;
            std::ifstream in(entry.path());
            for (std::string line; std::getline(in, line);) {
                const std::string path = included(line);
                includes += !path.empty();
                for (const char* f : rule.forbidden) EXPECT_NE(path.rfind(f, 0), 0u) << entry.path() << " includes " << path << ": " << rule.because;
            }
        }
    EXPECT_GT(includes, 100) << "the test looked at nothing";
}

// A build without CUDA sees none of its headers, and no source asks which build it is in: CMake picks a file or its twin.
TEST(Architecture, CudaStaysInItsFiles) {
    int files = 0;
    for (const char* folder : {"engine", "ops", "model", "train", "bench"})
        for (const auto& entry : fs::recursive_directory_iterator(fs::path(SCVD_SOURCE) / folder)) {
            const std::string path = fs::relative(entry.path(), SCVD_SOURCE).string();
            if (!is_source(entry.path())) continue;
            ++files;
            const bool may = path.starts_with("ops/cuda/") || path.starts_with("bench/ladder/") || entry.path().stem().string().ends_with("_cuda");
            std::ifstream in(entry.path());
            for (std::string line; std::getline(in, line);) {
                if (!may) {
                    EXPECT_EQ(line.find("#include <cu"), std::string::npos) << path << ": " << line;
                    EXPECT_EQ(line.find("#include \"engine/context_cuda.h"), std::string::npos) << path << ": " << line;
                }
                EXPECT_FALSE(line.starts_with("#if") && line.find("SCVD_CUDA") != std::string::npos) << path << ": " << line;
                const bool wraps_asm = path == "ops/cuda/ptx.h" || path == "ops/cuda/wgmma.h";
                EXPECT_TRUE(wraps_asm || line.find("asm volatile") == std::string::npos) << path << ": PTX belongs in ptx.h and wgmma.h";
            }
        }
    EXPECT_GT(files, 100) << "the test looked at nothing";
}

}  // namespace
