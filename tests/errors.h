#pragma once
// What an action has to say when it is refused.
#include <gtest/gtest.h>

#include <string>

#include "engine/error.h"

namespace eng::test {

// The sentence of the Error that `action` ends with; "no error" if it ends well.
std::string error_of(const auto& action) {
    try {
        action();
    } catch (const Error& e) { return e.what(); }
    return "no error";
}

}  // namespace eng::test

#define EXPECT_MENTIONS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)
