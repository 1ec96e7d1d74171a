// Files and the safetensors container: what is written is read back, by us and by the format's own library
// (tests/data/io/golden.safetensors), and everything that can be wrong with a file is named.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <limits>
#include <thread>

#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/io/safetensors.h"
#include "tests/errors.h"

namespace {

using eng::test::error_of;

namespace fs = std::filesystem;
using eng::SafeTensors;
using eng::TensorInfo;

// A folder of its own for every test, gone afterwards.
struct Io : testing::Test {
    fs::path folder = fs::temp_directory_path() / ("scvd_io_" + std::to_string(::getpid()));
    void SetUp() override {
        fs::remove_all(folder);
        fs::create_directories(folder);
    }
    void TearDown() override { fs::remove_all(folder); }
    size_t entries() const { return static_cast<size_t>(std::distance(fs::directory_iterator(folder), {})); }
};

TEST_F(Io, WriteThenReadReturnsTheBytes) {
    const std::string bytes("a\0b\r\n\xff", 6);
    eng::write_file(folder / "x", bytes);
    EXPECT_EQ(eng::read_file(folder / "x"), bytes);
    eng::write_file(folder / "x", "");  // replacing is allowed, and so is nothing
    EXPECT_EQ(eng::read_file(folder / "x"), "");
    EXPECT_EQ(eng::MappedFile(folder / "x").size(), 0u);
    EXPECT_EQ(entries(), 1u);
}

TEST_F(Io, FilesWithoutASizeAreReadToTheirEnd) { EXPECT_GT(eng::read_file("/proc/self/status").size(), 100u); }

TEST_F(Io, AnUncommittedFileLeavesNothingAndKeepsTheOld) {
    eng::write_file(folder / "x", "old");
    {
        eng::AtomicFile file(folder / "x");
        file.write("half of the n");
        EXPECT_EQ(entries(), 2u);
    }
    EXPECT_EQ(eng::read_file(folder / "x"), "old");
    EXPECT_EQ(entries(), 1u);
}

TEST_F(Io, TwoWritersOfOneNameDoNotMix) {
    const std::string a(100'000, 'a'), b(100'000, 'b');
    std::thread other([&] {
        for (int i = 0; i < 5; ++i) eng::write_file(folder / "x", a);
    });
    for (int i = 0; i < 5; ++i) eng::write_file(folder / "x", b);
    other.join();
    const std::string got = eng::read_file(folder / "x");
    EXPECT_TRUE(got == a || got == b);
    EXPECT_EQ(entries(), 1u);
}

// The limit on a file's size stands in for a full disk: both make write() fail in the middle.
TEST_F(Io, AFailedWriteNamesTheFileAndReasonAndLeavesNothingHalf) {
    eng::write_file(folder / "x", "old");
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{1000, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    const std::string error = error_of([&] { eng::write_file(folder / "x", std::string(5000, 'n')); });
    ::setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    EXPECT_MENTIONS(error, (folder / "x").string());
    EXPECT_MENTIONS(error, "after 1000 bytes");
    EXPECT_MENTIONS(error, std::generic_category().message(EFBIG));
    EXPECT_EQ(eng::read_file(folder / "x"), "old");
    EXPECT_EQ(entries(), 1u);
}

TEST_F(Io, ErrorsNameThePath) {
    const fs::path absent = folder / "absent" / "file";
    EXPECT_MENTIONS(error_of([&] { eng::read_file(absent); }), absent.string());
    EXPECT_MENTIONS(error_of([&] { eng::MappedFile{absent}; }), absent.string());
    EXPECT_MENTIONS(error_of([&] { eng::write_file(absent, "x"); }), absent.string());
    EXPECT_MENTIONS(error_of([&] { eng::read_file(folder); }), folder.string());
    EXPECT_MENTIONS(error_of([&] { eng::write_file(folder, "x"); }), folder.string());
    EXPECT_EQ(entries(), 0u);
}

TEST_F(Io, AMappedFileCanBeMoved) {
    eng::write_file(folder / "x", "hello");
    eng::MappedFile first(folder / "x");
    const std::byte* data = first.data();
    eng::MappedFile second(std::move(first));
    EXPECT_EQ(second.data(), data);
    EXPECT_EQ(std::memcmp(second.data(), "hello", second.size()), 0);
}

// ---- safetensors

template <class T>
std::vector<T> values(const TensorInfo& info) {
    std::vector<T> out(info.bytes / sizeof(T));
    if (!out.empty()) std::memcpy(out.data(), info.data, info.bytes);
    return out;
}

std::vector<float> floats(const TensorInfo& info) {
    std::vector<float> out(static_cast<size_t>(info.count()));
    eng::copy_as_float(info, out);
    return out;
}

using Shape = std::vector<int64_t>;

TEST(SafeTensorsGolden, ReadsWhatTheReferenceWrote) {
    const SafeTensors file = SafeTensors::open(SCVD_TEST_DATA "/io/golden.safetensors");
    EXPECT_EQ(file.tensors().size(), 9u);
    EXPECT_EQ(file.metadata(), (SafeTensors::Metadata{{"made by", "safetensors"}, {"quote", "a \"b\" ä"}}));
    EXPECT_EQ(file.at("f32").shape, (Shape{3, 4}));
    for (int i = 0; i < 12; ++i) EXPECT_EQ(values<float>(file.at("f32"))[i], i * 0.5f - 3);
    EXPECT_EQ(values<double>(file.at("f64")), (std::vector<double>{0, 0.125, 0.25, 0.375, 0.5}));
    EXPECT_EQ(floats(file.at("f64")), (std::vector<float>{0, 0.125, 0.25, 0.375, 0.5}));
    EXPECT_EQ(floats(file.at("f16")), (std::vector<float>{1.5f, -0.25f, 65504.f, 0x1p-24f, 1023 * 0x1p-24f,
                                                          std::numeric_limits<float>::infinity()}));
    EXPECT_EQ(file.at("bf16").shape, (Shape{2, 3}));
    EXPECT_EQ(floats(file.at("bf16")), (std::vector<float>{-1, -0.5, 0, 0.5, 1, 1.5}));
    EXPECT_EQ(values<int32_t>(file.at("i32")), (std::vector<int32_t>{-1, 0, 1}));
    EXPECT_EQ(values<int64_t>(file.at("i64")), (std::vector<int64_t>{0, int64_t{1} << 40}));
    EXPECT_EQ(values<uint8_t>(file.at("u8")), (std::vector<uint8_t>{0, 40, 80, 120, 160, 200, 240}));
    EXPECT_EQ(file.at("scalar").shape, Shape{});
    EXPECT_EQ(floats(file.at("scalar")), std::vector<float>{2.5f});
    EXPECT_EQ(file.at("empty").shape, (Shape{0, 4}));
    EXPECT_EQ(file.find("absent"), nullptr);
    EXPECT_MENTIONS(error_of([&] { file.at("absent"); }), "golden.safetensors: has no tensor 'absent'");
}

TEST_F(Io, SafetensorsRoundTripAlignedForMapping) {
    const std::vector<uint8_t> u8{1, 2, 3};
    const std::vector<float> f32{0.1f, -2, 3e30f};
    const std::vector<double> f64{1e300};
    const std::vector<eng::TensorToWrite> tensors{{"u8", "U8", {3}, u8.data(), 3},
                                                  {"net.f32", "F32", {3, 1}, f32.data(), 12},
                                                  {"none", "BF16", {0}, nullptr, 0},
                                                  {"f64", "F64", {}, f64.data(), 8}};
    eng::write_safetensors(folder / "x", tensors, {{"step", "12"}});
    const SafeTensors file = SafeTensors::open(folder / "x");
    EXPECT_EQ(values<uint8_t>(file.at("u8")), u8);
    EXPECT_EQ(values<float>(file.at("net.f32")), f32);
    EXPECT_EQ(file.at("net.f32").shape, (Shape{3, 1}));
    EXPECT_EQ(values<double>(file.at("f64")), f64);
    EXPECT_EQ(file.at("none").count(), 0);
    EXPECT_EQ(file.metadata().at("step"), "12");
    EXPECT_EQ(file.names(), (std::vector<std::string>{"f64", "net.f32", "none", "u8"}));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(file.tensors()[0].data) % 64, 0u);
    for (const TensorInfo& info : file.tensors())
        EXPECT_EQ(reinterpret_cast<uintptr_t>(info.data) % eng::safetensors_element_size(info.dtype), 0u) << info.name;
    EXPECT_EQ(entries(), 1u);
}

TEST_F(Io, WritingRejectsWhatCannotBeReadBack) {
    const float x[2] = {};
    const auto write = [&](std::vector<eng::TensorToWrite> tensors) {
        return error_of([&] { eng::write_safetensors(folder / "x", tensors); });
    };
    EXPECT_MENTIONS(write({{"w", "F32", {3}, x, 8}}), "'w': F32 [3] does not describe 8 bytes");
    EXPECT_MENTIONS(write({{"w", "F31", {2}, x, 8}}), "F31");
    EXPECT_MENTIONS(write({{"w", "F32", {-2}, x, 8}}), "[-2]");
    EXPECT_MENTIONS(write({{"w", "F32", {2}, x, 8}, {"w", "F32", {2}, x, 8}}), "'w': the name is taken");
    EXPECT_MENTIONS(write({{"\xff", "F32", {2}, x, 8}}), "UTF-8");
    EXPECT_EQ(entries(), 0u);
}

TEST_F(Io, EveryCutOfASafetensorsFileIsAnError) {
    const std::string whole = eng::read_file(SCVD_TEST_DATA "/io/golden.safetensors");
    for (size_t size = 0; size < whole.size(); ++size) {
        std::ofstream(folder / "cut", std::ios::binary) << whole.substr(0, size);
        const std::string error = error_of([&] { SafeTensors::open(folder / "cut"); });
        EXPECT_MENTIONS(error, (folder / "cut").string());
        EXPECT_MENTIONS(error, "cut short");
        EXPECT_MENTIONS(error, "the file has " + std::to_string(size));
    }
    std::ofstream(folder / "long", std::ios::binary) << whole << "x";
    EXPECT_MENTIONS(error_of([&] { SafeTensors::open(folder / "long"); }), "its tensors end at byte");
}

// A file with this header and `data` bytes of zeros.
std::string error_for_header(const fs::path& path, const std::string& header, size_t data) {
    const uint64_t length = header.size();
    std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
    eng::write_file(path, bytes + header + std::string(data, '\0'));
    return error_of([&] { SafeTensors::open(path); });
}

TEST_F(Io, EveryBoundOfTheHeaderIsChecked) {
    struct Bad {
        const char *header, *mention;
        size_t data = 8;
    };
    const Bad bad[] = {
        {R"({"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})",
         "'w': F32 [3] wants 12 bytes, its data_offsets give 8"},
        {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})",
         "'w': the file is cut short: the tensor ends at byte "},
        {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "'w': data_offsets must be [begin, end]"},
        {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})", "'w': data_offsets must be [begin, end]"},
        {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", "whole numbers >= 0"},
        {R"({"w":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", "whole numbers >= 0"},
        {R"({"w":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})", "whole numbers >= 0"},
        {R"({"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", "wants more than 2^64 bytes",
         0},
        {R"({"w":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}})", "'w': unknown dtype 'F33'"},
        {R"({"w":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", "'w': dtype is 7"},
        {R"({"w":{"shape":[2],"data_offsets":[0,8]}})", "'w': needs dtype, shape and data_offsets"},
        {R"({"w":3})", "'w': needs dtype, shape and data_offsets, got 3"},
        {R"({"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
         "'b': starts at byte "},
        {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
         "'b': starts at byte "},
        {R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
         "'a': appears twice"},
        {R"({"__metadata__":{"n":1}})", "'__metadata__': 'n' must be a string, got 1", 0},
        {R"({"__metadata__":[]})", "'__metadata__': must be an object", 0},
        {R"([1])", "not a JSON object", 0},
        {R"({"w":)", "not valid JSON", 0},
        {"{\"\xff\":1}", "not valid JSON", 0},
    };
    for (const Bad& b : bad) EXPECT_MENTIONS(error_for_header(folder / "bad", b.header, b.data), b.mention);
    EXPECT_MENTIONS(error_for_header(folder / "bad", std::string(1'000'000, '['), 0), "nests deeper");
    eng::write_file(folder / "bad", "<!DOCTYPE html> not found");
    EXPECT_MENTIONS(error_of([&] { SafeTensors::open(folder / "bad"); }), "bad: is not a safetensors file");
}

TEST_F(Io, FloatConversionChecksDtypeAndCount) {
    const SafeTensors file = SafeTensors::open(SCVD_TEST_DATA "/io/golden.safetensors");
    std::vector<float> out(3);
    EXPECT_MENTIONS(error_of([&] { eng::copy_as_float(file.at("i32"), out); }), "'i32' is I32, wanted F32");
    EXPECT_MENTIONS(error_of([&] { eng::copy_as_float(file.at("f32"), out); }),
                    "'f32' [3,4] has 12 elements, wanted 3");
}

}  // namespace
