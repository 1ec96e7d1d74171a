#include "train/data/records.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/parallel_errors.h"
#include "engine/rng.h"
#include "train/data/dataset.h"
#include "train/data/image.h"

namespace scvd {
namespace {

namespace fs = std::filesystem;

struct Row {
    std::string image, caption, person, split, where;
};

std::string read_text(const fs::path& file) {
    std::string text = eng::read_file(file);
    const std::size_t bad = find_bad_utf8(text);
    ENG_CHECK(bad == text.npos, "data", file.string(), " is not UTF-8: the byte at offset ", bad, " starts no valid character; save it as UTF-8");
    return text;
}

std::vector<Row> rows_of_csv(const fs::path& file) {
    const auto table = parse_csv(read_text(file), file.string());
    ENG_CHECK(!table.empty(), "data", file.string(), " is empty");
    const auto column = [&](const char* name) { return std::size_t(std::find(table[0].begin(), table[0].end(), name) - table[0].begin()); };
    for (const char* name : {"image", "caption", "person"})
        ENG_CHECK(column(name) < table[0].size(), "data", file.string(), " has no column \"", name, "\" in its first line");
    std::vector<Row> rows;
    for (std::size_t i = 1; i < table.size(); ++i) {
        const std::string where = file.string() + " row " + std::to_string(i + 1);
        ENG_CHECK(table[i].size() == table[0].size(), "data", where, " has ", table[i].size(), " fields, the first line has ", table[0].size());
        const auto at = [&](const char* name) { return column(name) < table[i].size() ? table[i][column(name)] : std::string(); };
        rows.push_back({at("image"), at("caption"), at("person"), at("split"), where});
    }
    return rows;
}

std::vector<Row> rows_of_jsonl(const fs::path& file) {
    std::istringstream in(read_text(file));
    std::vector<Row> rows;
    int number = 0;
    for (std::string line; std::getline(in, line);) {
        const std::string where = file.string() + " line " + std::to_string(++number);
        const eng::Json j = eng::json_line("data", where, line);
        const auto text = [&](const char* key, bool needed) -> std::string {
            if (!j.contains(key)) return needed ? eng::fail("data", where, " has no \"", key, "\""), "" : "";
            ENG_CHECK(j[key].is_string() || j[key].is_number_integer(), "data", where, ": \"", key, "\" should be text, got ", j[key].type_name());
            return j[key].is_string() ? j[key].get<std::string>() : eng::json_text(j[key]);
        };
        rows.push_back({text("image", true), text("caption", true), text("person", true), text("split", false), where});
    }
    return rows;
}

std::vector<Row> rows_of_folders(const fs::path& root) {
    std::vector<Row> rows;
    for (const std::string& picture : pictures_below(root.string())) {
        const fs::path path = picture, relative = fs::relative(path, root);
        ENG_CHECK(relative.has_parent_path(), "data", picture, " lies in no person's folder");
        const fs::path captions = fs::path(path).replace_extension(".txt");
        ENG_CHECK(fs::exists(captions), "data", picture, " has no captions: ", captions.string(), " is not there");
        std::istringstream in(read_text(captions));
        for (std::string line; std::getline(in, line);)
            if (line.find_first_not_of(" \t\r") != std::string::npos) rows.push_back({relative.string(), line, relative.begin()->string(), "", captions.string()});
    }
    return rows;
}

// Persons in a random order; the first shares are val and test.
std::map<std::string, std::string> draw_splits(const std::vector<Row>& rows, const RecordsOptions& o) {
    std::vector<std::string> persons;
    std::set<std::string_view> seen;
    for (const Row& r : rows)
        if (seen.insert(r.person).second) persons.push_back(r.person);
    eng::Rng rng(std::uint64_t(o.seed), 11);
    rng.shuffle(persons);
    std::map<std::string, std::string> split;
    const double n = double(persons.size());
    for (std::size_t i = 0; i < persons.size(); ++i) split[persons[i]] = double(i) < o.val * n ? "val" : double(i) < (o.val + o.test) * n ? "test" : "train";
    return split;
}

// One record a picture, with all of its captions.
struct Collected {
    eng::Json records = eng::Json::array();
    struct Copy { fs::path from; std::string name, where; };  // where it was named first
    std::vector<Copy> copies;                                 // into imgs/
    RecordsReport report;
};
Collected collect(const std::vector<Row>& rows, const fs::path& images, const RecordsOptions& o) {
    Collected c;
    const bool own = std::any_of(rows.begin(), rows.end(), [](const Row& r) { return !r.split.empty(); });
    const auto drawn = own ? std::map<std::string, std::string>{} : draw_splits(rows, o);
    std::map<std::string, int> persons, record_of;
    std::map<std::string, std::string> split_of;
    for (const Row& r : rows) {
        const std::string split = own ? r.split : drawn.at(r.person);
        ENG_CHECK(split == "train" || split == "val" || split == "test", "data", r.where, ": split is \"", split, "\", want train | val | test");
        const std::string& before = split_of.emplace(r.person, split).first->second;
        ENG_CHECK((before == "train") == (split == "train"), "data", r.where, ": person ", r.person, " is in ", split, " and in ", before);
        ENG_CHECK(r.caption.find_first_not_of(" \t\r\n") != std::string::npos, "data", r.where, ": the caption is empty");
        const int person = persons.emplace(r.person, int(persons.size())).first->second;
        const auto [at, fresh] = record_of.emplace(r.image, int(c.records.size()));
        if (fresh) {
            const fs::path from = images / r.image;
            const std::string name = std::to_string(at->second) + from.extension().string();
            c.copies.push_back({from, name, r.where});
            c.records.push_back({{"id", person}, {"img_path", name}, {"captions", eng::Json::array()}, {"split", split}});
        }
        eng::Json& record = c.records[std::size_t(at->second)];
        ENG_CHECK(record["id"] == person, "data", r.where, ": picture ", r.image, " shows two persons");
        record["captions"].push_back(r.caption);
        ++c.report.captions;
    }
    c.report.persons = int(persons.size()), c.report.images = int(c.records.size());
    return c;
}

}  // namespace

std::vector<std::vector<std::string>> parse_csv(const std::string& text, const std::string& name) {
    std::vector<std::vector<std::string>> rows;
    std::vector<std::string> row(1);
    bool quoted = false;
    const auto end_row = [&] {
        if (row.size() > 1 || !row[0].empty()) rows.push_back(row);
        row.assign(1, "");
    };
    for (std::size_t i = text.starts_with("\xEF\xBB\xBF") ? 3 : 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted) {
            if (c != '"') row.back() += c;
            else if (i + 1 < text.size() && text[i + 1] == '"') row.back() += c, ++i;
            else quoted = false;
        } else if (c == '"' && row.back().empty()) {
            quoted = true;
        } else if (c == ',') {
            row.emplace_back();
        } else if (c == '\n') {
            end_row();
        } else if (c != '\r') {
            row.back() += c;
        }
    }
    ENG_CHECK(!quoted, "data", name, " row ", rows.size() + 1, " ends within quotes");
    end_row();
    return rows;
}

