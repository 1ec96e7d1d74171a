// What a run says while it goes: JSON lines, memory, the progress line on a terminal and in a log file.
#include "train/run_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <sstream>

#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/io/json.h"

using namespace scvd;
namespace fs = std::filesystem;

namespace {

struct TempFile {
    std::string path = (fs::path(testing::TempDir()) / ("scvd_outputs_" + std::to_string(getpid()))).string();
    ~TempFile() { fs::remove(path); }
};

int count(const std::string& text, const std::string& what) {
    int n = 0;
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) ++n;
    return n;
}

TEST(JsonLines, OneObjectPerLineAtOnce) {
    TempFile f;
    {
        JsonLines log(f.path);
        log.write({{"step", 1}, {"text", "two\nlines"}});
        EXPECT_EQ(count(eng::read_file(f.path), "\n"), 1) << "a killed run must not lose the line";
    }
    JsonLines log(f.path, true);
    log.write({{"step", 2}, {"loss", NAN}, {"file", "bad \xff name"}});
    std::istringstream in(eng::read_file(f.path));
    std::string first, second;
    std::getline(in, first), std::getline(in, second);
    EXPECT_EQ(eng::parse_json(first)["text"], "two\nlines");
    EXPECT_TRUE(eng::parse_json(second)["loss"].is_null());
    EXPECT_EQ(eng::parse_json(second)["file"], "bad \xef\xbf\xbd name");
    JsonLines anew(f.path);
    EXPECT_EQ(eng::read_file(f.path), "");
    EXPECT_THROW(JsonLines("/nonexistent/metrics.jsonl"), eng::Error);
}

TEST(JsonLines, AFullDiskIsAnError) {
    if (!fs::exists("/dev/full")) GTEST_SKIP();
    JsonLines log("/dev/full");
    EXPECT_THROW(log.write({{"step", 1}}), eng::Error);
}

TEST(Memory, GrowsWithWhatIsTouched) {
    const Memory before = process_memory();
    constexpr std::size_t size = 64 << 20;
    const auto block = std::make_unique<char[]>(size);
    // One write a page through a volatile: compilers may drop memory that nobody can see being used.
    for (std::size_t i = 0; i < size; i += 4096) static_cast<volatile char*>(block.get())[i] = 1;
    const Memory with = process_memory();
    EXPECT_GE(with.rss, before.rss + (32u << 20));  // half of it: other pages may leave meanwhile
    EXPECT_GE(with.peak, with.rss);
}

TEST(Progress, FormatsWhatPeopleRead) {
    EXPECT_EQ(format_duration(0), "0:00");
    EXPECT_EQ(format_duration(59.6), "1:00");  // never "0:60"
    EXPECT_EQ(format_duration(247), "4:07");
    EXPECT_EQ(format_duration(3729), "1:02:09");
    EXPECT_EQ(format_duration(NAN), "-");
    EXPECT_EQ(format_duration(INFINITY), "-");
    EXPECT_EQ(format_duration(-1), "-");
    EXPECT_EQ(format_bytes(512), "512 B");
    EXPECT_EQ(format_bytes(std::size_t(3) << 29), "1.50 GiB");
    const Memory memory{std::size_t(1) << 30, std::size_t(2) << 30};
    EXPECT_EQ(progress_line(7, 640, {{"loss", 2.31}, {"itc", 1.1}}, 412.4, 190, memory),
              "step   7/640  loss 2.3100  itc 1.1000  412 pairs/s  eta 3:10  mem 1.00 GiB (peak 2.00 GiB)");
    EXPECT_NE(progress_line(0, 10, {}, 0, NAN, {}).find("- pairs/s  eta -"), std::string::npos);
}

struct Output {  // a stream that is no terminal, and what came out
    std::FILE* file = std::tmpfile();
    ~Output() { std::fclose(file); }
    std::string text() const {
        std::rewind(file);
        std::string s(1 << 16, 0);
        s.resize(std::fread(s.data(), 1, s.size(), file));
        return s;
    }
};

