#pragma once
// What a run says while it goes: metrics as JSON lines, a progress line for people, and the memory it uses.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

namespace scvd {

class JsonLines {  // one object per line, flushed, so that a killed run loses nothing
public:
    explicit JsonLines(const std::string& path, bool append = false);
    void write(const nlohmann::json&);  // bytes that are not UTF-8 become U+FFFD; NaN becomes null

private:
    std::string path_;
    std::ofstream out_;
};

struct Memory {
    std::size_t rss = 0, peak = 0;  // bytes resident now, and at most so far; 0 where the system does not tell
};
Memory process_memory();

std::string format_duration(double seconds);        // "4:07", "1:02:09"; "-" when unknown (not finite or negative)
std::string format_bytes(std::size_t bytes);        // "512 B", "1.50 GiB"

using LossValues = std::vector<std::pair<std::string, double>>;  // name, value; the total first

// "step   120/640  loss 2.3100  itc 1.1000  412 pairs/s  eta 3:10  mem 1.82 GiB (peak 2.00 GiB)"
std::string progress_line(std::int64_t step, std::int64_t total, const LossValues&, double pairs_per_second,
                          double seconds_left, const Memory&);

// The line above, rewritten in place on a terminal (at most ten times a second), otherwise as a new line every
// `interval` seconds, so that a log file stays short. The first and the last step are always shown.
class Progress {
public:
    using Clock = std::function<double()>;  // seconds, never going back
    struct Options {
        std::int64_t total = 0, start = 0;  // steps of the whole run, and done before this process
        int pairs_per_step = 1;
        double interval = 10;      // seconds between lines when `out` is no terminal
        std::FILE* out = nullptr;  // nullptr: standard output
        Clock clock = {};          // none: the steady clock
    };
    explicit Progress(Options);
    ~Progress();  // ends an open line
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    // `step` steps are done. Call it after every step; showing is what is rationed.
    void update(std::int64_t step, const LossValues&);
    // Text of its own (a table, a warning), ended by a new line; the line in place is not torn by it.
    void note(const std::string& text);
    // Time from here to the next update is not training: the rate leaves out that step.
    void pause();

    double pairs_per_second() const;  // smoothed over about ten seconds; 0 before the second step
    double seconds_left() const;      // from that rate; NaN while it is unknown

private:
    void show(const LossValues&);
    void clear_line();

    Options options_;
    bool terminal_ = false, open_line_ = false, paused_ = false, shown_ = false;
    std::int64_t step_ = 0;
    double last_time_ = 0, last_shown_ = 0;
    double steps_ = 0, seconds_ = 0;  // both decay alike: their ratio is the smoothed rate
};

}  // namespace scvd
