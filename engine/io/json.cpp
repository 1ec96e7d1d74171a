#include "engine/io/json.h"

#include "engine/error.h"

namespace eng {

Json parse_json(std::string_view text, const Json::parser_callback_t& watch) { return Json::parse(text, watch); }
OrderedJson parse_ordered_json(std::string_view text) { return OrderedJson::parse(text); }
Json parse_json_or_discard(std::string_view text) { return Json::parse(text, nullptr, false); }

std::string reason(const Json::exception& e, bool of_a_line) {
    std::string what = e.what();
    if (const auto end = what.find("] "); what.starts_with("[json.exception.") && end != what.npos) what.erase(0, end + 2);
    if (const auto line = what.find("line 1, "); of_a_line && line != what.npos) what.erase(line, 8);
    return what;
}

Json json_line(const char* component, const std::string& where, std::string_view line) {
    try {
        Json j = parse_json(line);
        ENG_CHECK(j.is_object(), component, where, " is not a JSON object");
        return j;
    } catch (const Json::exception& e) { fail(component, where, " is not a JSON object: ", reason(e, true)); }
}

std::string json_text(const Json& j, int indent, Json::error_handler_t bad_utf8) { return j.dump(indent, ' ', false, bad_utf8); }
std::string json_text(const OrderedJson& j, int indent, OrderedJson::error_handler_t bad_utf8) { return j.dump(indent, ' ', false, bad_utf8); }

}  // namespace eng
