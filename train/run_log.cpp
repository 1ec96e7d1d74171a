#include "train/run_log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/error.h"
#include "engine/io/json.h"

namespace scvd {
namespace {

constexpr double kMemorySeconds = 10;   // how long the rate remembers
constexpr double kRefreshSeconds = 0.1;  // on a terminal

double steady_seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

JsonLines::JsonLines(const std::string& path, bool append)
    : path_(path), out_(path, append ? std::ios::app : std::ios::trunc) {
    ENG_CHECK(out_, "metrics", "cannot write ", path, ": ", std::strerror(errno));
}

void JsonLines::write(const nlohmann::json& j) {
    out_ << eng::json_text(j, -1, nlohmann::json::error_handler_t::replace) << '\n' << std::flush;
    ENG_CHECK(out_, "metrics", "cannot write ", path_, " (is the disk full?)");
}

Memory process_memory() {
    Memory m;
    std::ifstream in("/proc/self/status");
    for (std::string line; std::getline(in, line);) {
        if (line.rfind("VmRSS:", 0) == 0) m.rss = std::stoull(line.substr(6)) * 1024;
        if (line.rfind("VmHWM:", 0) == 0) m.peak = std::stoull(line.substr(6)) * 1024;
    }
    return m;
}

std::string format_duration(double seconds) {
    if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "-";
    const auto s = static_cast<std::int64_t>(std::llround(seconds));
    if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
    return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

std::string format_bytes(std::size_t bytes) {
    if (bytes < 1024) return fmt::format("{} B", bytes);
    double v = double(bytes) / 1024;
    const char* units[] = {"KiB", "MiB", "GiB", "TiB"};
    int u = 0;
    for (; v >= 1024 && u < 3; ++u) v /= 1024;
    return fmt::format("{:.2f} {}", v, units[u]);
}

std::string progress_line(std::int64_t step, std::int64_t total, const LossValues& losses, double pairs_per_second,
                          double seconds_left, const Memory& memory) {
    const std::string all = std::to_string(total);
    std::string line = fmt::format("step {:>{}}/{}", step, all.size(), all);
    for (const auto& [name, v] : losses) line += fmt::format("  {} {:.4f}", name, v);
    line += pairs_per_second > 0 ? fmt::format("  {:.{}f} pairs/s", pairs_per_second, pairs_per_second < 10 ? 2 : 0)
                                 : std::string("  - pairs/s");
    return line + fmt::format("  eta {}  mem {} (peak {})", format_duration(seconds_left), format_bytes(memory.rss),
                              format_bytes(memory.peak));
}

Progress::Progress(Options o) : options_(std::move(o)), step_(options_.start) {
    if (!options_.out) options_.out = stdout;
    if (!options_.clock) options_.clock = steady_seconds;
    terminal_ = isatty(fileno(options_.out));
    last_time_ = options_.clock();
}

Progress::~Progress() {
    if (open_line_) std::fputc('\n', options_.out), std::fflush(options_.out);
}

void Progress::update(std::int64_t step, const LossValues& losses) {
    const double now = options_.clock(), dt = now - last_time_;
    if (!paused_ && dt > 0) {
        const double keep = std::exp(-dt / kMemorySeconds);
        steps_ = keep * steps_ + double(step - step_);
        seconds_ = keep * seconds_ + dt;
    }
    step_ = step, last_time_ = now, paused_ = false;
    const double wait = terminal_ ? kRefreshSeconds : options_.interval;
    if (shown_ && step < options_.total && now - last_shown_ < wait) return;
    shown_ = true, last_shown_ = now;
    show(losses);
}

void Progress::show(const LossValues& losses) {
    const std::string line =
        progress_line(step_, options_.total, losses, pairs_per_second(), seconds_left(), process_memory());
    clear_line();
    open_line_ = terminal_ && step_ < options_.total;
    fmt::print(options_.out, "{}{}", line, open_line_ ? "" : "\n");
    std::fflush(options_.out);
}

void Progress::note(const std::string& text) {
    clear_line();
    fmt::print(options_.out, "{}{}", text, text.empty() || text.back() != '\n' ? "\n" : "");
    std::fflush(options_.out);
}

void Progress::clear_line() {
    if (open_line_) fmt::print(options_.out, "\r\033[K");  // back to column 0, erase to the end of the line
    open_line_ = false;
}

void Progress::pause() { paused_ = true; }

double Progress::pairs_per_second() const { return seconds_ > 0 ? steps_ / seconds_ * options_.pairs_per_step : 0; }

double Progress::seconds_left() const {
    const double rate = pairs_per_second();
    if (rate <= 0) return step_ >= options_.total ? 0 : std::numeric_limits<double>::quiet_NaN();
    return double(options_.total - step_) * options_.pairs_per_step / rate;
}

}  // namespace scvd
