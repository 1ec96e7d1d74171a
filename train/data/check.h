#pragma once
// What can be wrong with a data set, looked for in one pass over all of it.
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/data/dataset.h"
#include "train/data/layout.h"
#include "train/data/text_report.h"

namespace scvd {

struct CheckOptions {
    std::string root, images, bpe;
    std::string sheet;      // PNG of sample pictures to write, "" for none
};

struct SplitCheck {
    std::string name;
    SplitCounts counts, published;
    int missing_ids = 0;                         // between the smallest and the largest
    int min_id = 0, max_id = 0;
    int tokens_min = 0, tokens_median = 0, tokens_p95 = 0, tokens_max = 0, cut = 0;  // caption lengths; captions longer than 77
    int small_width = 0, small_height = 0;       // of the smallest picture
    int tiny = 0;                                // pictures narrower than 16 or lower than 32 pixels
    bool as_published() const;
};

struct DataCheck {
    std::string set, root;
    int records = 0;
    std::vector<SplitCheck> splits;
    TextReport texts;  // what the deconstructor finds in the captions of all splits
    std::map<std::string, std::vector<std::string>> bad;      // kind -> one sentence each: these records cannot be used
    std::map<std::string, std::vector<std::string>> notable;  // kind -> one sentence each: worth a look
    // 0: nothing found; 2: records that cannot be used; 3: only counts that differ from the published ones.
    int exit_code() const;
};

DataCheck check_data(const CheckOptions&);
nlohmann::json to_json(const DataCheck&);
std::string table(const DataCheck&);

// Whether a caption describes nobody: "There is no photo available".
bool says_nothing(const std::string& caption);

}  // namespace scvd
