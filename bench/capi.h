#pragma once
// What the parts of the C library share: exceptions end at its border.
#include <exception>
#include <string>

namespace scvd_bench {

std::string& last_error();

template <class F>
int guarded(F&& f) {
    try {
        f();
        return 0;
    } catch (const std::exception& e) {
        last_error() = e.what();
        return 1;
    }
}

}  // namespace scvd_bench
