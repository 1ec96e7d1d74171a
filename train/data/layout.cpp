#include "train/data/layout.h"

#include <algorithm>

#include "engine/error.h"

namespace scvd {
namespace {

namespace fs = std::filesystem;

bool is_file(const fs::path& p) {
    std::error_code unreadable;
    return fs::is_regular_file(p, unreadable);
}

// Counts as the authors' files have them, not as papers round them (two captions a picture): CUHK-PEDES has pictures with
// three and more.
struct Known {
    const char* set;
    std::vector<std::string> names;  // of one annotation file
    const char* picture;             // key of the picture's path
    SplitCounts published[3];
    const char* split = "";  // of all records, where they need not say it
};
const Known known[] = {
    {"CUHK-PEDES", {"reid_raw.json"}, "file_path", {{11003, 34054, 68126}, {1000, 3078, 6158}, {1000, 3074, 6156}}},
    {"ICFG-PEDES", {"ICFG-PEDES.json", "ICFG_PEDES.json"}, "file_path", {{3102, 34674, 34674}, {}, {1000, 19848, 19848}}},
    {"RSTPReid", {"data_captions.json"}, "img_path", {{3701, 18505, 37010}, {200, 1000, 2000}, {200, 1000, 2000}}},
    {"UFine6926", {"UFine6926_Annotations.json", "UFine6926.json"}, "file_path", {{0, 18577, 37154}, {}, {0, 7629, 15258}}},
    {"UFine3C", {"UFine3C_Annotations.json", "UFine3C.json"}, "file_path", {{}, {}, {2250, 7446, 37939}}, "test"},
};

// Sets cut into one file a split, as other programs prepare them.
struct Parts {
    const char* set;
    const char* pattern;  // @ is the split
    std::vector<std::string> id, picture, captions;
};
const Parts parts[] = {
    {"TBPS-CLIP files", "@_reid.json", {"id", "image_id"}, {"file_path", "img_path"}, {"captions"}},
    {"RaSa files", "processed_data/@.json", {"id", "image_id"}, {"file_path", "img_path"}, {"captions"}},
    {"RaSa files", "@.json", {"id", "image_id"}, {"file_path", "img_path"}, {"captions"}},
    {"APTM files", "cuhk_@.json", {"image_id", "id"}, {"image"}, {"caption"}},
    {"APTM files", "icfg_@.json", {"image_id", "id"}, {"image"}, {"caption"}},
    {"APTM files", "rstp_@.json", {"image_id", "id"}, {"image"}, {"caption"}},
};

void use(Layout& l, const Known& k, const fs::path& file) {
    l.set = k.set;
    l.files = {{file, k.split}};
    l.id = {"id"}, l.picture = {k.picture}, l.captions = {"captions"};
    std::copy(std::begin(k.published), std::end(k.published), l.published);
}

bool find_known(Layout& l, const fs::path& folder) {
    for (const Known& k : known)
        for (const auto& name : k.names)
            if (is_file(folder / name)) return use(l, k, folder / name), true;
    return false;
}

bool find_parts(Layout& l, const fs::path& folder) {
    for (const Parts& p : parts) {
        l.files.clear();
        for (const char* split : {"train", "val", "test"}) {
            std::string name = p.pattern;
            name.replace(name.find('@'), 1, split);
            if (is_file(folder / name)) l.files.push_back({folder / name, split});
        }
        if (l.files.size() < 2) continue;
        l.set = p.set, l.id = p.id, l.picture = p.picture, l.captions = p.captions;
        return true;
    }
    l.files.clear();
    return false;
}

void use_records(Layout& l, const fs::path& file) {
    l.set = "records";
    l.files = {{file, ""}};
    l.id = {"id", "image_id", "person"}, l.picture = {"file_path", "img_path", "image"}, l.captions = {"captions", "caption"};
}

[[noreturn]] void nothing_known(const fs::path& folder) {
    std::string below;
    std::error_code error;
    Layout l;
    for (const auto& e : fs::directory_iterator(folder, error))
        if (e.is_directory(error) && find_known(l, e.path())) below = "; " + e.path().string() + " looks like " + l.set;
    eng::fail("data", folder.string(), " holds no data_captions.json (RSTPReid), reid_raw.json (CUHK-PEDES), ICFG-PEDES.json, UFine6926_Annotations.json, train_reid.json (TBPS-CLIP), "
              "processed_data/train.json (RaSa) or cuhk_train.json (APTM)", below);
}

}  // namespace

Layout find_layout(const std::string& root, const std::string& images) {
    const bool file = is_file(root);
    ENG_CHECK(file || fs::is_directory(root), "data", root, " is not a folder");
    const fs::path folder = file ? fs::path(root).parent_path() : fs::path(root);
    Layout l;
    if (file) {
        use_records(l, root);
        for (const Known& k : known)
            if (std::find(k.names.begin(), k.names.end(), fs::path(root).filename()) != k.names.end()) use(l, k, root);
    } else if (!find_known(l, folder) && !find_parts(l, folder)) {
        nothing_known(folder);
    }
    if (!images.empty()) {
        ENG_CHECK(fs::is_directory(images), "data", images, " is not a folder");
        l.folders = {images};
    } else if (l.set == "RSTPReid") {
        l.folders = {folder / "imgs"};
    } else {
        l.folders = {folder / "imgs", folder, folder / "..", folder / ".." / ".."};
    }
    return l;
}

}  // namespace scvd
