#include "engine/comm/frames.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <thread>

#include "engine/error.h"

namespace eng {
namespace {

constexpr std::uint32_t kMark = 0x53435644;          // a stranger on the port is told from a rank by it
constexpr std::uint32_t kMost = std::uint32_t(1) << 26;  // bytes of a message

using Clock = std::chrono::steady_clock;
int left_ms(Clock::time_point until) {
    return int(std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count()));
}
Clock::time_point in_seconds(double s) { return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s)); }

void put(std::string& to, std::uint32_t v) { to.append(reinterpret_cast<const char*>(&v), 4); }
std::uint32_t number_at(const std::string& s, std::size_t at) {
    std::uint32_t v;
    std::memcpy(&v, s.data() + at, 4);
    return v;
}

void make_quick(int fd) {
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

// Connects without waiting longer than until `until`.
bool connect_within(int fd, const addrinfo& to, Clock::time_point until) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (connect(fd, to.ai_addr, to.ai_addrlen) != 0) {
        if (errno != EINPROGRESS) return false;
        pollfd p{fd, POLLOUT, 0};
        int error = 0;
        socklen_t n = sizeof error;
        if (poll(&p, 1, left_ms(until)) != 1 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0 || error) return false;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return true;
}

}  // namespace

Socket::~Socket() { close(); }
Socket& Socket::operator=(Socket&& o) noexcept {
    if (this != &o) {
        close();
        fd_ = std::exchange(o.fd_, -1);
        in_ = std::move(o.in_);
    }
    return *this;
}
void Socket::close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
}

bool Socket::send(const Message& m) const {
    std::string body, all;
    for (const std::string& s : m) put(body, std::uint32_t(s.size())), body += s;
    put(all, kMark), put(all, std::uint32_t(body.size()));
    all += body;
    const auto until = in_seconds(5);
    for (std::size_t at = 0; at < all.size();) {
        const ssize_t n = ::send(fd_, all.data() + at, all.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            at += std::size_t(n);
            continue;
        }
        if (n < 0 && errno == EINTR) continue;
        pollfd p{fd_, POLLOUT, 0};
        if ((n < 0 && errno != EAGAIN) || poll(&p, 1, left_ms(until)) == 0) return false;
    }
    return true;
}

bool Socket::fill() {
    char buffer[1 << 16];
    while (true) {
        const ssize_t n = recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
        if (n > 0) in_.append(buffer, std::size_t(n));
        else if (n == 0) return false;
        else if (errno != EINTR) break;
    }
    const bool alive = errno == EAGAIN || errno == EWOULDBLOCK;
    return alive && (in_.size() < 8 || (number_at(in_, 0) == kMark && number_at(in_, 4) <= kMost));
}

std::optional<Message> Socket::take() {
    if (in_.size() < 8 || in_.size() - 8 < number_at(in_, 4)) return std::nullopt;
    const std::size_t end = 8 + number_at(in_, 4);
    Message m;
    for (std::size_t at = 8; at + 4 <= end;) {
        const std::size_t n = number_at(in_, at);
        if (n > end - at - 4) break;
        m.push_back(in_.substr(at + 4, n));
        at += 4 + n;
    }
    in_.erase(0, end);
    return m;
}

std::optional<Message> Socket::receive(double seconds) {
    const auto until = in_seconds(seconds);
    while (true) {
        if (auto m = take()) return m;
        pollfd p{fd_, POLLIN, 0};
        const int ready = poll(&p, 1, left_ms(until));
        if (ready == 0 || (ready < 0 && errno != EINTR)) return std::nullopt;
        if (ready > 0 && !fill()) return take();
    }
}

std::string Socket::local_address() const {
    sockaddr_storage a{};
    socklen_t n = sizeof a;
    char text[NI_MAXHOST] = "";
    getsockname(fd_, reinterpret_cast<sockaddr*>(&a), &n);
    getnameinfo(reinterpret_cast<sockaddr*>(&a), n, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
    const std::string s = text;
    return s.rfind("::ffff:", 0) == 0 ? s.substr(7) : s;  // IPv4 seen through an IPv6 socket
}

Socket listen_on(int port) {
    Socket s(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const bool six = s.open();
    if (!six) s = Socket(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ENG_CHECK(s.open(), "launch", "no socket: ", std::strerror(errno));
    const int one = 1, zero = 0;
    setsockopt(s.fd(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (six) setsockopt(s.fd(), IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    sockaddr_in6 a6{};
    a6.sin6_family = AF_INET6, a6.sin6_port = htons(std::uint16_t(port)), a6.sin6_addr = in6addr_any;
    sockaddr_in a4{};
    a4.sin_family = AF_INET, a4.sin_port = htons(std::uint16_t(port)), a4.sin_addr.s_addr = INADDR_ANY;
    const int bound = six ? bind(s.fd(), reinterpret_cast<sockaddr*>(&a6), sizeof a6) : bind(s.fd(), reinterpret_cast<sockaddr*>(&a4), sizeof a4);
    ENG_CHECK(bound == 0 && ::listen(s.fd(), 1024) == 0, "launch", "rank 0 cannot listen on port ", port, ": ", std::strerror(errno),
              "; MASTER_PORT names another");
    return s;
}

Socket accept_from(const Socket& listener) {
    const int fd = accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) make_quick(fd);
    return Socket(fd);
}

Socket connect_to(const std::string& host, int port, double seconds) {
    const auto until = in_seconds(seconds);
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    while (true) {
        if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) == 0) {
            for (const addrinfo* a = found; a; a = a->ai_next) {
                Socket s(socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol));
                if (!s.open() || !connect_within(s.fd(), *a, until)) continue;
                make_quick(s.fd());
                freeaddrinfo(found);
                return s;
            }
            freeaddrinfo(found);
        }
        if (left_ms(until) == 0) return Socket();
        std::this_thread::sleep_for(std::chrono::milliseconds(std::min(100, left_ms(until) + 1)));
    }
}

}  // namespace eng