TEST(Progress, PlainLinesAtIntervals) {
    Output out;
    double now = 100;
    const auto clock = [&] { return now; };
    Progress p({.total = 100, .start = 0, .pairs_per_step = 8, .interval = 10, .out = out.file, .clock = clock});
    EXPECT_TRUE(std::isnan(p.seconds_left()));
    for (int step = 1; step <= 100; ++step) {
        now += 0.5;
        p.update(step, {{"loss", 1.0 / step}});
        EXPECT_NEAR(p.pairs_per_second(), 16, 1e-9);
        EXPECT_NEAR(p.seconds_left(), (100 - step) * 0.5, 1e-9);
    }
    const std::string text = out.text();
    EXPECT_EQ(count(text, "\n"), 6);  // step 1 at 0.5 s, then at 10.5, 20.5, 30.5, 40.5, and the last at 50
    EXPECT_EQ(text.find('\r'), std::string::npos);
    EXPECT_EQ(text.rfind("step   1/100  loss 1.0000", 0), 0u);
    EXPECT_NE(text.find("\nstep  21/100  "), std::string::npos);
    EXPECT_NE(text.find("\nstep 100/100  loss 0.0100  16 pairs/s  eta 0:00  mem "), std::string::npos);
}

TEST(Progress, ValidationDoesNotCountAndTheRateForgets) {
    Output out;
    double now = 0;
    const auto clock = [&] { return now; };
    Progress p({.total = 10000, .start = 500, .pairs_per_step = 1, .interval = 1e9, .out = out.file, .clock = clock});
    std::int64_t step = 500;
    const auto steps = [&](int n, double each) {
        for (int i = 0; i < n; ++i) now += each, p.update(++step, {});
    };
    steps(20, 1);
    EXPECT_NEAR(p.pairs_per_second(), 1, 1e-9) << "steps of earlier processes took no time in this one";
    p.pause();
    now += 600;
    steps(1, 1);
    EXPECT_NEAR(p.pairs_per_second(), 1, 1e-9);
    steps(400, 0.25);  // 100 s at 4 a second: what came before weighs exp(-10)
    EXPECT_NEAR(p.pairs_per_second(), 4, 4 * 20 * std::exp(-10.0));
    p.note("a table");
    EXPECT_NE(out.text().find("\na table\n"), std::string::npos);
}

TEST(Progress, RewritesItsLineOnATerminal) {
    const int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master)) GTEST_SKIP() << "no pseudo-terminals here";
    std::FILE* terminal = std::fopen(ptsname(master), "r+");
    ASSERT_NE(terminal, nullptr);
    double now = 0;
    const auto clock = [&] { return now; };
    {
        Progress p({.total = 40, .start = 0, .pairs_per_step = 1, .interval = 10, .out = terminal, .clock = clock});
        for (int step = 1; step <= 30; ++step) now += 0.025, p.update(step, {{"loss", 1}});
        p.note("a table");
        now += 1, p.update(31, {{"loss", 1}});
    }
    std::fclose(terminal);
    // The kernel hands the text over in pieces and in its own time; without a writer left, the end of it is an error.
    std::string text, piece(1 << 12, 0);
    for (ssize_t n; (n = read(master, piece.data(), piece.size())) > 0;) text += piece.substr(0, std::size_t(n));
    close(master);
    // Shown at 0.025 s and then at most every 0.1 s up to 0.75 s: 8 times (7 where a sum of steps falls just short of
    // a tenth); erased between them and before the note; the last line is ended.
    const int shown = count(text, "step "), erased = count(text, "\r\033[K");
    EXPECT_GE(shown, 7);
    EXPECT_LE(shown, 9);
    EXPECT_EQ(erased, shown - 1);
    EXPECT_EQ(count(text, "\n"), 2);
    EXPECT_NE(text.find("\r\033[Ka table"), std::string::npos);
}

}  // namespace
