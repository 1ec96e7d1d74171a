#include "train/data/dataset.h"

#include <filesystem>
#include <limits>
#include <map>

#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/parallel_errors.h"
#include "train/config.h"
#include "train/data/image.h"
#include "train/data/layout.h"

namespace scvd {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* split_names[] = {"train", "val", "test"};

bool exists_as_file(const fs::path& path) {
    std::error_code unreadable;  // a name too long or a folder without access is as good as absent
    return fs::is_regular_file(path, unreadable);
}

struct Candidate {
    Record record;
    std::string where;    // "FILE record 7"
    int split = 0;        // index into split_names
    std::string problem;  // why it is bad, "" while it is not
};

// Counts the records of the top-level list up to a byte of the text. A scan instead of a parse, because it is asked
// about text that cannot be parsed.
class RecordCounter {
public:
    explicit RecordCounter(const std::string& text) : text_(text) {}

    // The number of the record that holds byte `offset`; offsets must not fall from call to call.
    int at(size_t offset) {
        for (; position_ <= offset; ++position_) step(text_[position_]);
        return record_;
    }

private:
    void step(char c) {
        if (quoted_) {
            quoted_ = c != '"' || escaped_;
            escaped_ = c == '\\' && !escaped_;
        } else if (c == '"') {
            quoted_ = true;
        } else if (c == '{' || c == '[') {
            record_ += c == '{' && depth_ == 1;
            ++depth_;
        } else if (c == '}' || c == ']') {
            --depth_;
        }
    }

