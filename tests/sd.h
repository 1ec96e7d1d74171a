#pragma once
// The deconstructor and its answers as the tests of the Semantics Deconstructor want them.
#include <string>
#include <vector>

#include "model/semantics/deconstructor.h"

namespace scvd::test {

using Texts = std::vector<std::string>;

inline const Deconstructor& sd() {
    static const Deconstructor d;
    return d;
}

inline Texts texts_of(const std::vector<Phrase>& phrases) {
    Texts out;
    for (const Phrase& p : phrases) out.push_back(p.text);
    return out;
}

}  // namespace scvd::test
