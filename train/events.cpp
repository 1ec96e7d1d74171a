#include "train/events.h"

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "engine/error.h"

namespace scvd {
namespace {

// Protobuf's wire format: a key is field number << 3 | wire type.
enum Wire : unsigned { kVarint = 0, kDouble = 1, kBytes = 2, kFloat = 5 };

// Field numbers of tensorflow/core's event.proto and summary.proto.
namespace event { constexpr unsigned wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7; }
namespace value { constexpr unsigned tag = 1, simple_value = 2, image = 4; }
namespace picture { constexpr unsigned height = 1, width = 2, colorspace = 3, bytes = 4; }
constexpr unsigned kSummaryValue = 1, kSessionStatus = 1, kSessionStart = 1, kRgb = 3;

template <class T>
void put_raw(std::string& s, T v) {
    static_assert(std::endian::native == std::endian::little, "event files are little endian");
    char b[sizeof v];
    std::memcpy(b, &v, sizeof v);
    s.append(b, sizeof v);
}
void put_varint(std::string& s, std::uint64_t v) {
    for (; v >= 128; v >>= 7) s += char(v | 128);
    s += char(v);
}
void put_int(std::string& s, unsigned field, std::uint64_t v) {
    put_varint(s, field << 3 | kVarint);
    put_varint(s, v);
}
void put_bytes(std::string& s, unsigned field, std::string_view bytes) {
    put_varint(s, field << 3 | kBytes);
    put_varint(s, bytes.size());
    s += bytes;
}

double wall_time() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}
std::string new_event() {
    std::string e;
    put_varint(e, event::wall_time << 3 | kDouble);
    put_raw(e, wall_time());
    return e;
}
// Microseconds keep the names of two writers apart and in order of age, the order in which TensorBoard reads them.
std::string file_name(const std::string& folder) {
    return folder + "/events.out.tfevents." + std::to_string(std::int64_t(wall_time() * 1e6)) + ".scvd";
}

constexpr std::array<std::uint32_t, 256> crc_table() {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        t[i] = i;
        for (int k = 0; k < 8; ++k) t[i] = t[i] & 1 ? t[i] >> 1 ^ 0x82F63B78u : t[i] >> 1;
    }
    return t;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
    static constexpr auto table = crc_table();
    std::uint32_t crc = ~0u;
    for (const char c : bytes) crc = table[(crc ^ static_cast<unsigned char>(c)) & 255] ^ crc >> 8;
    return ~crc;
}

std::uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

EventWriter::EventWriter(const std::string& folder, std::int64_t resumed_at)
    : path_(file_name(folder)), out_(path_, std::ios::binary) {
    ENG_CHECK(out_, "events", "cannot write ", path_, ": ", std::strerror(errno));
    std::string version = new_event();
    put_bytes(version, event::file_version, "brain.Event:2");
    record(version);
    if (resumed_at > 0) {
        std::string session, start = new_event();
        put_int(session, kSessionStatus, kSessionStart);
        put_int(start, event::step, std::uint64_t(resumed_at));
        put_bytes(start, event::session_log, session);
        record(start);
    }
    flush();
}

void EventWriter::scalar(const std::string& tag, float v, std::int64_t step) {
    std::string message;
    put_bytes(message, value::tag, tag);
    put_varint(message, value::simple_value << 3 | kFloat);
    put_raw(message, v);
    summary(message, step);
}

void EventWriter::image(const std::string& tag, std::span<const std::uint8_t> png, int w, int h, std::int64_t step) {
    ENG_CHECK(w > 0 && h > 0 && !png.empty(), "events", "image ", tag, " of ", w, "x", h, " pixels and ", png.size(),
              " bytes, want a PNG of at least 1x1");
    std::string content, message;
    put_int(content, picture::height, std::uint64_t(h));
    put_int(content, picture::width, std::uint64_t(w));
    put_int(content, picture::colorspace, kRgb);
    put_bytes(content, picture::bytes, {reinterpret_cast<const char*>(png.data()), png.size()});
    put_bytes(message, value::tag, tag);
    put_bytes(message, value::image, content);
    summary(message, step);
}

void EventWriter::summary(const std::string& message, std::int64_t step) {
    std::string values, e = new_event();
    put_bytes(values, kSummaryValue, message);
    put_int(e, event::step, std::uint64_t(step));
    put_bytes(e, event::summary, values);
    record(e);
}

// A record: length (8 bytes), its checksum, the message, its checksum. A reader that meets a torn tail stops there.
void EventWriter::record(const std::string& message) {
    std::string framed;
    put_raw(framed, std::uint64_t(message.size()));
    put_raw(framed, masked_crc32c(framed));
    framed += message;
    put_raw(framed, masked_crc32c(message));
    out_.write(framed.data(), std::streamsize(framed.size()));
}

void EventWriter::flush() {
    out_.flush();
    ENG_CHECK(out_, "events", "cannot write ", path_, " (is the disk full?)");
}

}  // namespace scvd
