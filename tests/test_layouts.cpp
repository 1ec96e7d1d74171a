// Every layout that published sets come in, built from small pictures with the traps that the real ones hold, the checks on
// them, and people's own records.
#include <gtest/gtest.h>

#include "engine/io/json.h"
#include "tests/errors.h"
#include "tests/toy_set.h"
#include "train/data/check.h"
#include "train/data/dataset.h"
#include "train/data/image.h"
#include "train/data/pictures.h"
#include "train/data/records.h"

namespace {

using eng::test::error_of;

using namespace scvd;
namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Layouts : testing::Test {
    test::TempFolder folder;
    int made = 0;

    void write(const std::string& name, const std::string& text) const {
        fs::create_directories(fs::path(folder / name).parent_path());
        eng::write_file(folder / name, text);
    }
    void picture(const std::string& name, int width = 24, int height = 48) {
        fs::create_directories(fs::path(folder / name).parent_path());
        std::vector<std::uint8_t> rgb(std::size_t(width) * height * 3);
        for (std::size_t i = 0; i < rgb.size(); ++i) rgb[i] = std::uint8_t(i * 7 + std::size_t(++made) * 31);
        const auto bytes = name.ends_with(".png") ? encode_png(width, height, rgb.data()) : encode_jpeg(width, height, rgb.data(), 90);
        eng::write_file(folder / name, std::as_bytes(std::span(bytes)));
    }
    // Pictures named in the lists, below `below`.
    void pictures(const Json& list, const std::string& key, const std::string& below) {
        for (const auto& r : list) picture(below + r[key].get<std::string>());
    }
};

std::vector<std::string> names(const Split& s) {
    std::vector<std::string> n;
    for (const Record& r : s.images) n.push_back(r.name);
    return n;
}

// Ids begin at 1, three captions, grey and png pictures beside jpg, processed tokens that nobody reads.
TEST_F(Layouts, CuhkPedes) {
    const Json all = {
        {{"id", 1}, {"file_path", "CUHK01/0363004.png"}, {"split", "train"}, {"captions", {"A man in red.", "He wears red.", "This is a red man."}}, {"processed_tokens", {{"a"}, {"he"}, {"red"}}}},
        {{"id", 2}, {"file_path", "train_query/p11600_s14885.jpg"}, {"split", "train"}, {"captions", {"A woman in blue.", "Blue coat here."}}, {"processed_tokens", Json::array()}},
        {{"id", 11004}, {"file_path", "cam_a/a.jpg"}, {"split", "val"}, {"captions", {"A man in green.", "There is no photo available."}}},
        {{"id", 12004}, {"file_path", "cam_b/b.jpg"}, {"split", "test"}, {"captions", {"A boy in white.", "The boy is white."}}}};
    write("reid_raw.json", eng::json_text(all));
    pictures(all, "file_path", "imgs/");
    const Dataset d = load_dataset(folder.path.string());
    EXPECT_EQ(d.train.pairs.size(), 5u);
    EXPECT_EQ(d.train.images[0].label, 0);
    EXPECT_EQ(d.train.images[1].label, 1);
    EXPECT_EQ(d.test.images[0].label, 0) << "labels begin anew in each split";
    EXPECT_EQ(names(d.val), (std::vector<std::string>{"cam_a/a.jpg"}));

    const DataCheck c = check_data({folder.path.string(), "", "", folder / "sheet.png"});
    EXPECT_EQ(c.set, "CUHK-PEDES");
    EXPECT_EQ(c.splits[0].published.captions, 68126);
    EXPECT_EQ(c.exit_code(), 3) << "whole, but not as published";
    ASSERT_EQ(c.notable.at("captions that say nothing").size(), 1u);
    EXPECT_MENTIONS(c.notable.at("captions that say nothing")[0], "val/cam_a/a.jpg");
    EXPECT_MENTIONS(table(c), "2 of 11003");
    const Image sheet = load_image(folder / "sheet.png");
    EXPECT_EQ(sheet.width, 12 * 68 + 4);
    EXPECT_EQ(sheet.height, 3 * 164 + 4);
}

// No validation split, folder names that say train and test and mean nothing, either file name.
TEST_F(Layouts, IcfgPedesUnderBothNames) {
    const Json all = {{{"id", 0}, {"file_path", "test/0000/0000_002_01_0303morning_0009_0.jpg"}, {"split", "train"}, {"captions", {"A man in a red coat."}}, {"processed_tokens", {{"a"}}}},
                      {{"id", 7}, {"file_path", "train/0007/0007_000.jpg"}, {"split", "test"}, {"captions", {"A woman in a blue coat."}}}};
    pictures(all, "file_path", "imgs/");
    for (const char* name : {"ICFG-PEDES.json", "ICFG_PEDES.json"}) {
        write(name, eng::json_text(all));
        const Dataset d = load_dataset(folder.path.string());
        EXPECT_EQ(d.train.images.size(), 1u);
        EXPECT_TRUE(d.val.images.empty());
        EXPECT_EQ(d.test.images[0].id, 7);
        EXPECT_EQ(check_data({folder.path.string(), "", "", ""}).splits.size(), 2u);
        fs::remove(folder / name);
    }
}

TEST_F(Layouts, UfineBench) {
    const Json all = {{{"split", "train"}, {"id", 3}, {"file_path", "images/1.jpg"}, {"captions", {"one long text", "another long text"}}},
                      {{"split", "test"}, {"id", 4}, {"file_path", "images/2.jpg"}, {"captions", {"a third"}}}};
    write("UFine6926/UFine6926_Annotations.json", eng::json_text(all));
    pictures(all, "file_path", "UFine6926/");
    const DataCheck c = check_data({folder / "UFine6926", "", "", ""});
    EXPECT_EQ(c.set, "UFine6926");
    EXPECT_EQ(c.splits[0].published.captions, 37154);
    // A set for tests alone, whose records need not say so.
    const Json test = {{{"id", 2250}, {"source", "UFine6926"}, {"file_path", "images/7446.jpg"}, {"captions", {"a", "b", "c"}}}};
    write("UFine3C/UFine3C_Annotations.json", eng::json_text(test));
    pictures(test, "file_path", "UFine3C/");
    const Dataset d = load_dataset(folder / "UFine3C");
    EXPECT_EQ(d.test.pairs.size(), 3u);
    EXPECT_TRUE(d.train.images.empty());
}

TEST_F(Layouts, OneFileASplit) {
    const Json cuhk = {{{"id", 1}, {"file_path", "imgs/a.jpg"}, {"captions", {"a man", "a tall man"}}, {"captions_bt", {"x", "y"}}}};
    const Json later = {{{"id", 2}, {"file_path", "imgs/b.jpg"}, {"captions", {"a woman"}}}};
    pictures(cuhk, "file_path", ""), pictures(later, "file_path", "");
    write("anno/train_reid.json", eng::json_text(cuhk)), write("anno/test_reid.json", eng::json_text(later));
    Dataset d = load_dataset(folder / "anno");  // TBPS-CLIP: pictures lie beside the folder of annotations
    EXPECT_EQ(d.train.pairs.size(), 2u);
    EXPECT_EQ(d.test.images[0].id, 2);
    write("rasa/processed_data/train.json", eng::json_text(cuhk)), write("rasa/processed_data/val.json", eng::json_text(later));
    EXPECT_EQ(load_dataset(folder / "rasa", OnBad::fatal, folder.path.string()).val.images.size(), 1u);
}

// APTM: one record a caption, the caption a plain string, ids under image_id.
TEST_F(Layouts, AptmMergesThePicturesOfItsCaptions) {
    const Json train = {{{"image", "imgs/a.jpg"}, {"caption", "a man"}, {"image_id", 5}}, {{"image", "imgs/b.jpg"}, {"caption", "a woman"}, {"image_id", 6}}, {{"image", "imgs/a.jpg"}, {"caption", "a tall man"}, {"image_id", 5}}};
    const Json test = {{{"image", "imgs/c.jpg"}, {"caption", {"a boy", "a small boy"}}, {"image_id", 9}}};
    picture("imgs/a.jpg"), picture("imgs/b.jpg"), picture("imgs/c.jpg");
    write("finetune/cuhk_train.json", eng::json_text(train)), write("finetune/cuhk_test.json", eng::json_text(test));
    const Dataset d = load_dataset(folder / "finetune");
    ASSERT_EQ(d.train.images.size(), 2u);
    EXPECT_EQ(d.train.images[0].captions, (std::vector<std::string>{"a man", "a tall man"}));
    EXPECT_EQ(d.train.pairs.size(), 3u);
    EXPECT_EQ(d.test.pairs.size(), 2u);
}

TEST_F(Layouts, PathsMayNotLeadOut) {
    picture("imgs/a.jpg");
    for (const char* path : {"../../etc/passwd", "/etc/passwd", "x/../../a.jpg"}) {
        write("data_captions.json", eng::json_text(Json{{{"id", 1}, {"img_path", path}, {"split", "train"}, {"captions", {"a"}}}}));
        EXPECT_MENTIONS(error_of([&] { load_dataset(folder.path.string()); }), "climbs out of the folder");
    }
}

TEST_F(Layouts, AFolderAboveTheSetSaysWhereItIs) {
    write("CUHK-PEDES/reid_raw.json", "[]");
    EXPECT_MENTIONS(error_of([&] { load_dataset(folder.path.string()); }), (folder / "CUHK-PEDES") + " looks like CUHK-PEDES");
}

TEST_F(Layouts, TheCheckFindsWhatIsWrong) {
    picture("imgs/a.jpg"), picture("imgs/c.jpg"), picture("imgs/tiny.png", 9, 12);
    fs::copy_file(folder / "imgs/a.jpg", folder / "imgs/same.jpg");
    write("imgs/cut.jpg", eng::read_file(folder / "imgs/c.jpg").substr(0, 300));
    std::string many = "a man";
    for (int i = 0; i < 100; ++i) many += " and a bag";
    const auto record = [](int id, const char* path, const std::string& caption, const char* split = "train") { return Json{{"id", id}, {"img_path", path}, {"split", split}, {"captions", {caption}}}; };
    const Json all = {record(0, "a.jpg", "a man in a red coat"), record(4, "same.jpg", "A man in a red coat"), record(5, "tiny.png", many),
                      record(6, "cut.jpg", "a man"), record(7, "gone.jpg", "a man"), record(8, "../x.jpg", "a man"), record(4, "c.jpg", "a man", "test"), {{"id", 3}}};
    write("data_captions.json", eng::json_text(all));
    const DataCheck c = check_data({folder.path.string(), "", "", ""});
    for (const char* kind : {"corrupt pictures", "missing pictures", "paths out of the folder", "identities in training and evaluation", "malformed records"})
        EXPECT_EQ(c.bad.count(kind) ? c.bad.at(kind).size() : 0, 1u) << kind << "\n" << table(c);
    EXPECT_EQ(c.notable.at("duplicate pictures"), (std::vector<std::string>{"train/a.jpg = train/same.jpg"}));
    EXPECT_MENTIONS(c.notable.at("tiny pictures")[0], "train/tiny.png is 9x12");
    EXPECT_MENTIONS(c.notable.at("captions of several identities")[0], "\"a man in a red coat\": 2 identities");
    const SplitCheck& train = c.splits[0];
    EXPECT_EQ(train.missing_ids, 3);
    EXPECT_EQ(train.cut, 1);
    EXPECT_EQ(train.tokens_min, 8);
    EXPECT_EQ(c.exit_code(), 2);
    EXPECT_EQ(to_json(c)["bad"]["missing pictures"].size(), 1u);
    EXPECT_TRUE(says_nothing("There is NO PHOTO available"));
    EXPECT_FALSE(says_nothing("A man with a photo in his hand"));
}

// ---- one's own records

TEST_F(Layouts, CsvIsImported) {
    picture("p/a.jpg"), picture("p/b.png");
    write("p/list.csv", "\xEF\xBB\xBF" "person,image,caption,split\r\nanna,a.jpg,\"a \"\"tall\"\" woman, in red\",train\r\nanna,a.jpg,red coat,train\nbob,b.png,\"two\nlines\",test\n");
    const RecordsReport r = import_records({folder / "p/list.csv", folder / "set", "", 0.1, 0.1, 1});
    EXPECT_EQ(r.persons, 2);
    EXPECT_EQ(r.captions, 3);
    const Dataset d = load_dataset(folder / "set");
    EXPECT_EQ(d.train.images[0].captions, (std::vector<std::string>{"a \"tall\" woman, in red", "red coat"}));
    EXPECT_EQ(d.test.images[0].captions[0], "two\nlines");
    EXPECT_MENTIONS(error_of([&] { import_records({folder / "p/list.csv", folder / "set", "", 0.1, 0.1, 1}); }), "is already there");
}

TEST_F(Layouts, FoldersAndJsonLinesAreImported) {
    for (int i = 0; i < 10; ++i) {
        const std::string at = "people/p" + std::to_string(i) + "/";
        picture(at + "1.jpg");
        write(at + "1.txt", "A man in red.\n\nA tall man.\n");
    }
    import_records({folder / "people", folder / "set", "", 0.2, 0.3, 1});
    const Dataset d = load_dataset(folder / "set");
    EXPECT_EQ(d.train.identities * 10 + d.val.identities, 52);
    EXPECT_EQ(d.test.pairs.size(), 6u);
    write("lines.jsonl", R"({"image": "people/p0/1.jpg", "caption": "a man", "person": 17, "split": "train"})" "\n");
    EXPECT_EQ(import_records({folder / "lines.jsonl", folder / "set2", "", 0.1, 0.1, 1}).images, 1);
}

TEST_F(Layouts, FaultsOfRecordsAreNamedAndLeaveNothing) {
    picture("a.jpg");
    write("broken.jpg", "no picture");
    const auto error = [&](const std::string& name, const std::string& text) {
        write(name, text);
        const std::string e = error_of([&] { import_records({folder / name, folder / "set", "", 0.1, 0.1, 1}); });
        EXPECT_FALSE(fs::exists(folder / "set"));
        return e;
    };
    EXPECT_MENTIONS(error("x.csv", "image,person\na.jpg,1\n"), "x.csv has no column \"caption\"");
    EXPECT_MENTIONS(error("x.csv", "image,person,caption\na.jpg,1\n"), "row 2 has 2 fields, the first line has 3");
    EXPECT_MENTIONS(error("x.csv", "image,person,caption\na.jpg,1,\"open\n"), "ends within quotes");
    EXPECT_MENTIONS(error("x.csv", "image,person,caption\ngone.jpg,1,a man\n"), "gone.jpg");
    EXPECT_MENTIONS(error("x.csv", "image,person,caption\nbroken.jpg,1,a man\n"), "broken.jpg: not a picture");
    EXPECT_MENTIONS(error("x.csv", "image,person,caption,split\na.jpg,1,a man,dev\n"), "split is \"dev\"");
    EXPECT_MENTIONS(error("x.csv", "image,person,caption\na.jpg,1,a man\na.jpg,2,a man\n"), "shows two persons");
    EXPECT_MENTIONS(error("x.jsonl", "{\"image\": \"a.jpg\", \"person\": 1}\n"), "x.jsonl line 1 has no \"caption\"");
    EXPECT_MENTIONS(error("x.jsonl", "nonsense\n"), "line 1 is not a JSON object: parse error at column 2");
    EXPECT_MENTIONS(error("x.txt", "nonsense\n"), "is neither a folder nor");
    EXPECT_MENTIONS(error("x.csv", "image,person,caption\na.jpg,1,caf\xE9\n"), "x.csv is not UTF-8: the byte at offset 32");
    EXPECT_MENTIONS(error("x.jsonl", "{\"image\": \"a\xFF.jpg\"}\n"), "x.jsonl is not UTF-8");
}

// ---- decoded pictures on disk

TEST_F(Layouts, DecodedPicturesAreKeptOnDisk) {
    picture("a.jpg"), picture("b.jpg");
    const std::vector<std::string> files{folder / "a.jpg", folder / "b.jpg"};
    const auto read = [&](int i, const std::string& cache) {
        std::vector<std::uint8_t> out(16 * 8 * 3);
        Pictures(files, 16, 8, 0, cache).read(i, out.data());
        return out;
    };
    const auto a = read(0, ""), b = read(1, "");
    const std::string cache = folder / "cache.u8";
    EXPECT_EQ(read(0, cache), a);
    const auto time = fs::last_write_time(files[0]);
    const auto size = fs::file_size(files[0]);
    eng::write_file(files[0], std::string(size, 'x'));  // no picture any more, but its size and time say it has not changed
    fs::last_write_time(files[0], time);
    EXPECT_EQ(read(0, cache), a) << "the second run reads the file of decoded pictures";
    EXPECT_EQ(read(1, cache), b);

    // A torn row (its checksum does not fit) is decoded again.
    std::string bytes = eng::read_file(cache);
    bytes[4096 + (16 * 8 * 3 + 4 + 63) / 64 * 64 + 5] ^= 1;
    eng::write_file(cache, bytes);
    EXPECT_EQ(read(1, cache), b);

    picture("b.jpg");  // another picture: nothing of the old file is used
    EXPECT_NE(read(1, cache), b);
    EXPECT_EQ(read(1, cache), read(1, ""));
    EXPECT_MENTIONS(error_of([&] { read(0, folder / "no/such/folder.u8"); }), "cannot be made");
}

}  // namespace
