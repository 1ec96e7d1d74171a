// The procedural set: same bytes for any number of threads, honest boxes and spans, twins that differ in one attribute.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "train/data/image.h"
#include "train/data/image_write.h"
#include "train/synth/caption.h"
#include "train/synth/synth.h"

namespace fs = std::filesystem;
using nlohmann::json;
using scvd::make_synthetic_set;
using scvd::SynthOptions;

namespace {

struct Folder {
    fs::path path = fs::temp_directory_path() / ("scvd_synth_" + std::to_string(::getpid()) + "_" +
                                                 ::testing::UnitTest::GetInstance()->current_test_info()->name());
    Folder() { fs::remove_all(path), fs::create_directories(path); }
    ~Folder() { fs::remove_all(path); }
    std::string operator/(const char* name) const { return (path / name).string(); }
};

SynthOptions small(const std::string& out) {
    SynthOptions o;
    o.out = out, o.train = 14, o.val = 4, o.test = 6, o.width = 64, o.height = 128, o.twin_share = 0.5f, o.threads = 2;
    return o;
}

std::vector<json> lines(const std::string& path) {
    std::vector<json> out;
    std::istringstream in(eng::read_file(path));
    for (std::string line; std::getline(in, line);) out.push_back(eng::parse_json(line));
    return out;
}

std::map<std::string, std::string> contents(const fs::path& root) {
    std::map<std::string, std::string> out;
    for (const auto& e : fs::recursive_directory_iterator(root))
        if (e.is_regular_file()) out[fs::relative(e.path(), root).string()] = eng::read_file(e.path());
    return out;
}

std::string error_of(const SynthOptions& o) {
    try {
        make_synthetic_set(o);
    } catch (const eng::Error& e) { return e.what(); }
    return "no error";
}

TEST(Synth, SameSeedSameBytesForAnyNumberOfThreads) {
    const Folder tmp;
    SynthOptions o = small(tmp / "one");
    o.threads = 1;
    const auto report = make_synthetic_set(o);
    EXPECT_EQ(report.identities, 24);
    EXPECT_EQ(report.images, 14 * 3 + 4 * 2 + 6 * 2);
    EXPECT_EQ(report.captions, 2 * report.images);
    o.threads = 5, o.out = tmp / "five";
    make_synthetic_set(o);
    const auto one = contents(tmp.path / "one");
    EXPECT_EQ(one.size(), std::size_t(report.images) + 4);
    EXPECT_TRUE(one == contents(tmp.path / "five"));
    o.seed = 2, o.out = tmp / "other";
    make_synthetic_set(o);
    EXPECT_FALSE(one.at("data_captions.json") == contents(tmp.path / "other").at("data_captions.json"));
}

TEST(Synth, LayoutAndDisjointSplits) {
    const Folder tmp;
    make_synthetic_set(small(tmp / "set"));
    const json entries = eng::parse_json(eng::read_file(tmp / "set/data_captions.json"));
    std::map<int, std::string> split_of;
    int last = 0;
    for (const json& e : entries) {
        const int id = e["id"];
        EXPECT_EQ(e["captions"].size(), 2u);
        EXPECT_TRUE(split_of.emplace(id, e["split"]).first->second == e["split"])
            << "identity " << id << " is in two splits";
        EXPECT_TRUE(id == last || id == last + 1) << "identities are not contiguous at " << id;
        last = id;
        const scvd::Image image = scvd::load_image(tmp.path / "set/imgs" / e["img_path"].get<std::string>());
        EXPECT_EQ(image.width, 64);
        EXPECT_EQ(image.height, 128);
    }
    ASSERT_EQ(split_of.size(), 24u);
    for (const auto& [id, split] : split_of) EXPECT_EQ(split, id < 14 ? "train" : id < 18 ? "val" : "test");
}

TEST(Synth, RegionsFitAndSpansPointAtTheWords) {
    const Folder tmp;
    make_synthetic_set(small(tmp / "set"));
    const json entries = eng::parse_json(eng::read_file(tmp / "set/data_captions.json"));
    const auto sidecar = lines(tmp / "set/regions.jsonl");
    ASSERT_EQ(sidecar.size(), entries.size());
    const std::set<std::string> classes{"upper", "lower",     "full", "footwear", "headwear",
                                        "hair",  "accessory", "bag",  "carried",  "person"};
    int mentions = 0;
    for (std::size_t i = 0; i < sidecar.size(); ++i) {
        const json& s = sidecar[i];
        ASSERT_EQ(s["img_path"], entries[i]["img_path"]);
        for (const json& r : s["regions"]) {
            EXPECT_TRUE(classes.count(r["class"]));
            const int x = r["box"][0], y = r["box"][1], w = r["box"][2], h = r["box"][3];
            EXPECT_TRUE(x >= 0 && y >= 0 && w > 0 && h > 0 && x + w <= 64 && y + h <= 128) << r["phrase"];
            int at = 0, inside = 0, outside_box = 0;
            bool one = false;
            for (const int run : r["mask"]) {
                for (int k = at; one && k < at + run; ++k)
                    ++inside, outside_box += k % 64 < x || k % 64 >= x + w || k / 64 < y || k / 64 >= y + h;
                at += run, one = !one;
            }
            EXPECT_EQ(at, 64 * 128);
            EXPECT_GT(inside, 0);
            EXPECT_EQ(outside_box, 0);
        }
        for (int c = 0; c < 2; ++c) {
            std::string text = entries[i]["captions"][c];
            for (char& ch : text) ch = char(std::tolower(static_cast<unsigned char>(ch)));
            for (const json& m : s["captions"][c]) {
                ++mentions;
                const std::size_t begin = m["begin"], end = m["end"];
                ASSERT_TRUE(begin < end && end <= text.size());
                const std::string span = " " + text.substr(begin, end - begin) + " ";
                std::istringstream words(m["phrase"].get<std::string>());
                for (std::string w; words >> w;)
                    EXPECT_NE(span.find(" " + w + " "), std::string::npos)
                        << '"' << w << "\" is not in \"" << span << "\": " << text;
                ASSERT_LT(m["region"], s["regions"].size())
                    << "a caption mentions what the picture does not show: " << m;
                EXPECT_EQ(s["regions"][m["region"].get<std::size_t>()]["class"], m["class"]);
            }
        }
    }
    EXPECT_GT(mentions, int(entries.size()) * 2 * 4) << "captions say too little";
}

TEST(Synth, TwinsDifferInExactlyOneAttribute) {
    const Folder tmp;
    SynthOptions o = small(tmp / "set");
    o.train_images = o.val_images = o.test_images = 1, o.train = 60, o.test = 20, o.twin_share = 0.4f;
    make_synthetic_set(o);
    const auto ids = lines(tmp / "set/identities.jsonl");
    std::map<std::string, int> twins;
    for (const json& a : ids) {
        if (a["twin"].is_null()) continue;
        const json& b = ids.at(a["twin"].get<std::size_t>());
        EXPECT_EQ(b["twin"], a["id"]);
        EXPECT_EQ(a["split"], b["split"]);
        ++twins[a["split"]];
        std::vector<std::string> differences;
        for (const auto& [key, value] : a["attributes"].items())
            if (b["attributes"][key] != value) differences.push_back(key);
        ASSERT_EQ(differences.size(), 1u) << a << b;
        EXPECT_EQ(differences[0], a["differs"]);
    }
    EXPECT_EQ(twins["train"], 24);  // 0.4 of 60
    EXPECT_EQ(twins["test"], 8);    // 0.4 of 20
}

TEST(Synth, SaysOnlyWhatTheViewShows) {
    using namespace scvd::synth;
    eng::Rng rng(7, 7);
    Figure f = make_figure(rng);
    f.is[glasses] = eyeglasses, f.is[top] = t_shirt, f.is[top_pattern] = code({logo, white}), f.is[top_colour] = red,
    f.is[held] = f.is[scarf] = f.is[hat] = 0;
    View v;
    const auto phrases = [&] {
        std::string all;
        const Picture p = render(1, f, v, 96, 192);
        for (const Item& i : items_seen(f, v, p, nullptr)) all += i.canonical() + ";";
        return all;
    };
    v.facing = front;
    EXPECT_NE(phrases().find("glasses"), std::string::npos);
    EXPECT_NE(phrases().find("red t-shirt with white logo"), std::string::npos);
    v.facing = back;
    EXPECT_EQ(phrases().find("glasses"), std::string::npos);
    EXPECT_EQ(phrases().find("logo"), std::string::npos);
    v.facing = front;
    const std::string shoes_text = f[shoes] == boots ? "boots" : f[shoes] == heels ? "heels" : "sneakers";
    EXPECT_NE(phrases().find(shoes_text), std::string::npos);
    int hidden = 0;
    for (v.occluder = low_object, v.stream = 1; v.stream < 30; ++v.stream)
        hidden += phrases().find(shoes_text) == std::string::npos;
    EXPECT_GT(hidden, 15) << "low objects hide shoes";
}

// What a caption denies is not in the picture; a bun is mentioned beside the hair; a shared colour belongs to both.
TEST(Synth, SpecialMentions) {
    using namespace scvd::synth;
    int denied = 0, buns = 0, shared = 0;
    for (int id = 0; id < 400; ++id) {
        eng::Rng rng(3, std::uint64_t(id));
        Figure f = make_figure(rng);
        const View v = make_view(3, id, 0);
        const Picture p = render(3, f, v, 48, 96);
        const Caption c = make_caption(f, v, p, rng);
        for (const std::string& gone : c.absent) {
            ++denied;
            EXPECT_FALSE(f.has(gone == "hat" ? hat : gone == "bag" ? bag : glasses)) << c.text;
            for (const Mention& m : c.mentions) EXPECT_NE(m.phrase, gone) << c.text;
        }
        for (std::size_t i = 0; i < c.mentions.size(); ++i) {
            const Mention& m = c.mentions[i];
            if (m.phrase == "bun") {
                ++buns;
                EXPECT_EQ(c.text.substr(m.begin, m.end - m.begin), "bun");
                EXPECT_EQ(c.mentions[i - 1].part, part_hair);
                EXPECT_EQ(f[hair_style], bun);
            }
            if (i && m.begin == c.mentions[i - 1].begin) {
                ++shared;
                const auto colour_of = [](const std::string& phrase) { return phrase.substr(0, phrase.find(' ')); };
                EXPECT_EQ(colour_of(m.phrase), colour_of(c.mentions[i - 1].phrase)) << c.text;
            }
        }
    }
    EXPECT_GT(denied, 4);
    EXPECT_GT(buns, 4);
    EXPECT_GT(shared, 4);
}

TEST(Synth, ErrorsAreClearAndLeaveNothingBehind) {
    const Folder tmp;
    SynthOptions o = small(tmp / "set");
    o.train = o.val = o.test = 0;
    EXPECT_NE(error_of(o).find("zero identities"), std::string::npos);
    o = small(tmp / "set"), o.width = 8;
    EXPECT_NE(error_of(o).find("8x128"), std::string::npos);
    o = small(tmp / "set"), o.twin_share = 1.5f;
    EXPECT_NE(error_of(o).find("twin_share"), std::string::npos);
    o = small(tmp / "set"), o.jpeg_low = 80, o.jpeg_high = 60;
    EXPECT_NE(error_of(o).find("80 to 60"), std::string::npos);
    o = small("");
    EXPECT_NE(error_of(o).find("no folder"), std::string::npos);

    std::ofstream(tmp / "file") << "mine";
    EXPECT_NE(error_of(small(tmp / "file")).find("is not a folder"), std::string::npos);
    EXPECT_NE(error_of(small(tmp / "file/below")).find("Not a directory"), std::string::npos);
    fs::create_directory(tmp / "full");
    std::ofstream(tmp / "full/letter.txt") << "mine";
    o = small(tmp / "full"), o.force = true;
    EXPECT_NE(error_of(o).find("holds no synthetic set"), std::string::npos);
    EXPECT_TRUE(fs::exists(tmp / "full/letter.txt"));
    EXPECT_EQ(std::distance(fs::directory_iterator(tmp.path), {}), 2) << "temporary folders were left";
}

// A disk that takes no more: the limit on the size of a file makes write() fail as a full disk does.
TEST(Synth, FullDiskLeavesNothingBehind) {
    const Folder tmp;
    const auto old_action = std::signal(SIGXFSZ, SIG_IGN);
    rlimit old{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
    rlimit tight = old;
    tight.rlim_cur = 1000;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
    SynthOptions o = small(tmp / "set");
    o.train = 1, o.val = o.test = 0;
    const std::string message = error_of(o);
    ::setrlimit(RLIMIT_FSIZE, &old);
    std::signal(SIGXFSZ, old_action);
    EXPECT_NE(message.find("cannot write"), std::string::npos) << message;
    EXPECT_NE(message.find("File too large"), std::string::npos) << message;
    EXPECT_TRUE(fs::is_empty(tmp.path));
}

TEST(Synth, ReplacesOnlyItsOwnSetAndOnlyByForce) {
    const Folder tmp;
    SynthOptions o = small(tmp / "set/");
    o.train = 2, o.val = 0, o.test = 1;
    fs::create_directory(tmp / "set");  // an empty folder is fine
    make_synthetic_set(o);
    EXPECT_NE(error_of(o).find("--force"), std::string::npos);
    o.force = true, o.train = 1;
    make_synthetic_set(o);
    EXPECT_EQ(lines(tmp / "set/identities.jsonl").size(), 2u);
    std::ofstream(tmp / "set/notes.txt") << "mine";
    EXPECT_NE(error_of(o).find("notes.txt"), std::string::npos);
    EXPECT_TRUE(fs::exists(tmp / "set/notes.txt"));
    EXPECT_EQ(std::distance(fs::directory_iterator(tmp.path), {}), 1);
}

TEST(ImageWrite, PngKeepsEveryByteAndJpegNearly) {
    std::vector<std::uint8_t> rgb;
    for (int y = 0; y < 16; ++y)
        for (int x = 0; x < 24; ++x)
            rgb.insert(rgb.end(), {std::uint8_t(x * 10), std::uint8_t(y * 15), std::uint8_t(128)});
    const auto png = scvd::encode_png(24, 16, rgb.data());
    EXPECT_EQ(scvd::decode_image(std::as_bytes(std::span(png)), "png").rgb, rgb);
    const auto jpeg = scvd::encode_jpeg(24, 16, rgb.data(), 95);
    const auto back = scvd::decode_image(std::as_bytes(std::span(jpeg)), "jpeg").rgb;
    double sum = 0;
    for (std::size_t i = 0; i < rgb.size(); ++i) sum += std::abs(int(rgb[i]) - int(back[i]));
    EXPECT_LT(sum / double(rgb.size()), 4);
    EXPECT_THROW(scvd::encode_jpeg(0, 4, rgb.data(), 80), eng::Error);
    EXPECT_THROW(scvd::encode_jpeg(4, 4, rgb.data(), 0), eng::Error);
}

}  // namespace
