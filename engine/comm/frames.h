#pragma once
// Messages over TCP: lists of byte strings, each list behind a mark, its length and the lengths of its strings.
#include <netinet/in.h>

#include <optional>
#include <string>
#include <vector>

namespace eng {

using Message = std::vector<std::string>;

class Socket {  // owns a file descriptor
public:
    Socket() = default;
    explicit Socket(int fd) : fd_(fd) {}
    ~Socket();
    Socket(Socket&& o) noexcept : fd_(o.fd_), in_(std::move(o.in_)) { o.fd_ = -1; }
    Socket& operator=(Socket&& o) noexcept;
    int fd() const { return fd_; }
    bool open() const { return fd_ >= 0; }
    void close();

    // False: the other end is gone (or, sending, does not read for seconds).
    bool send(const Message&) const;
    // Reads what has come, without waiting; false: the other end is gone, or speaks another language.
    bool fill();
    std::optional<Message> take();  // the next whole message that fill() brought
    // Waits for one. Nothing: gone, or not within the time.
    std::optional<Message> receive(double seconds);
    std::string local_address() const;

private:
    int fd_ = -1;
    std::string in_;
};

// Listens on all addresses. Error: the port is in use, or not ours to use.
Socket listen_on(int port);
Socket accept_from(const Socket& listener);
// Tries again until the time is up; not open then.
Socket connect_to(const std::string& host, int port, double seconds);

}  // namespace eng
