#include "train/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/parallel.h"
#include "engine/transfer.h"
#include "train/curves.h"

namespace scvd {
namespace {

constexpr int kImageBlock = 64, kTextBlock = 32;
constexpr std::size_t kCurve = 50;  // ranks of the CMC curve that a report keeps

// Blocks are the same for any number of ranks, and each is computed whole by one of them: so are the scores, to the last bit.
int blocks_of(int n, int block) { return (n + block - 1) / block; }

// This rank's blocks of the gallery.
std::vector<ImageFeatures> encode_gallery(const Scvd& model, const Config& c, eng::Arena& arena, Pictures& pictures, eng::Share own) {
    const int H = c.model.image.height, W = c.model.image.width;
    std::vector<ImageFeatures> blocks;
    for (int first = int(own.first) * kImageBlock; first < std::min(pictures.count(), int(own.first + own.n) * kImageBlock); first += kImageBlock)
        blocks.push_back(model.encode_images(read_pictures(arena, pictures, first, std::min(kImageBlock, pictures.count() - first), H, W)));
    return blocks;
}

// All blocks of captions: each is encoded by one rank and sent to the others, who know its sizes from the items.
std::vector<TextFeatures> encode_queries(const Scvd& model, eng::Arena& arena, const TextBank& bank, const std::vector<TextItem>& items, eng::Comm& comm) {
    const int blocks = blocks_of(int(items.size()), kTextBlock);
    std::vector<TextFeatures> all;
    for (int b = 0; b < blocks; ++b) {
        const auto texts = pointers(items, std::size_t(b) * kTextBlock, kTextBlock);
        if (b % comm.size() == comm.rank()) {
            all.push_back(model.encode_texts(make_text_batch(arena, bank, texts)));
            continue;
        }
        std::vector<std::int32_t> slots;
        for (const TextItem* t : texts) slots.push_back(std::int32_t(t->prompts.size()));
        TextFeatures f;
        f.slots = eng::packed_seqs(arena, slots);
        const eng::DType dtype = dtype_named(model.config().dtype);
        f.global = Tensor(arena, {std::int64_t(texts.size()), model.config().embed}, dtype);
        f.prompts = Tensor(arena, {f.slots.total, model.config().embed}, dtype);
        all.push_back(f);
    }
    for (int b = 0; b < blocks; ++b) comm.broadcast(all[b].global, b % comm.size()), comm.broadcast(all[b].prompts, b % comm.size());
    return all;
}

// Gives every rank all columns of m [queries, gallery], of which each has computed those of its own blocks.
void share_columns(std::vector<float>& m, int queries, int gallery, eng::Comm& comm) {
    if (comm.alone()) return;
    std::vector<std::int64_t> columns;
    std::int64_t first = 0;
    for (int r = 0; r < comm.size(); ++r) {
        const eng::Share s = eng::share_of(blocks_of(gallery, kImageBlock), r, comm.size());
        const std::int64_t begin = std::min<std::int64_t>(gallery, s.first * kImageBlock);
        if (r == comm.rank()) first = begin;
        columns.push_back(std::min<std::int64_t>(gallery, (s.first + s.n) * kImageBlock) - begin);
    }
    const std::int64_t own = columns[comm.rank()];
    std::vector<float> mine(std::size_t(own) * queries);
    for (std::int64_t c = 0; c < own; ++c)
        for (int q = 0; q < queries; ++q) mine[std::size_t(c) * queries + q] = m[std::size_t(q) * gallery + first + c];
    eng::Arena arena;
    const Tensor all(arena, {gallery, queries}, eng::DType::f32);
    comm.all_gather(eng::upload(arena, {own, queries}, mine), all, columns);
    const std::vector<float> t = eng::download<float>(all);
    for (int g = 0; g < gallery; ++g)
        for (int q = 0; q < queries; ++q) m[std::size_t(q) * gallery + g] = t[std::size_t(g) * queries + q];
}

// Marks each query's K best images of the global stage.
std::vector<std::uint8_t> best_of(const Scores& s, int k) {
    std::vector<std::uint8_t> marked(s.global.size(), 0);
    for (int q = 0; q < s.queries; ++q) {
        const std::size_t row = std::size_t(q) * s.gallery;
        for (const int g : shortlist(std::span(s.global).subspan(row, s.gallery), k)) marked[row + g] = 1;
    }
    return marked;
}

nlohmann::json metrics_json(const Retrieval& r) {
    std::vector<double> cmc;
    for (std::size_t k = 0; k < std::min(kCurve, r.cmc.size()); ++k) cmc.push_back(100 * r.cmc[k]);
    return {{"R1", 100 * r.R1}, {"R5", 100 * r.R5}, {"R10", 100 * r.R10}, {"mAP", 100 * r.mAP}, {"mINP", 100 * r.mINP},
            {"trapezoid_AP", 100 * r.trapezoid_AP}, {"cmc", cmc}};
}
std::vector<float> transposed(const std::vector<float>& m, int rows, int cols) {
    std::vector<float> t(m.size());
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < cols; ++c) t[std::size_t(c) * rows + r] = m[std::size_t(r) * cols + c];
    return t;
}

}  // namespace