RecordsReport import_records(const RecordsOptions& o) {
    ENG_CHECK(o.val >= 0 && o.test >= 0 && o.val + o.test <= 1, "data", "--val ", o.val, " and --test ", o.test, " are no shares of the persons: want 0 to 1, together at most 1");
    const fs::path source = o.source;
    const bool folder = fs::is_directory(source);
    ENG_CHECK(folder || source.extension() == ".csv" || source.extension() == ".jsonl", "data", o.source, " is neither a folder nor a .csv or .jsonl file");
    const std::vector<Row> rows = folder ? rows_of_folders(source) : source.extension() == ".csv" ? rows_of_csv(source) : rows_of_jsonl(source);
    ENG_CHECK(!rows.empty(), "data", o.source, " holds no captions");
    const Collected c = collect(rows, !o.images.empty() ? fs::path(o.images) : folder ? source : source.parent_path(), o);
    ENG_CHECK(!fs::exists(o.out), "data", o.out, " is already there");
    eng::all_or_throw(std::int64_t(c.copies.size()), 16, [&](std::int64_t i) {
        const auto& copy = c.copies[std::size_t(i)];
        try {
            load_image(copy.from);
        } catch (const std::exception& e) { eng::fail("data", copy.where, ": ", e.what()); }
    });
    // Everything was looked at; the folder gets its name when it is whole.
    const fs::path half = o.out + ".part";
    try {
        fs::remove_all(half);
        fs::create_directories(half / "imgs");
        for (const auto& copy : c.copies) fs::copy_file(copy.from, half / "imgs" / copy.name);
        eng::write_file(half / "data_captions.json", eng::json_text(c.records, 1) + "\n");
        fs::rename(half, o.out);
    } catch (const fs::filesystem_error& e) {
        std::error_code ignored;
        fs::remove_all(half, ignored);
        eng::fail("data", o.out, " cannot be written: ", e.code().message());
    }
    return c.report;
}

}  // namespace scvd
