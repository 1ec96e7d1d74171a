// Annotation files of data sets and people's own tables: the first byte picks the file's name and what bad records do, the
// rest is its text. A few pictures lie beside it, so that records can be good.
#include <filesystem>
#include <fstream>

#include "tests/fuzz/fuzz.h"
#include "train/data/dataset.h"
#include "train/data/records.h"

namespace {

namespace fs = std::filesystem;

// A set's folder in memory, where there is such a place: imgs/{0,1,2}.bmp of one pixel each.
fs::path make_folder() {
    const fs::path root = (fs::is_directory("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path()) / ("fuzz_records." + std::to_string(::getpid()));
    fs::create_directories(root / "imgs");
    constexpr char bmp[] = "BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\1\0\0\0\1\0\0\0\1\0\x18\0\0\0\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\2\3";
    for (const char* name : {"0.bmp", "1.bmp", "2.bmp"}) std::ofstream(root / "imgs" / name, std::ios::binary).write(bmp, sizeof bmp);
    static const struct Remove {
        fs::path root;
        ~Remove() { fs::remove_all(root); }
    } at_exit{root};
    return root;
}

void promise(bool kept) {
    if (!kept) __builtin_trap();
}

void check(const scvd::Dataset& d) {
    for (const scvd::Split* s : {&d.train, &d.val, &d.test})
        for (const auto& pair : s->pairs) {
            promise(pair.image >= 0 && std::size_t(pair.image) < s->images.size());
            const scvd::Record& r = s->images[std::size_t(pair.image)];
            promise(pair.caption >= 0 && std::size_t(pair.caption) < r.captions.size() && r.label >= 0 && r.label < s->identities);
            promise(scvd::find_bad_utf8(r.captions[std::size_t(pair.caption)]) == std::string::npos);
        }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const fs::path root = make_folder();
    constexpr const char* names[] = {"data_captions.json", "reid_raw.json", "train_reid.json", "cuhk_train.json", "people.jsonl", "people.csv"};
    if (size == 0) return 0;
    const std::string name = names[data[0] / 2 % std::size(names)];
    const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
    std::ofstream(root / name, std::ios::binary) << text;
    try {
        if (name.starts_with("people")) {
            scvd::RecordsOptions options;
            options.source = root / name, options.images = root / "imgs", options.out = root / "imported";
            scvd::import_records(options);
            check(scvd::load_dataset(options.out, scvd::OnBad::fatal));  // what was written can be read
        } else {
            // Sets of one file a split: another part makes the folder one.
            if (name == "cuhk_train.json") std::ofstream(root / "cuhk_test.json") << R"([{"image": "1.bmp", "caption": "a man", "image_id": 7}])";
            if (name == "train_reid.json") std::ofstream(root / "test_reid.json") << R"([{"file_path": "1.bmp", "captions": ["a man"], "id": 7}])";
            check(scvd::load_dataset(root.string(), data[0] % 2 ? scvd::OnBad::skip : scvd::OnBad::fatal));
        }
    } catch (const eng::Error&) {
    }
    for (const char* left : {"imported", "cuhk_test.json", "test_reid.json"}) fs::remove_all(root / left);
    promise(!fs::exists(root / "imported.part"));
    fs::remove(root / name);
    return 0;
}