Scores score_split(const Scvd& model, const Config& c, const Split& split, const std::vector<TextItem>& items, const TextBank& bank, Pictures& pictures, int shortlist, bool pair) {
    eng::Comm alone;
    return score_split(model, c, split, items, bank, pictures, shortlist, pair, alone);
}

Scores score_split(const Scvd& model, const Config& c, const Split& split, const std::vector<TextItem>& items, const TextBank& bank, Pictures& pictures, int shortlist, bool pair,
                   eng::Comm& comm) {
    eng::Recording off(nullptr);
    eng::Arena arena;
    Scores s;
    for (const auto& p : split.pairs) s.query_ids.push_back(split.images[p.image].id);
    for (const Record& r : split.images) s.gallery_ids.push_back(r.id);
    s.queries = int(items.size()), s.gallery = int(split.images.size());
    ENG_CHECK(s.queries > 0, "evaluate", "split ", split.name, " has no captions");
    ENG_CHECK(items.size() == split.pairs.size(), "evaluate", items.size(), " texts for the ", split.pairs.size(), " captions of split ", split.name);
    s.global.resize(std::size_t(s.queries) * s.gallery);
    const eng::Share own = eng::share_of(blocks_of(s.gallery, kImageBlock), comm.rank(), comm.size());
    const auto images = encode_gallery(model, c, arena, pictures, own);
    const auto texts = encode_queries(model, arena, bank, items, comm);
    // The first cell of a block of captions and one of this rank's blocks of images.
    const auto cell = [&](std::size_t tb, std::size_t ib) { return tb * kTextBlock * s.gallery + (std::size_t(own.first) + ib) * kImageBlock; };
    for (std::size_t tb = 0; tb < texts.size(); ++tb)
        for (std::size_t ib = 0; ib < images.size(); ++ib) {
            const int rows = int(texts[tb].global.rows()), cols = images[ib].count;
            const auto block = eng::download<float>(eng::cast(global_scores(texts[tb].global, images[ib].global), eng::DType::f32));
            for (int q = 0; q < rows; ++q) std::copy_n(block.begin() + q * cols, cols, s.global.begin() + cell(tb, ib) + std::size_t(q) * s.gallery);
        }
    share_columns(s.global, s.queries, s.gallery, comm);
    if (!pair || c.model.loss.pair == "none") return s;
    s.pair.assign(s.global.size(), 0.f);
    if (shortlist > 0 && shortlist < s.gallery) s.shortlist = shortlist, s.scored = best_of(s, shortlist);
    std::vector<TextSide> sides;
    for (const TextFeatures& t : texts) sides.push_back(model.interaction().text_side(t));
    for (std::size_t ib = 0; ib < images.size(); ++ib) {
        const ImageSide side = model.interaction().image_side(images[ib]);
        for (std::size_t tb = 0; tb < texts.size(); ++tb) {
            PairList pairs;
            std::vector<std::size_t> at;
            for (int t = 0; t < sides[tb].slots.count; ++t)
                for (int i = 0; i < images[ib].count; ++i) {
                    const std::size_t one = cell(tb, ib) + std::size_t(t) * s.gallery + i;
                    if (s.scored.empty() || s.scored[one]) pairs.add(i, t), at.push_back(one);
                }
            if (at.empty()) continue;
            const std::vector<float> v = model.pair_scores(side, sides[tb], pairs);
            for (std::size_t n = 0; n < at.size(); ++n) s.pair[at[n]] = v[n];
        }
    }
    share_columns(s.pair, s.queries, s.gallery, comm);
    return s;
}

