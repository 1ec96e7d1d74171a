#pragma once
// Errors and scopes. A Scope names where we are in the model ("visual.block3.attn"); the same path prefixes
// every error message, names every parameter and labels every row of the memory and numerics reports.
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace eng {

// Every failure a user can cause or meet is an Error whose text is one sentence that names the culprit.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline thread_local std::vector<std::string> scope_stack;

// "a.b.c" for the scopes open on this thread, "" outside of any.
inline std::string scope_path() {
    std::string path;
    for (const auto& part : scope_stack)
        if (!part.empty()) path += (path.empty() ? "" : ".") + part;
    return path;
}

struct Scope {
    explicit Scope(std::string name) { scope_stack.push_back(std::move(name)); }
    ~Scope() { scope_stack.pop_back(); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
};

template <class... Parts>
[[noreturn]] void fail(const char* where, const Parts&... parts) {
    std::ostringstream os;
    os << where << ": ";
    (os << ... << parts);
    if (const std::string path = scope_path(); !path.empty()) os << "  [in " << path << "]";
    throw Error(os.str());
}

// The message parts are evaluated only on failure.
#define ENG_CHECK(cond, where, ...)                       \
    do {                                                  \
        if (!(cond)) ::eng::fail((where), __VA_ARGS__);   \
    } while (0)

}  // namespace eng
