#include "train/launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "engine/error.h"

namespace scvd {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kLastWords = std::chrono::seconds(5);  // for the others to say why they end
volatile std::sig_atomic_t asked_to_stop = 0;

// A port that nobody listens on now. Until rank 0 listens somebody may take it; it then says so, and another launch finds another.
int free_port() {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in a{};
    a.sin_family = AF_INET, a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t n = sizeof a;
    const bool ok = fd >= 0 && bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0 && getsockname(fd, reinterpret_cast<sockaddr*>(&a), &n) == 0;
    if (fd >= 0) close(fd);
    ENG_CHECK(ok, "launch", "no free port: ", std::strerror(errno));
    return ntohs(a.sin_port);
}

struct Stream {  // what a rank prints on one of its two outputs
    int fd = -1, to = 1;
    std::string prefix, line;
    // Passes whole lines on; false at its end.
    bool pump() {
        char buffer[1 << 14];
        const ssize_t n = read(fd, buffer, sizeof buffer);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
        if (n > 0) line.append(buffer, std::size_t(n));
        std::string out;
        for (std::size_t end; (end = line.find('\n')) != std::string::npos; line.erase(0, end + 1)) out += prefix + line.substr(0, end + 1);
        if (n <= 0 && !line.empty()) out += prefix + line + "\n", line.clear();
        for (std::size_t at = 0; at < out.size();) {
            const ssize_t w = write(to, out.data() + at, out.size() - at);
            if (w > 0) at += std::size_t(w);
            else if (errno != EINTR) break;
        }
        return n > 0;
    }
};

[[noreturn]] void become(const LaunchOptions& o, int rank, int port, int attempt, int out, int err) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // no rank outlives a launcher that is killed
    dup2(out, 1), dup2(err, 2);
    const auto set = [](const char* name, const std::string& v) { setenv(name, v.c_str(), 1); };
    set("RANK", std::to_string(rank)), set("LOCAL_RANK", std::to_string(rank));
    set("WORLD_SIZE", std::to_string(o.ranks)), set("LOCAL_WORLD_SIZE", std::to_string(o.ranks));
    set("MASTER_ADDR", "127.0.0.1"), set("MASTER_PORT", std::to_string(port));
    if (attempt) set("SCVD_RESTART", std::to_string(attempt));
    if (!std::getenv("OMP_NUM_THREADS")) set("OMP_NUM_THREADS", std::to_string(std::max(1, int(std::thread::hardware_concurrency()) / o.ranks)));
    std::vector<std::string> words{"scvd"};
    words.insert(words.end(), o.command.begin(), o.command.end());
    std::vector<char*> argv;
    for (auto& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    execv("/proc/self/exe", argv.data());
    _exit(127);
}

class Group {
public:
    Group(const LaunchOptions& o, int attempt) : ranks_(std::size_t(o.ranks), -1) {
        const int port = free_port();
        for (int r = 0; r < o.ranks; ++r) {
            int out[2], err[2];
            ENG_CHECK(pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0, "launch", "no pipe for rank ", r, ": ", std::strerror(errno));
            const pid_t pid = fork();
            ENG_CHECK(pid >= 0, "launch", "rank ", r, " cannot be started: ", std::strerror(errno));
            if (pid == 0) become(o, r, port, attempt, out[1], err[1]);
            close(out[1]), close(err[1]);
            ranks_[r] = pid;
            const std::string prefix = fmt::format("[{}] ", r);
            streams_.push_back({out[0], 1, prefix, ""}), streams_.push_back({err[0], 2, prefix, ""});
        }
    }

    // Until all have ended. The exit code of the first that failed.
    int wait() {
        int failed = 0;
        bool told = false;
        Clock::time_point since{};
        while (!streams_.empty() || running()) {
            pump();
            for (pid_t& pid : ranks_) {
                int status = 0;
                if (pid < 0 || waitpid(pid, &status, WNOHANG) != pid) continue;
                pid = -1;
                if (status == 0 || failed) continue;
                failed = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
                since = Clock::now();
                const auto rank = &pid - ranks_.data();
                if (WIFSIGNALED(status)) fmt::print(stderr, "scvd: launch: rank {} was ended by signal {} ({}); the others end too\n", rank, WTERMSIG(status), strsignal(WTERMSIG(status)));
                else fmt::print(stderr, "scvd: launch: rank {} ended with exit code {}; the others end too\n", rank, failed);
            }
            if (asked_to_stop && !told) told = true, signal_all(SIGTERM);
            if (failed && Clock::now() - since > kLastWords) signal_all(SIGKILL);
        }
        return failed;
    }

private:
    bool running() const {
        return std::any_of(ranks_.begin(), ranks_.end(), [](pid_t pid) { return pid >= 0; });
    }
    void signal_all(int signal) {
        for (const pid_t pid : ranks_)
            if (pid >= 0) kill(pid, signal);
    }
    void pump() {
        std::vector<pollfd> waits;
        for (const Stream& s : streams_) waits.push_back({s.fd, POLLIN, 0});
        if (poll(waits.data(), waits.size(), 100) <= 0) return;
        for (std::size_t i = waits.size(); i-- > 0;)
            if (waits[i].revents && !streams_[i].pump()) close(streams_[i].fd), streams_.erase(streams_.begin() + std::ptrdiff_t(i));
    }
    std::vector<pid_t> ranks_;  // -1: has ended
    std::vector<Stream> streams_;
};

}  // namespace

int launch(const LaunchOptions& o) {
    ENG_CHECK(o.ranks >= 1 && o.ranks <= 4096, "launch", "-n ", o.ranks, ", want 1 to 4096 ranks");
    ENG_CHECK(o.restarts >= 0, "launch", "--elastic-restarts ", o.restarts, ", want 0 or more");
    ENG_CHECK(!o.command.empty(), "launch", "what to start is missing: scvd launch -n 4 -- train --config demo ...");
    ENG_CHECK(o.command[0] != "launch", "launch", "a launch cannot start launches");
    std::signal(SIGINT, [](int) { asked_to_stop = 1; });
    std::signal(SIGTERM, [](int) { asked_to_stop = 1; });
    std::fflush(nullptr);
    for (int attempt = 0;; ++attempt) {
        const int code = Group(o, attempt).wait();
        if (code == 0 || attempt == o.restarts || asked_to_stop) return code;
        fmt::print(stderr, "scvd: launch: starting all ranks again, {} of {}\n", attempt + 1, o.restarts);
    }
}

}  // namespace scvd
