#pragma once
// Weights of other programs for a model of ours: which tensor of the file feeds which parameter, what is drawn afresh, what
// is left over. Nothing is copied until it is read, so a file of any size costs no memory here.
#include <memory>
#include <optional>
#include <set>

#include "engine/params.h"
#include "model/key_map.h"
#include "model/position_table.h"

namespace scvd {

struct ImportOptions {
    PositionResize positions = PositionResize::bilinear;
};

class Import {
public:
    // Plans every parameter of `params` (declared; memory is not needed). `image` is the grid of the model's own position
    // table. Errors name file, key and both shapes: a tensor that should fit has another shape; an encoder's parameter is
    // missing. Parameters of the new modules may be missing: they keep their start values.
    Import(const eng::TensorFile& file, const eng::ParamStore& params, Grid image, const ImportOptions& = {});

    bool has(const eng::Param& p) const { return sources_.count(p.name) > 0; }
    // Elements first .. first + out.size() - 1 of a parameter that the file has. Error "FILE: "KEY" holds NaN .." when a value is not finite.
    void read(const eng::Param& p, std::int64_t first, std::span<float> out) const;
    // The same values where they lie in the file, when nothing has to be done to them but to look at them; else empty.
    std::span<const std::byte> in_place(const eng::Param& p) const;

    struct Missing { std::string parameter, start; };       // "drawn with standard deviation 0.044"
    struct Resized { std::string parameter, from, to; };
    struct Report {
        std::string file, container, naming;
        int matched = 0;                       // parameters
        std::int64_t values = 0;               // in them
        std::map<std::string, int> dtypes;     // how many of the matched tensors were stored as what
        std::vector<Resized> resized;
        std::vector<Missing> missing;
        std::vector<std::string> left_over;    // tensors of the file that nobody wanted
    };
    const Report& report() const { return report_; }
    // log of the temperature, when the file has one: kept for those who export again.
    std::optional<float> logit_scale() const { return logit_scale_; }

private:
    struct Source {
        std::vector<eng::StoredTensor> parts;  // stacked along the first axis
        std::vector<float> values;             // or computed
    };
    Source find(const eng::Param& p, const KeyMap& map);
    void fit_positions(Source&, const eng::Param& p);
    void check_finite(const eng::Param& p, std::int64_t first, std::span<const float> values) const;

    const eng::TensorFile& file_;
    Grid image_;
    ImportOptions options_;
    std::map<std::string, Source> sources_;  // by parameter
    std::set<std::string> used_;
    std::optional<float> logit_scale_;
    Report report_;
};

// For people: a few lines; long lists are cut to their first names and a count.
std::string describe(const Import::Report&);

}  // namespace scvd