std::vector<float> fuse(const Scores& s, float lambda) {
    if (s.pair.empty()) return s.global;
    std::vector<float> f(s.global.size());
    eng::parallel_for(std::int64_t(f.size()), 1 << 16, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t i = first; i < last; ++i)
            f[i] = s.scored.empty() || s.scored[i] ? lambda * s.global[i] + (1 - lambda) * s.pair[i]
                                                   : s.global[i] - 4;  // cosines differ by 2 at most: below everything re-scored
    });
    return f;
}

float choose_lambda(const Scores& s) {
    if (s.pair.empty()) return 1;
    float best = 0;
    double top = -1;
    for (int i = 0; i <= 20; ++i) {
        const float lambda = float(i) / 20;
        const double mAP = evaluate(fuse(s, lambda), s.query_ids, s.gallery_ids).mAP;
        if (mAP > top + 1e-12) top = mAP, best = lambda;
    }
    return best;
}

nlohmann::json report(const Scores& s, const std::string& split, int identities, float lambda) {
    nlohmann::json j{{"split", split}, {"identities", identities}, {"gallery_images", s.gallery}, {"queries", s.queries},
                     {"unit", "percent"}, {"chance_R1", 100 * chance_R1(s.query_ids, s.gallery_ids)}, {"lambda", lambda}};
    const auto both = [&](const std::string& name, const std::vector<float>& m) {
        j["t2i"][name] = metrics_json(evaluate(m, s.query_ids, s.gallery_ids));
        j["i2t"][name] = metrics_json(evaluate(transposed(m, s.queries, s.gallery), s.gallery_ids, s.query_ids));
    };
    both("global", s.global);
    if (!s.pair.empty()) both("pair", fuse(s, 0)), both("fused", fuse(s, lambda));
    if (s.shortlist > 0) j["shortlist"] = {{"length", s.shortlist}, {"recall", 100 * shortlist_recall(s.global, s.query_ids, s.gallery_ids, s.shortlist)}};
    return j;
}

std::string table(const nlohmann::json& r) {
    std::string out = fmt::format("{} split: {} identities, {} images, {} queries, chance R@1 {:.2f} %\n{:<18}{:>8}{:>8}{:>8}{:>8}{:>8}\n", r["split"].get<std::string>(),
                                  r["identities"].get<int>(), r["gallery_images"].get<int>(), r["queries"].get<int>(), r["chance_R1"].get<double>(), "", "R@1", "R@5", "R@10", "mAP", "mINP");
    for (const char* way : {"t2i", "i2t"})
        for (const char* stage : {"global", "pair", "fused"}) {
            if (!r[way].contains(stage)) continue;
            const auto& m = r[way][stage];
            out += fmt::format("{:<18}{:>8.2f}{:>8.2f}{:>8.2f}{:>8.2f}{:>8.2f}\n", std::string(way) + " " + stage, m["R1"].get<double>(), m["R5"].get<double>(),
                               m["R10"].get<double>(), m["mAP"].get<double>(), m["mINP"].get<double>());
        }
    if (r.contains("shortlist"))
        out += fmt::format("the pair stage saw the best {} of the global stage; a match is among them for {:.2f} % of the queries\n",
                           r["shortlist"]["length"].get<int>(), r["shortlist"]["recall"].get<double>());
    return out;
}

std::string cmc_svg(const nlohmann::json& r) {
    std::vector<Series> curves;
    for (const char* stage : {"global", "pair", "fused"}) {
        if (!r["t2i"].contains(stage)) continue;
        Series s{stage, {}, r["t2i"][stage]["cmc"].get<std::vector<double>>(), "matched within rank, %"};
        for (std::size_t k = 1; k <= s.ys.size(); ++k) s.xs.push_back(double(k));
        curves.push_back(std::move(s));
    }
    return line_chart_svg("Text to image, " + r["split"].get<std::string>() + " split", "rank", curves);
}

}  // namespace scvd
