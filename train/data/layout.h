#pragma once
// How published sets lie on disk: which annotation files there are, what their keys are called, what the pictures' paths
// are relative to, and how many of everything the papers count.
#include <filesystem>
#include <string>
#include <vector>

namespace scvd {

struct SplitCounts { int identities = 0, images = 0, captions = 0; };  // all 0: not published, or no such split

struct Layout {
    std::string set;  // "CUHK-PEDES", ...; "records" for a JSON list that only says what its keys are
    struct File {
        std::filesystem::path path;
        std::string split;  // "" when each record says its own
    };
    std::vector<File> files;
    // Names of a record's members, the usual one first.
    std::vector<std::string> id, picture, captions;
    std::vector<std::filesystem::path> folders;  // what paths may be relative to, the usual one first
    SplitCounts published[3];                    // train, val, test
};

// Looks at names only. `root` is the set's folder or its annotation file; `images`, when given, is where pictures lie.
// Error: nothing known is there (lists what was looked for, and a set in a folder below when there is one).
Layout find_layout(const std::string& root, const std::string& images = "");

}  // namespace scvd