    const std::string& text_;
    size_t position_ = 0;
    int record_ = -1, depth_ = 0;
    bool quoted_ = false, escaped_ = false;
};

// Makes the text parsable: each bad byte becomes '?', and its record gets a problem.
std::map<int, std::string> replace_bad_utf8(std::string& text) {
    std::map<int, std::string> problems;
    RecordCounter records(text);
    for (size_t at = 0; (at = find_bad_utf8(text, at)) != std::string::npos; ++at) {
        const unsigned value = static_cast<unsigned char>(text[at]);
        constexpr const char* digits = "0123456789abcdef";
        const std::string byte{'0', 'x', digits[value >> 4], digits[value & 15]};
        problems.emplace(records.at(at), "is not UTF-8: byte " + byte + " at offset " + std::to_string(at));
        text[at] = '?';
    }
    return problems;
}

// The member under the first of `names` that the record has.
const json& member(const json& record, const std::vector<std::string>& names, const std::string& where) {
    for (const std::string& name : names)
        if (const auto it = record.find(name); it != record.end()) return *it;
    const std::string& key = names[0];
    std::vector<std::string> keys;
    for (const auto& [k, v] : record.items()) keys.push_back(k);
    eng::fail("data", where, " has no \"", key, "\"",
              keys.empty() ? "" : "; the nearest key is \"" + nearest(key, keys) + "\"");
}

std::vector<std::string> parse_captions(json captions, const std::vector<std::string>& names, const std::string& where) {
    if (captions.is_string() && names.back() == "caption") captions = json::array({captions});  // a member named in the singular may be one
    ENG_CHECK(captions.is_array() && !captions.empty(), "data", where,
              ": \"captions\" should be a list of at least one string, got ",
              captions.is_array() ? "an empty list" : captions.type_name());
    std::vector<std::string> texts;
    for (const json& caption : captions) {
        const size_t n = texts.size();
        ENG_CHECK(caption.is_string(), "data", where, ": caption ", n, " should be a string, got ",
                  caption.type_name());
        texts.push_back(caption);
        ENG_CHECK(texts.back().find_first_not_of(" \t\r\n\v\f") != std::string::npos, "data", where, ": caption ", n,
                  " is empty");
    }
    return texts;
}

int parse_split(const json& split, const std::string& where) {
    ENG_CHECK(split.is_string(), "data", where, ": \"split\" should be a string, got ", split.type_name());
    for (int s = 0; s < 3; ++s)
        if (split == split_names[s]) return s;
    eng::fail("data", where, ": \"split\" is ", eng::json_text(split), ", want train | val | test");
}

// Some sets write paths of their own machine; none of them may lead out of the folder.
bool climbs_out(const std::string& name) {
    const fs::path p = fs::path(name).lexically_normal();
    return p.is_absolute() || (!p.empty() && *p.begin() == "..");
}

Candidate parse_record(const json& r, std::string where, const Layout& layout, const Layout::File& file, const fs::path& pictures) {
    ENG_CHECK(r.is_object(), "data", where, " should be an object, got ", r.type_name());
    const json &id = member(r, layout.id, where), &name = member(r, layout.picture, where), &captions = member(r, layout.captions, where);
    const json split = file.split.empty() ? member(r, {"split"}, where) : json(file.split);
    ENG_CHECK(id.is_number_integer(), "data", where, ": \"id\" should be a whole number, got ", id.type_name());
    using Int = std::numeric_limits<int>;
    const bool fits = id.is_number_unsigned() ? id.get<uint64_t>() <= uint64_t(Int::max())
                                              : id.get<int64_t>() >= Int::min();  // signed only when negative
    ENG_CHECK(fits, "data", where, ": \"id\" is ", eng::json_text(id), ", which 32 bits do not hold");
    ENG_CHECK(name.is_string(), "data", where, ": \"", layout.picture[0], "\" should be a string, got ", name.type_name());
    ENG_CHECK(!climbs_out(name), "data", where, ": the picture's path ", eng::json_text(name), " climbs out of the folder");
    Candidate c;
    c.record.id = id;
    c.record.name = name;
    c.record.path = (pictures / c.record.name).string();
    where += " (" + c.record.name + ")";
    c.record.captions = parse_captions(captions, layout.captions, where);
    c.split = parse_split(split, where);
    ENG_CHECK(exists_as_file(c.record.path), "data", where, ": the picture ", c.record.path, " is not there");
    return c;
}

void check_picture(const std::string& path, OnBad on_bad) {
    const eng::MappedFile file(path);
    if (on_bad == OnBad::skip)
        decode_image(file.bytes(), path);
    else
        check_whole(file.bytes(), path);
}

// Retrieval results mean nothing when the test has been seen in training, so a leak is as bad as a missing picture.
void find_leaks(std::vector<Candidate>& candidates) {
    std::map<std::string, int> split_of_picture;
    std::map<int, std::pair<bool, size_t>> use_of_identity;  // in training? and the first record that says so
    for (size_t i = 0; i < candidates.size(); ++i) {
        Candidate& c = candidates[i];
        if (!c.problem.empty()) continue;
        const std::string where = "data: " + c.where + " (" + c.record.name + ")";
        const int split = split_of_picture.emplace(c.record.path, c.split).first->second;
        const auto [training, first] = use_of_identity.emplace(c.record.id, std::pair(c.split == 0, i)).first->second;
        if (split != c.split)
            c.problem = where + ": the picture is in split " + split_names[split] + " and in " + split_names[c.split];
        else if (training != (c.split == 0))
            c.problem = where + ": identity " + std::to_string(c.record.id) + " is in split " + split_names[c.split] +
                        ", but " + candidates[first].where.substr(candidates[first].where.rfind("record ")) + " has it in " + split_names[candidates[first].split];
    }
}

// APTM's files have one record a caption: records of the same picture become one.
void add(Split& split, Record record, std::map<int, int>& labels, std::map<std::string, int>& images) {
    record.label = labels.emplace(record.id, static_cast<int>(labels.size())).first->second;
    const auto [at, fresh] = images.emplace(record.path, static_cast<int>(split.images.size()));
    if (fresh) split.images.push_back(std::move(record));
    Record& image = split.images[static_cast<size_t>(at->second)];
    const auto first = fresh ? 0 : image.captions.size();
    if (!fresh) image.captions.insert(image.captions.end(), record.captions.begin(), record.captions.end());
    for (auto c = first; c < image.captions.size(); ++c) split.pairs.push_back({at->second, static_cast<int>(c)});
    split.identities = static_cast<int>(labels.size());
}

json parse_file(const std::string& file, const std::string& text) {
    json all;
    try {
        all = eng::parse_json(text);
    } catch (const json::exception& e) {
        eng::fail("data", file, " is not JSON: ", text.empty() ? "the file is empty" : eng::reason(e));
    }
    ENG_CHECK(all.is_array(), "data", file, " should be a list of records, got ", all.type_name());
    ENG_CHECK(!all.empty(), "data", file, " is an empty list: no records");
    return all;
}

// The first folder in which the first picture lies, or else the first that is there.
fs::path pictures_folder(const Layout& layout, const json& records) {
    const json& first = records[0];
    for (const std::string& key : layout.picture)
        for (const fs::path& folder : layout.folders)
            if (first.is_object() && first.contains(key) && first[key].is_string() && exists_as_file(folder / first[key].get<std::string>())) return folder;
    for (const fs::path& folder : layout.folders)
        if (fs::is_directory(folder)) return folder;
    eng::fail("data", layout.folders[0].string(), " is not a folder, but the pictures belong there");
}

// Adds every record of a file with its problem, if it has one. Throws the first problem when bad records are fatal.
void read_records(const Layout& layout, const Layout::File& from, OnBad on_bad, std::vector<Candidate>& candidates) {
    const std::string file = from.path.string();
    std::string text = eng::read_file(file);
    const auto encoding_problems = replace_bad_utf8(text);
    // A missing folder is a fault of the set, whatever the file says.
    if (layout.folders.size() == 1) ENG_CHECK(fs::is_directory(layout.folders[0]), "data", layout.folders[0].string(), " is not a folder, but the pictures belong there");
    const json all = parse_file(file, text);
    const fs::path pictures = pictures_folder(layout, all);
    for (size_t i = 0; i < all.size(); ++i) {
        Candidate c;
        const std::string where = file + " record " + std::to_string(i);
        try {
            const auto found = encoding_problems.find(static_cast<int>(i));
            if (found != encoding_problems.end()) eng::fail("data", where, " ", found->second);
            c = parse_record(all[i], where, layout, from, pictures);
        } catch (const eng::Error& e) {
            if (on_bad == OnBad::fatal) throw;
            c.problem = e.what();
        }
        c.where = where;
        candidates.push_back(std::move(c));
    }
}

void check_pictures(std::vector<Candidate>& candidates, OnBad on_bad) {
    const auto errors = eng::errors_of_all(static_cast<int64_t>(candidates.size()), 16, [&](int64_t i) {
        const Candidate& c = candidates[static_cast<size_t>(i)];
        if (c.problem.empty()) check_picture(c.record.path, on_bad);
    });
    for (size_t i = 0; i < errors.size(); ++i) {
        if (errors[i].empty()) continue;
        const size_t space = errors[i].find(' ');  // "image: PATH: the picture is cut short: ..."
        const bool named = space != std::string::npos && space > 0 && errors[i][space - 1] == ':';
        candidates[i].problem = "data: " + candidates[i].where + ": " + errors[i].substr(named ? space + 1 : 0);
    }
}

}  // namespace

