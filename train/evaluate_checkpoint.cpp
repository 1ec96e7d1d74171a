#include "train/evaluate_checkpoint.h"

#include "engine/io/file.h"
#include "engine/io/json.h"
#include "train/checkpoint.h"
#include "train/localisation.h"

namespace scvd {

std::string evaluate_checkpoint(const EvalOptions& o, World& world) {
    ENG_CHECK(o.lambda <= 1, "eval", "--lambda ", o.lambda, ", want at most 1");
    Config c = checkpoint_config(o.weights);
    if (!o.data.empty()) c.data.root = o.data;
    if (o.shortlist >= 0) c.eval.shortlist = o.shortlist;
    const TrainedModel trained(o.weights, c);
    const Scvd& model = trained.model;
    const RunState& state = trained.loaded.state;
    const Dataset data = dataset_of(c);
    const Split& split = o.split == "train" ? data.train : o.split == "val" ? data.val : data.test;
    if (!world.first()) world.comm().barrier();  // rank 0 makes the picture cache
    const auto pictures = pictures_of(c, split);
    if (world.first()) world.comm().barrier();
    TextBank bank(c, o.bpe);
    const Scores s = score_split(model, c, split, items_of(bank, split), bank, *pictures, c.eval.shortlist, true, world.comm());
    if (!world.first()) return "";
    auto r = report(s, o.split, split.identities, o.lambda >= 0 ? o.lambda : float(state.lambda));
    r["train_seconds"] = state.seconds;
    r["weights"] = o.weights;
    r["pairs_trained_on"] = c.model.loss.pairs;
    std::string text = (trained.loaded.foreign ? describe(trained.loaded.report) : "") + table(r);
    if (c.model.loss.pairs == "matched") text += "trained on matched pairs only: its pair scores know their own answer and are for study\n";
    if (const auto regions = load_regions(c.data.root, split)) {
        const LocalisationTable where = localise_split(model, c, split, *pictures, bank, *regions);
        r["localisation"] = to_json(where);
        text += "\n" + table(where);
    }
    if (!o.json.empty()) eng::write_file(o.json, eng::json_text(r, 2) + "\n");
    if (!o.curves.empty()) eng::write_file(o.curves, cmc_svg(r));
    return text;
}

}  // namespace scvd
