#pragma once
// Tasks on all threads that may fail: an exception must not leave a parallel region.
#include <exception>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/parallel.h"

namespace eng {

// task(i) for i = 0 .. n-1, in ranges of at least `grain`. Each one's error, empty where it succeeded.
template <class Task>
std::vector<std::string> errors_of_all(std::int64_t n, std::int64_t grain, Task&& task) {
    std::vector<std::string> errors(static_cast<std::size_t>(n));
    parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) try {
                task(i);
            } catch (const std::exception& e) {
                errors[static_cast<std::size_t>(i)] = e.what();
            }
    });
    return errors;
}

// The same; throws the error of the lowest i, whatever the number of threads.
template <class Task>
void all_or_throw(std::int64_t n, std::int64_t grain, Task&& task) {
    for (const std::string& e : errors_of_all(n, grain, task))
        if (!e.empty()) throw Error(e);
}

}  // namespace eng
