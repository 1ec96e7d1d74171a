// What `scvd deconstruct` prints: one JSON object per description.

#include "engine/io/json.h"
#include "model/semantics/deconstructor.h"

namespace scvd {

std::string to_json(const Deconstruction& d, const Prompts& p, std::string_view id) {
    nlohmann::ordered_json out;
    if (!id.empty()) out["id"] = id;
    out["person"] = d.person;
    for (const char* key : {"phrases", "absent", "prompts", "mask", "category", "span"})
        out[key] = nlohmann::ordered_json::array();
    for (const Phrase& phrase : d.phrases) {
        out["phrases"].push_back(phrase.text);
        out["category"].push_back(category_name(phrase.category));
        out["span"].push_back({phrase.begin, phrase.end});
    }
    for (const Phrase& phrase : d.absent) out["absent"].push_back(phrase.text);
    for (const std::string& text : p.text) out["prompts"].push_back(text);
    for (const std::uint8_t m : p.mask) out["mask"].push_back(static_cast<int>(m));
    // Ill-formed UTF-8 in the description may reach a phrase; it must not stop the output.
    return eng::json_text(out, -1, nlohmann::json::error_handler_t::replace);
}

}  // namespace scvd
