#include "train/synth/write.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>

#include "engine/error.h"
#include "engine/io/json.h"

namespace fs = std::filesystem;

namespace scvd::synth {

using Json = nlohmann::ordered_json;

namespace {

bool belongs(std::uint8_t pixel, Part part) { return part == part_person ? pixel != part_none : pixel == part; }

// [x, y, w, h] of the pixels of a part.
Json bounding_box(const Picture& p, Part part) {
    int x0 = p.width, y0 = p.height, x1 = -1, y1 = -1;
    for (int y = 0; y < p.height; ++y)
        for (int x = 0; x < p.width; ++x)
            if (belongs(p.parts[std::size_t(y) * p.width + x], part))
                x0 = std::min(x0, x), x1 = std::max(x1, x), y0 = std::min(y0, y), y1 = y;
    return x1 < 0 ? Json{0, 0, 0, 0} : Json{x0, y0, x1 - x0 + 1, y1 - y0 + 1};
}

// Lengths of alternating runs of 0s and 1s, row by row, zeros first.
Json runs(const Picture& p, Part part) {
    Json out = Json::array();
    bool inside = false;
    int length = 0;
    for (std::uint8_t pixel : p.parts) {
        if (belongs(pixel, part) != inside) out.push_back(length), length = 0, inside = !inside;
        ++length;
    }
    out.push_back(length);
    return out;
}

Json region(const Picture& p, const Item& i) {
    return {{"class", i.cls}, {"phrase", i.canonical()}, {"box", bounding_box(p, i.part)}, {"mask", runs(p, i.part)}};
}

}  // namespace

std::string region_line(const std::string& img_path, const Figure& f, const View& v, const Picture& p,
                        const std::array<Caption, 2>& captions) {
    Item person;
    person.noun = f[gender] == man ? "man" : "woman";
    std::vector<Item> items{person};
    for (Item& i : items_seen(f, v, p, nullptr)) items.push_back(std::move(i));
    Json regions = Json::array(), texts = Json::array(), absent = Json::array();
    for (const Item& i : items) regions.push_back(region(p, i));
    for (const Caption& c : captions) {
        Json mentions = Json::array();
        for (const Mention& m : c.mentions) {
            std::size_t r = 0;
            while (r < items.size() && items[r].part != m.part) ++r;
            mentions.push_back(
                {{"begin", m.begin}, {"end", m.end}, {"phrase", m.phrase}, {"region", r}, {"class", m.cls}});
        }
        texts.push_back(std::move(mentions));
        absent.push_back(c.absent);
    }
    const Json j{{"img_path", img_path}, {"width", p.width},  {"height", p.height},
                 {"regions", regions},   {"captions", texts}, {"absent", absent}};
    return eng::json_text(j) + "\n";
}

std::string caption_entry(int id, const std::string& img_path, const std::array<Caption, 2>& c, const char* split) {
    return eng::json_text(Json{{"id", id}, {"img_path", img_path}, {"captions", {c[0].text, c[1].text}}, {"split", split}});
}

std::string identity_line(int id, const char* split, const Figure& f) {
    Json attributes;
    for (int a = 0; a < attribute_count; ++a) attributes[attribute_name(a)] = attribute_text(f, Attribute(a));
    Json line{{"id", id}, {"split", split}, {"attributes", attributes}, {"twin", nullptr}, {"differs", nullptr}};
    if (f.twin >= 0) line["twin"] = f.twin, line["differs"] = attribute_name(f.differs);
    return eng::json_text(line) + "\n";
}

namespace {

// Only a folder that holds nothing but what this program writes may be replaced.
void check_target(const fs::path& out, bool force) {
    if (!fs::exists(fs::symlink_status(out))) return;
    ENG_CHECK(fs::is_directory(fs::symlink_status(out)), "synth", out.string(), " exists and is not a folder");
    if (fs::is_empty(out)) return;
    ENG_CHECK(fs::exists(out / "synth.json"), "synth", out.string(),
              " is not empty and holds no synthetic set; choose another folder");
    ENG_CHECK(force, "synth", out.string(),
              " already holds a synthetic set; choose another folder, or --force to replace it");
    static const std::set<std::string> ours{"imgs", "data_captions.json", "regions.jsonl", "identities.jsonl",
                                            "synth.json"};
    for (const auto& entry : fs::directory_iterator(out))
        ENG_CHECK(ours.count(entry.path().filename().string()), "synth", entry.path().string(),
                  " is not part of a synthetic set; move it away before the set is replaced");
}

}  // namespace

NewFolder::NewFolder(const std::string& out, bool force) {
    ENG_CHECK(!out.empty(), "synth", "no folder to write to was given");
    std::error_code error;
    out_ = fs::absolute(out).lexically_normal();
    if (out_.filename().empty()) out_ = out_.parent_path();
    try {
        check_target(out_, force);
    } catch (const fs::filesystem_error& e) {
        eng::fail("synth", "cannot look at ", out_.string(), ": ", e.code().message());
    }
    temporary_ = out_;
    temporary_ += ".partial-" + std::to_string(::getpid());
    fs::remove_all(temporary_, error);
    fs::create_directories(temporary_ / "imgs", error);
    ENG_CHECK(!error, "synth", "cannot make the folder ", out_.string(), ": ", error.message());
}

NewFolder::~NewFolder() {
    std::error_code ignored;
    if (!done_) fs::remove_all(temporary_, ignored);
}

void NewFolder::write(const std::string& name, std::string_view bytes, bool append) const {
    const fs::path path = temporary_ / name;
    std::FILE* file = std::fopen(path.c_str(), append ? "ab" : "wb");
    bool ok = file && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
    int reason = errno;
    if (file && std::fclose(file) != 0 && ok) ok = false, reason = errno;  // a full disk may show only here
    ENG_CHECK(ok, "synth", "cannot write ", (out_ / name).string(), ": ", std::strerror(reason));
}

void NewFolder::finish() {
    fs::path old = temporary_;
    old += ".old";
    std::error_code error;
    const bool replace = fs::exists(out_, error);
    if (replace) fs::rename(out_, old, error);
    ENG_CHECK(!error, "synth", "cannot replace ", out_.string(), ": ", error.message());
    fs::rename(temporary_, out_, error);
    if (error) {
        std::error_code ignored;
        if (replace) fs::rename(old, out_, ignored);
        eng::fail("synth", "cannot put the set at ", out_.string(), ": ", error.message());
    }
    done_ = true;
    fs::remove_all(old, error);
}

}  // namespace scvd::synth