size_t find_bad_utf8(const std::string& text, size_t from) {
    const auto at = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
    for (size_t i = from; i < text.size();) {
        const unsigned c = at(i), next = at(i + 1);
        const size_t length = c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
        // Besides stray bytes: overlong forms (E0, F0), surrogates (ED) and code points above 10FFFF (F4).
        const bool forbidden = (c == 0xE0 && next < 0xA0) || (c == 0xED && next > 0x9F) || (c == 0xF0 && next < 0x90) ||
                               (c == 0xF4 && next > 0x8F);
        if (length == 0 || forbidden) return i;
        for (size_t k = 1; k < length; ++k)
            if ((at(i + k) & 0xC0) != 0x80) return i;
        i += length;
    }
    return std::string::npos;
}

Dataset load_dataset(const std::string& root, OnBad on_bad, const std::string& images) {
    const Layout layout = find_layout(root, images);
    std::vector<Candidate> candidates;
    for (const Layout::File& file : layout.files) read_records(layout, file, on_bad, candidates);
    check_pictures(candidates, on_bad);
    find_leaks(candidates);

    Dataset d;
    Split* const splits[] = {&d.train, &d.val, &d.test};
    for (int s = 0; s < 3; ++s) splits[s]->name = split_names[s];
    std::map<int, int> labels[3];
    std::map<std::string, int> seen[3];
    for (Candidate& c : candidates) {
        ++d.records;
        if (c.problem.empty())
            add(*splits[c.split], std::move(c.record), labels[c.split], seen[c.split]);
        else if (on_bad == OnBad::fatal)
            throw eng::Error(c.problem);
        else
            d.skipped.push_back(c.problem);
    }
    ENG_CHECK(d.skipped.size() < static_cast<size_t>(d.records), "data", layout.files[0].path.string(),
              ": every record is bad; the first: ", d.skipped[0]);
    return d;
}

std::string describe_skipped(const Dataset& d, size_t shown) {
    if (d.skipped.empty()) return "";
    std::string text = std::to_string(d.skipped.size()) + " of " + std::to_string(d.records) + " records left out:\n";
    for (size_t i = 0; i < std::min(shown, d.skipped.size()); ++i) text += "  " + d.skipped[i] + "\n";
    if (d.skipped.size() > shown) text += "  and " + std::to_string(d.skipped.size() - shown) + " more\n";
    return text;
}

}  // namespace scvd
