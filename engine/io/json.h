#pragma once
// JSON by nlohmann's library, whose parser and writer json.cpp compiles for all: instantiated in every file that reads or writes JSON,
// they were a third of its compile time, and half of it with sanitizers.
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace eng {

using Json = nlohmann::json;                 // an object's keys in alphabetical order
using OrderedJson = nlohmann::ordered_json;  // as they were put in

// Throws Json::exception, with line and column. `watch` sees the values as they are read (nlohmann's parser_callback_t).
Json parse_json(std::string_view text, const Json::parser_callback_t& watch = nullptr);
OrderedJson parse_ordered_json(std::string_view text);
// The same without an exception: what is no JSON gives a value that is_discarded(), and so neither an object nor a list.
Json parse_json_or_discard(std::string_view text);
// An object from one line of a file. The error is `component`'s: "<where> is not a JSON object", and why.
Json json_line(const char* component, const std::string& where, std::string_view line);
// What was wrong, for a message: what() without the library's own "[json.exception.parse_error.101] " before it,
// and, where the text was a line of something, without its own "line 1, ".
std::string reason(const Json::exception&, bool of_a_line = false);

// On one line, or with an indent of so many spaces. Text that is not UTF-8 throws Json::exception unless it is to be replaced.
std::string json_text(const Json&, int indent = -1, Json::error_handler_t bad_utf8 = Json::error_handler_t::strict);
std::string json_text(const OrderedJson&, int indent = -1, OrderedJson::error_handler_t bad_utf8 = OrderedJson::error_handler_t::strict);

}  // namespace eng
