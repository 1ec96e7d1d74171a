#include "engine/io/zip.h"

#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "engine/error.h"

namespace eng {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::uint32_t local_magic = 0x04034b50, central_magic = 0x02014b50, end_magic = 0x06054b50;
constexpr std::uint32_t end64_magic = 0x06064b50, locator64_magic = 0x07064b50;
constexpr std::size_t local_size = 30, central_size = 46, end_size = 22, end64_size = 56, locator64_size = 20;

// Little-endian fields at checked places.
class Reader {
public:
    Reader(Bytes bytes, const std::string& file) : bytes_(bytes), file_(file) {}

    Bytes take(std::uint64_t at, std::uint64_t size, const std::string& what) const {
        ENG_CHECK(at <= bytes_.size() && size <= bytes_.size() - at, "zip", file_, ": the archive is cut short or damaged: ",
                  what, " wants ", size, " bytes at ", at, ", the file has ", bytes_.size());
        return bytes_.subspan(at, size);
    }
    template <class T> static T field(Bytes record, std::size_t at) {
        T value;
        std::memcpy(&value, record.data() + at, sizeof value);
        return value;
    }
    template <class T> T at(std::uint64_t offset, const std::string& what) const { return field<T>(take(offset, sizeof(T), what), 0); }

private:
    Bytes bytes_;
    const std::string& file_;
};

struct Directory { std::uint64_t offset, size, count; };

// The end record is the last thing in the file but for a comment of up to 64 KiB.
std::optional<std::size_t> find_end(Bytes b) {
    if (b.size() < end_size) return {};
    const std::size_t first = b.size() - end_size, last = first > 0xFFFF ? first - 0xFFFF : 0;
    for (std::size_t i = first + 1; i-- > last;)
        if (Reader::field<std::uint32_t>(b, i) == end_magic && i + end_size + Reader::field<std::uint16_t>(b, i + 20) == b.size()) return i;
    return {};
}

Directory find_directory(Bytes b, const Reader& r, const std::string& file) {
    const auto end = find_end(b);
    ENG_CHECK(end, "zip", file, ": the archive is cut short: its ", b.size(), " bytes hold no end record");
    const Bytes e = b.subspan(*end);
    Directory d{Reader::field<std::uint32_t>(e, 16), Reader::field<std::uint32_t>(e, 12), Reader::field<std::uint16_t>(e, 10)};
    // Archives beyond 4 GiB or 65,535 entries keep the numbers in a second record, which a locator before the end names.
    if (*end >= locator64_size && Reader::field<std::uint32_t>(b, *end - locator64_size) == locator64_magic) {
        const Bytes e64 = r.take(Reader::field<std::uint64_t>(b, *end - locator64_size + 8), end64_size, "the 64-bit end record");
        ENG_CHECK(Reader::field<std::uint32_t>(e64, 0) == end64_magic, "zip", file, ": the 64-bit end record is damaged");
        d = {Reader::field<std::uint64_t>(e64, 48), Reader::field<std::uint64_t>(e64, 40), Reader::field<std::uint64_t>(e64, 32)};
    }
    return d;
}

struct Entry { std::string name; std::uint64_t size, stored, local; std::uint16_t method, flags; };

// The 64-bit values of an extra field (id 1), present in this order for each 32-bit value that is all ones.
void widen(Entry& e, Bytes extra, const std::string& file) {
    for (std::size_t i = 0; i + 4 <= extra.size();) {
        const auto id = Reader::field<std::uint16_t>(extra, i), length = Reader::field<std::uint16_t>(extra, i + 2);
        i += 4;
        if (length > extra.size() - i) return;
        if (id == 1) {
            std::size_t at = i, end = i + length;
            for (std::uint64_t* value : {&e.size, &e.stored, &e.local}) {
                if (*value != 0xFFFFFFFFu) continue;
                ENG_CHECK(end - at >= 8, "zip", file, ": entry '", e.name, "' lacks a 64-bit size");
                *value = Reader::field<std::uint64_t>(extra, at);
                at += 8;
            }
        }
        i += length;
    }
}

// Reads one record of the central directory and moves `at` behind it.
Entry central_record(const Reader& r, std::uint64_t& at, const std::string& file) {
    const Bytes c = r.take(at, central_size, "the directory");
    ENG_CHECK(Reader::field<std::uint32_t>(c, 0) == central_magic, "zip", file, ": the directory is damaged at byte ", at);
    const auto name = Reader::field<std::uint16_t>(c, 28), extra = Reader::field<std::uint16_t>(c, 30), comment = Reader::field<std::uint16_t>(c, 32);
    const Bytes text = r.take(at + central_size, name, "an entry's name");
    Entry e{{reinterpret_cast<const char*>(text.data()), text.size()}, Reader::field<std::uint32_t>(c, 24), Reader::field<std::uint32_t>(c, 20),
            Reader::field<std::uint32_t>(c, 42), Reader::field<std::uint16_t>(c, 10), Reader::field<std::uint16_t>(c, 8)};
    widen(e, r.take(at + central_size + name, extra, "an entry's extra field"), file);
    at += central_size + name + extra + comment;
    return e;
}

// Where the entry's bytes are. The local header repeats the name and may have another extra field (PyTorch pads there, so
// that tensors are aligned).
Bytes contents(const Reader& r, const Entry& e, const std::string& file) {
    ENG_CHECK((e.flags & 1) == 0, "zip", file, ": entry '", e.name, "' is encrypted");
    ENG_CHECK(e.stored == e.size, "zip", file, ": entry '", e.name, "' has two sizes, ", e.stored, " and ", e.size);
    const std::string what = "entry '" + e.name + "'";
    const Bytes l = r.take(e.local, local_size, what);
    ENG_CHECK(Reader::field<std::uint32_t>(l, 0) == local_magic, "zip", file, ": ", what, " has no header at byte ", e.local);
    const std::uint64_t skip = local_size + Reader::field<std::uint16_t>(l, 26) + Reader::field<std::uint16_t>(l, 28);
    return r.take(e.local + skip, e.size, what);
}

}  // namespace

bool is_zip(Bytes bytes) { return bytes.size() >= 4 && Reader::field<std::uint32_t>(bytes, 0) == local_magic; }

std::map<std::string, Bytes> zip_entries(Bytes bytes, const std::string& file) {
    const Reader r(bytes, file);
    const Directory d = find_directory(bytes, r, file);
    r.take(d.offset, d.size, "the directory");
    ENG_CHECK(d.count <= d.size / central_size, "zip", file, ": the directory claims ", d.count, " entries in ", d.size, " bytes");
    std::map<std::string, Bytes> entries;
    std::map<const std::byte*, std::string> by_place;  // nothing may begin before its neighbour ends
    std::uint64_t at = d.offset;
    for (std::uint64_t i = 0; i < d.count; ++i) {
        const Entry e = central_record(r, at, file);
        if (e.name.ends_with('/') || e.method != 0) continue;
        const Bytes data = contents(r, e, file);
        ENG_CHECK(entries.emplace(e.name, data).second, "zip", file, ": entry '", e.name, "' occurs twice");
        ENG_CHECK(data.empty() || by_place.emplace(data.data(), e.name).second, "zip", file, ": entry '", e.name, "' overlaps another");
    }
    const std::byte* free_from = bytes.data();
    for (const auto& [begin, name] : by_place) {
        ENG_CHECK(begin >= free_from, "zip", file, ": entry '", name, "' overlaps the one before it");
        free_from = begin + entries[name].size();
    }
    return entries;
}

}  // namespace eng
