// Event files are parsed back here with a reader of its own: framing, checksums, and the fields by number.
#include "train/events.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <vector>

#include "engine/error.h"
#include "engine/io/file.h"

using namespace scvd;
namespace fs = std::filesystem;

namespace {

struct TempFolder {
    fs::path path = fs::path(testing::TempDir()) /
                    ("scvd_events_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    TempFolder() { fs::remove_all(path), fs::create_directories(path); }
    ~TempFolder() { fs::remove_all(path); }
};

template <class T>
T read_at(const std::string& s, std::size_t at) {
    T v{};
    if (at + sizeof v > s.size()) throw std::runtime_error("torn record");
    std::memcpy(&v, s.data() + at, sizeof v);
    return v;
}

std::vector<std::string> records(const std::string& file) {
    std::vector<std::string> all;
    for (std::size_t at = 0; at < file.size();) {
        const auto length = read_at<std::uint64_t>(file, at);
        EXPECT_EQ(read_at<std::uint32_t>(file, at + 8), masked_crc32c(file.substr(at, 8)));
        all.push_back(file.substr(at + 12, length));
        EXPECT_EQ(read_at<std::uint32_t>(file, at + 12 + length), masked_crc32c(all.back()));
        at += 16 + length;
    }
    return all;
}

// Field number -> raw value: 8 or 4 bytes of a fixed field, the bytes of a message, a varint as decimal text.
std::map<int, std::string> fields(const std::string& message) {
    std::map<int, std::string> out;
    std::size_t at = 0;
    const auto varint = [&] {
        std::uint64_t v = 0;
        for (int shift = 0;; shift += 7) {
            const auto b = read_at<unsigned char>(message, at++);
            v |= std::uint64_t(b & 127) << shift;
            if (b < 128) return v;
        }
    };
    while (at < message.size()) {
        const std::uint64_t key = varint();
        const int field = int(key >> 3), wire = int(key & 7);
        EXPECT_EQ(out.count(field), 0u) << "field " << field << " twice";
        if (wire == 0) {
            out[field] = std::to_string(varint());
            continue;
        }
        EXPECT_TRUE(wire == 1 || wire == 2 || wire == 5) << "wire type " << wire;
        const std::size_t n = wire == 1 ? 8 : wire == 5 ? 4 : varint();
        if (at + n > message.size()) throw std::runtime_error("torn field");
        out[field] = message.substr(at, n), at += n;
    }
    return out;
}

std::map<int, std::string> value_of(const std::string& record) { return fields(fields(fields(record).at(5)).at(1)); }

TEST(Events, Crc32cHasItsPublishedValues) {
    EXPECT_EQ(crc32c("123456789"), 0xE3069283u);               // the check value of CRC-32C
    EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);     // RFC 3720, B.4
    EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62A8AB43u);
    EXPECT_EQ(masked_crc32c("123456789"), (0xE3069283u >> 15 | 0xE3069283u << 17) + 0xa282ead8u);
}

TEST(Events, ScalarsComeBack) {
    TempFolder f;
    EventWriter w(f.path);
    w.scalar("train/loss", 2.5f, 0);
    w.scalar("train/loss", -0.125f, 300);
    w.scalar("val/\xc3\xa9", NAN, std::int64_t(1) << 40);
    w.flush();
    const auto all = records(eng::read_file(w.path()));
    ASSERT_EQ(all.size(), 4u);
    EXPECT_EQ(fields(all[0]).at(3), "brain.Event:2");
    const double when = read_at<double>(fields(all[1]).at(1), 0);
    EXPECT_GT(when, 1.7e9);  // seconds since 1970, not milliseconds and not a steady clock
    EXPECT_LT(when, 1e10);
    EXPECT_EQ(fields(all[1]).at(2), "0");
    EXPECT_EQ(value_of(all[1]).at(1), "train/loss");
    EXPECT_EQ(read_at<float>(value_of(all[1]).at(2), 0), 2.5f);
    EXPECT_EQ(fields(all[2]).at(2), "300");
    EXPECT_EQ(read_at<float>(value_of(all[2]).at(2), 0), -0.125f);
    EXPECT_EQ(fields(all[3]).at(2), std::to_string(std::int64_t(1) << 40));
    EXPECT_EQ(value_of(all[3]).at(1), "val/\xc3\xa9");
    EXPECT_TRUE(std::isnan(read_at<float>(value_of(all[3]).at(2), 0)));
}

TEST(Events, ImagesComeBack) {
    TempFolder f;
    EventWriter w(f.path);
    std::vector<std::uint8_t> png(1000);  // the writer does not look inside
    for (std::size_t i = 0; i < png.size(); ++i) png[i] = std::uint8_t(i * 7);
    w.image("heat/shirt", png, 128, 384, 7);
    EXPECT_THROW(w.image("heat/none", {}, 128, 384, 7), eng::Error);
    EXPECT_THROW(w.image("heat/flat", png, 128, 0, 7), eng::Error);
    w.flush();
    const auto all = records(eng::read_file(w.path()));
    ASSERT_EQ(all.size(), 2u);
    const auto value = value_of(all[1]), image = fields(value.at(4));
    EXPECT_EQ(value.at(1), "heat/shirt");
    EXPECT_EQ(image.at(1), "384");  // height first
    EXPECT_EQ(image.at(2), "128");
    EXPECT_EQ(image.at(3), "3");
    EXPECT_EQ(image.at(4), std::string(png.begin(), png.end()));
}

TEST(Events, AResumedRunSaysFromWhere) {
    TempFolder f;
    EventWriter first(f.path), second(f.path, 41);
    EXPECT_LT(first.path(), second.path()) << "TensorBoard reads the files of a run in the order of their names";
    EXPECT_EQ(records(eng::read_file(first.path())).size(), 1u);
    const auto all = records(eng::read_file(second.path()));
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(fields(all[1]).at(2), "41");
    EXPECT_EQ(fields(fields(all[1]).at(7)).at(1), "1");  // SessionLog.START
}

TEST(Events, FailuresNameTheFile) {
    try {
        EventWriter("/nonexistent/run");
        FAIL() << "no error";
    } catch (const eng::Error& e) {
        EXPECT_NE(std::string(e.what()).find("/nonexistent/run/events.out.tfevents"), std::string::npos) << e.what();
        EXPECT_NE(std::string(e.what()).find("No such file"), std::string::npos) << e.what();
    }
}

}  // namespace
