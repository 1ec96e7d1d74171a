#include "ops/cases.h"

#include <algorithm>
#include <cmath>

#include "engine/transfer.h"

namespace eng {
namespace {

using In = const std::vector<Tensor>&;
using Sizes = std::vector<std::pair<std::int64_t, std::int64_t>>;

std::vector<std::int32_t> counted(std::int64_t n, int step, int modulus) {
    std::vector<std::int32_t> v;
    for (std::int64_t i = 0; i < n; ++i) v.push_back(std::int32_t((i * step + 3) % modulus));
    return v;
}
Tensor targets(Arena& a, std::int64_t n, int classes) { return indices(a, counted(n, 7, classes)); }

// 1 on the diagonal and on a second positive, -1 in a corner: identities with several pictures, absent candidates.
Tensor match_table(Arena& a, int rows, int cols) {
    std::vector<std::int32_t> m(std::size_t(rows * cols), 0);
    for (int r = 0; r < rows; ++r) {
        m[r * cols + r % cols] = 1;
        if (r % 3 == 1) m[r * cols + (r + 2) % cols] = 1;
        if (r % 4 == 2) m[r * cols + (r + 1) % cols] = -1;
    }
    return indices(a, m).view({rows, cols});
}

Tensor pixels(Arena& a, int images, const PatchGeometry& g) {
    const Shape s{images, g.height, g.width, 3};
    std::vector<std::uint8_t> v;
    for (std::int64_t i = 0; i < s.numel(); ++i) v.push_back(std::uint8_t(i * 37 % 251));
    return upload(a, s, v);
}

// Two images of 5 and 3 tokens, three texts of 2, 1 and 3 prompts, all six pairs: rows are shared between pairs.
Tensor paired_attention(Arena& a, In x) {
    const Seqs images = packed_seqs(a, {5, 3}), texts = packed_seqs(a, {2, 1, 3});
    return cross_attention(x[0], x[1], pick(a, texts, {0, 1, 2, 0, 1, 2}), pick(a, images, {0, 0, 0, 1, 1, 1}), 2);
}

// The same, picked on the device.
Tensor attention_of_picked(Arena& a, In x) {
    const Seqs texts = packed_seqs(a, {2, 1, 3});
    return cross_attention(x[0], x[1], pick(texts, indices(a, {0, 2, 2, 1}), 9), repeat_seqs(a, 2, 2, 3, 1, 4), 2);
}
// Both losses over the candidates of rows 2 .. 10 of 13, in groups of four.
Tensor candidate_losses(Arena& a, In x) {
    std::vector<double> scores;
    for (int i = 0; i < 13 * 13; ++i) scores.push_back(i * 37 % 101);
    const Tensor labels = indices(a, counted(13, 5, 6)), order = labels.like();
    group_alike(upload_as(a, {13, 13}, scores, stats_dtype(x[0].dtype())), labels, 4, order);
    const PairUp p = pair_up(order, labels, 2, 8, 4, x[0].dtype() == DType::bf16 ? DType::f32 : x[0].dtype());
    const Tensor s = cast(gather_rows(x[0], p.text.view({32})).view({8, 4}), p.negative.dtype());
    return add(matching_loss(s, p.match, 1.0), softmax_xent(add(s, p.negative), p.own));
}

void add_elementwise(std::vector<Case>& c) {
    c.push_back({"add", {{5, 7}, {5, 7}}, [](Arena&, In x) { return add(x[0], x[1]); }});
    c.push_back({"add of one tensor twice", {{5, 7}}, [](Arena&, In x) { return add(x[0], x[0]); }});
    c.push_back({"mul", {{1, 193}, {1, 193}}, [](Arena&, In x) { return mul(x[0], x[1]); }});
    c.push_back({"mul of one tensor twice", {{3, 3}}, [](Arena&, In x) { return mul(x[0], x[0]); }});
    c.push_back({"scale", {{13, 1}}, [](Arena&, In x) { return scale(x[0], -0.37); }});
    c.push_back({"transpose", {{5, 193}}, [](Arena&, In x) { return transpose(x[0]); }});
    c.push_back({"dropout", {{7, 31}}, [](Arena&, In x) { return dropout(x[0], 0.25f, 5, 9); }});
    c.push_back({"quick_gelu", {{5, 33}}, [](Arena&, In x) { return quick_gelu(x[0]); }});
    c.push_back({"exp_scale", {{5, 7}, {1}}, [](Arena&, In x) { return exp_scale(x[0], x[1]); }, 35, 4});  // exp of a rounded input
    c.push_back({"sum", {{5, 7}}, [](Arena&, In x) { return sum(x[0]); }, 35});
    c.push_back({"mean", {{193, 31}}, [](Arena&, In x) { return mean(mul(x[0], x[0])); }, 5983});
    c.push_back({"row_dot", {{5, 33}, {5, 33}}, [](Arena&, In x) { return row_dot(x[0], x[1]); }, 33});
    c.push_back({"row_dot in fours", {{9, 64}, {9, 64}}, [](Arena&, In x) { return row_dot(x[0], x[1]); }, 64});
    c.push_back({"transpose over tiles", {{70, 33}}, [](Arena&, In x) { return transpose(x[0]); }});
    c.push_back({"checkpoint", {{5, 16}}, [](Arena&, In x) {
        return checkpoint([](In t) { return quick_gelu(add(t[0], quick_gelu(t[0]))); }, {x[0]});
    }, 16, 3});  // four roundings in a row
}

void add_matrix(std::vector<Case>& c) {
    c.push_back({"linear", {{5, 7}, {3, 7}, {3}}, [](Arena&, In x) { return linear(x[0], x[1], x[2]); }});
    c.push_back({"linear without bias", {{1, 193}, {31, 193}}, [](Arena&, In x) { return linear(x[0], x[1]); }, 193});
    c.push_back({"linear with residual", {{17, 64}, {33, 64}, {33}, {17, 33}}, [](Arena&, In x) { return linear(x[0], x[1], x[2], x[3]); }, 64});
    c.push_back({"linear of a frozen weight", {{5, 7}, {3}}, [](Arena& a, In x) {
        return linear(x[0], upload_as(a, {3, 7}, std::vector<double>{1, -2, 0.5, 3, 0, -1, 2, 0.25, 1, 1, -3, 2, 0.5, -0.5, 4, 1, -1, 2, 0, 3, -2}, x[0].dtype()), x[1]);
    }});
    c.push_back({"linear of linear", {{65, 64}, {72, 64}, {72}, {80, 72}}, [](Arena&, In x) { return linear(linear(x[0], x[1], x[2]), x[3]); }, 72, 6});  // two weights' gradients at once; the middle is rounded
    c.push_back({"linear to one", {{6, 5}, {1, 5}, {1}}, [](Arena&, In x) { return linear(x[0], x[1], x[2]); }});
    c.push_back({"mlp", {{7, 13}, {29, 13}, {29}, {11, 29}, {11}}, [](Arena&, In x) { return mlp(x[0], x[1], x[2], x[3], x[4]); }, 29, 12});  // bf16 hidden values are rounded twice, then summed
    c.push_back({"mlp with residual", {{193, 8}, {16, 8}, {16}, {8, 16}, {8}, {193, 8}}, [](Arena&, In x) { return mlp(x[0], x[1], x[2], x[3], x[4], x[5]); }, 193, 12});
    c.push_back({"matmul", {{5, 11}, {11, 3}}, [](Arena&, In x) { return matmul(x[0], x[1]); }, 11});
    for (const auto& [rows, cols] : Sizes{{4, 31}, {1, 5}, {193, 64}, {70, 128}, {3, 256}, {5, 512}, {9, 768}, {2, 1024}})  // gradients pass two means
        c.push_back({"layer_norm " + std::to_string(rows) + " x " + std::to_string(cols), {{rows, cols}, {cols}, {cols}}, [](Arena&, In x) { return layer_norm(x[0], x[1], x[2]); }, double(std::max({rows, cols, std::int64_t(16)})), 2});
    for (const auto& [rows, cols] : Sizes{{3, 31}, {1, 5}, {193, 64}, {7, 128}, {8, 256}, {193, 512}, {9, 768}, {2, 1024}})
        c.push_back({"layer_norm_max over " + std::to_string(rows) + " rows of " + std::to_string(cols), {{3 * rows, cols}, {cols}, {cols}}, [rows = int(rows)](Arena&, In x) { return layer_norm_max(x[0], rows, x[1], x[2]); }, double(std::max({3 * rows, cols, std::int64_t(16)})), 2});
    c.push_back({"linear of many rows", {{300, 8}, {12, 8}, {12}}, [](Arena&, In x) { return linear(x[0], x[1], x[2]); }, 300});
    c.push_back({"linear wide and deep", {{66, 1032}, {72, 1032}}, [](Arena&, In x) { return linear(x[0], x[1]); }, 1032});
    c.push_back({"l2_normalize in fours", {{9, 64}}, [](Arena&, In x) { return l2_normalize(x[0]); }, 64, 2});
    c.push_back({"l2_normalize", {{5, 33}}, [](Arena&, In x) { return l2_normalize(x[0]); }, 33, 2});
}

void add_sequences(std::vector<Case>& c) {
    // Attention's tolerance counts the chain scores -> softmax -> values -> gradient of scores.
    c.push_back({"attention ragged", {{9, 24}}, [](Arena& a, In x) { return self_attention(x[0], packed_seqs(a, {4, 1, 4}), 2, false); }, 16, 4});
    c.push_back({"attention causal", {{9, 24}}, [](Arena& a, In x) { return self_attention(x[0], packed_seqs(a, {2, 7}), 2, true); }, 16, 4});
    c.push_back({"attention of one token", {{1, 15}}, [](Arena& a, In x) { return self_attention(x[0], packed_seqs(a, {1}), 1, true); }, 16, 4});
    c.push_back({"attention long", {{193, 3 * 64}}, [](Arena& a, In x) { return self_attention(x[0], packed_seqs(a, {193}), 1, false); }, 193, 4});
    c.push_back({"attention causal, heads of 64", {{100, 3 * 64}}, [](Arena& a, In x) { return self_attention(x[0], packed_seqs(a, {83, 17}), 1, true); }, 83, 4});
    c.push_back({"attention too long for shared memory", {{270, 3 * 64}}, [](Arena& a, In x) { return self_attention(x[0], packed_seqs(a, {262, 8}), 1, true); }, 262, 4});
    c.push_back({"attention cross", {{5, 8}, {9, 16}}, [](Arena& a, In x) { return cross_attention(x[0], x[1], packed_seqs(a, {2, 3}), packed_seqs(a, {6, 3}), 4); }, 16, 4});
    c.push_back({"attention over pairs", {{6, 8}, {8, 16}}, paired_attention, 32, 4});
    c.push_back({"attention over pairs, heads of 64", {{6, 64}, {8, 128}}, [](Arena& a, In x) {
        const Seqs images = packed_seqs(a, {5, 3}), texts = packed_seqs(a, {2, 1, 3});
        return cross_attention(x[0], x[1], pick(a, texts, {0, 1, 2, 0, 1, 2}), pick(a, images, {0, 0, 0, 1, 1, 1}), 1);
    }, 32, 4});
    c.push_back({"attention over pairs, images look at texts", {{8, 128}, {6, 256}}, [](Arena& a, In x) {
        const Seqs images = packed_seqs(a, {5, 3}), texts = packed_seqs(a, {2, 1, 3});
        return cross_attention(x[0], x[1], pick(a, images, {0, 0, 0, 1, 1, 1}), pick(a, texts, {0, 1, 2, 0, 1, 2}), 2);
    }, 32, 4});
    c.push_back({"attention that skips rows", {{4, 6}, {10, 12}}, [](Arena& a, In x) {
        return cross_attention(x[0], x[1], uniform_seqs(a, 2, 2), uniform_seqs(a, 2, 4, 1, 5), 1);
    }, 16, 4});
    c.push_back({"attention of sequences picked on the device", {{6, 8}, {8, 16}}, attention_of_picked, 16, 4});
    c.push_back({"gather_rows with repeats", {{5, 7}}, [](Arena& a, In x) { return gather_rows(x[0], indices(a, {4, 0, 0, 2, 4, 4})); }});
    c.push_back({"gather_rows of many", {{6, 8}}, [](Arena& a, In x) { return gather_rows(x[0], indices(a, counted(70, 5, 6))); }});
    c.push_back({"gather_rows of wide rows", {{3, 1060}}, [](Arena& a, In x) { return gather_rows(x[0], indices(a, {2, 0, 2})); }});
    // One row hundreds of times, behind another that comes first; indices at an odd address.
    for (const std::int64_t cols : {3, 136})
        c.push_back({"gather_rows of one row 499 times, " + std::to_string(cols) + " wide", {{3, cols}}, [](Arena& a, In x) {
            std::vector<std::int32_t> idx(501, 1);
            idx[1] = 2;
            return gather_rows(x[0], indices(a, idx).slice(1, 500));
        }, 500});
    c.push_back({"segment_max", {{11, 7}}, [](Arena& a, In x) { return segment_max(x[0], packed_seqs(a, {3, 1, 7})); }});
    c.push_back({"segment_max that skips rows", {{10, 3}}, [](Arena& a, In x) { return segment_max(x[0], uniform_seqs(a, 2, 4, 1, 5)); }});
    c.push_back({"embed_tokens", {{13, 5}, {7, 5}}, [](Arena& a, In x) {
        return embed_tokens(indices(a, {12, 3, 3, 0, 5}), indices(a, {0, 1, 2, 0, 1}), x[0], x[1]);
    }});
    c.push_back({"embed_tokens in fours", {{13, 64}, {7, 64}}, [](Arena& a, In x) {
        return embed_tokens(indices(a, counted(40, 5, 13)), indices(a, counted(40, 1, 7)), x[0], x[1]);
    }});
    c.push_back({"embed_tokens, common and rare", {{97, 20}, {33, 20}}, [](Arena& a, In x) {
        std::vector<std::int32_t> ids;  // one token in thirteen is the same, positions count up and start again
        for (int t = 0; t < 301; ++t) ids.push_back(t % 13 ? t * 7 % 97 : 96);
        return embed_tokens(indices(a, ids), indices(a, counted(301, 1, 31)), x[0], x[1]);
    }, 27});
    c.push_back({"add_class_and_positions in fours", {{6, 64}, {64}, {4, 64}}, [](Arena&, In x) { return add_class_and_positions(x[0], x[1], x[2]); }});
    c.push_back({"add_class_and_positions", {{6, 5}, {5}, {4, 5}}, [](Arena&, In x) { return add_class_and_positions(x[0], x[1], x[2]); }});
    c.push_back({"drop_class", {{12, 5}}, [](Arena&, In x) { return drop_class(x[0], 3); }});
    c.push_back({"drop_class in fours", {{15, 132}}, [](Arena&, In x) { return drop_class(x[0], 4); }});
    c.push_back({"drop_class of one image", {{194, 1}}, [](Arena&, In x) { return drop_class(x[0], 193); }});
    c.push_back({"drop_class that adds to a gradient", {{6, 31}}, [](Arena&, In x) { return mul(drop_class(x[0], 2), drop_class(scale(x[0], 2), 2)); }});
    c.push_back({"cross_attention_map", {{6, 8}, {8, 16}}, [](Arena& a, In x) {
        const Seqs images = packed_seqs(a, {5, 3}), texts = packed_seqs(a, {2, 4});
        return cross_attention_map(x[0], x[1], texts, images, 2);
    }, 16, 4, 0, false});
    // Pictures that are flipped, shifted (one beyond its edge) and erased, one that is left alone; patches that touch, overlap, leave gaps.
    for (const PatchGeometry g : {PatchGeometry{13, 9, 4, 3}, {5, 70, 1, 1}, {15, 29, 7, 7}, {40, 27, 8, 8}, {37, 41, 12, 13}, {33, 160, 16, 16}, {64, 71, 32, 15}}) {
        const std::string name = "patchify " + std::to_string(g.patch) + " of " + std::to_string(g.height) + "x" + std::to_string(g.width);
        c.push_back({name, {{1}}, [=](Arena& a, In x) {
            const std::vector<std::int32_t> augment = {1, 2, -1, 3, 2, 5, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -2, 3, 0, 0, 0, 0, 0, 1, 11, -9, 1, 7, g.height, 3, 0};
            return patchify(pixels(a, 4, g), indices(a, augment).view({4, 8}), g, x[0].dtype());
        }, 16, 1, 0, false});
    }
    c.push_back({"patchify without augmentation", {{1}}, [](Arena& a, In x) {
        const PatchGeometry g{17, 32, 8, 8};
        return patchify(pixels(a, 2, g), Tensor{}, g, x[0].dtype());
    }, 16, 1, 0, false});
}

// Images of `patches` regions each, texts of 3, 1 and 8 prompts (or more), pairs text by text and one that comes again.
Case vsr_case(const std::string& name, std::int64_t d, std::int64_t hidden, int heads, int patches, int prompts, bool residual) {
    const std::vector<Shape> inputs = {{3 * patches, d}, {4 + prompts, 2 * d}, {d, d}, {d}, {d}, {d}, {hidden, d}, {hidden}, {d, hidden}, {d}, {d}, {d}};
    return {name, inputs, [=](Arena& a, In x) {
        const auto unit = [](const Tensor& w) { return scale(w, 1 / std::sqrt(double(w.cols()))); };
        return vsr_pool(x[0], x[1], patches, packed_seqs(a, {3, 1, prompts}), {0, 1, 2, 2, 0, 1}, {0, 0, 0, 2, 2, 1},
                        {unit(x[2]), x[3], x[4], x[5], unit(x[6]), x[7], unit(x[8]), x[9], x[10], x[11], heads, residual});
    }, double(std::max(d, hidden)), 1, 0, false};
}

// Two images of `patches` regions, three texts of 2, 1 and 3 prompts in `slots` slots, four pairs of which one comes twice.
Case slot_mix_case(const std::string& name, std::int64_t d, int heads, int slots, int patches) {
    return {name, {{2 * patches, d}, {6, 2 * d}, {3 * heads * slots, d}}, [=](Arena& a, In x) {
        const Seqs prompts = packed_seqs(a, {2, 1, 3});
        return slot_mix(x[0], spread_heads(x[1], 0, prompts, heads, slots), gram(x[2], heads * slots), prompts, indices(a, {0, 1, 1, 0}), indices(a, {0, 2, 1, 0}), patches, heads);
    }, double(std::max<std::int64_t>(d, 2 * patches)), 4};  // as attention: scores -> softmax -> scale, and back
}

void add_blocks(std::vector<Case>& c) {
    // Four blocks of a; of b's three one is met twice and one not at all.
    const auto which = [](Arena& a) { return indices(a, {2, 0, 2, 2}); };
    c.push_back({"grouped_matmul", {{12, 5}, {15, 7}, {7}}, [=](Arena& a, In x) { return grouped_matmul(x[0], x[1], which(a), x[2]); }, 12});
    c.push_back({"grouped_matmul of 193 rows", {{4 * 193, 64}, {3 * 64, 72}}, [=](Arena& a, In x) { return grouped_matmul(x[0], x[1], which(a)); }, 579});
    c.push_back({"grouped_matmul over tiles", {{4 * 70, 136}, {3 * 136, 200}, {200}}, [=](Arena& a, In x) { return grouped_matmul(x[0], x[1], which(a), x[2]); }, 280});
    c.push_back({"grouped_matmul of one", {{1, 1}, {1, 1}}, [](Arena& a, In x) { return grouped_matmul(x[0], x[1], indices(a, {0})); }});
    c.push_back({"grouped_matmul of a block met 700 times", {{700, 3}, {3, 5}}, [](Arena& a, In x) {
        return grouped_matmul(x[0], x[1], indices(a, std::vector<std::int32_t>(700, 0)));
    }, 700});
    c.push_back({"grouped_mlp", {{12, 13}, {39, 29}, {29}, {11, 29}, {11}}, [=](Arena& a, In x) { return grouped_mlp(x[0], x[1], which(a), x[2], x[3], x[4]); }, 29, 12});  // as mlp
    c.push_back({"grouped_mlp with residual", {{4 * 33, 8}, {24, 16}, {16}, {8, 16}, {8}, {4 * 33, 8}}, [=](Arena& a, In x) {
        return grouped_mlp(x[0], x[1], which(a), x[2], x[3], x[4], x[5]);
    }, 132, 12});
    c.push_back({"gram", {{6, 7}}, [](Arena&, In x) { return gram(x[0], 3); }, 7, 2});  // a rounded gradient on the way back
    c.push_back({"gram in fours", {{128, 64}}, [](Arena&, In x) { return gram(x[0], 64); }, 64, 2});
    c.push_back({"scale_columns", {{5, 33}, {33}}, [](Arena&, In x) { return scale_columns(x[0], x[1]); }, 16, 2});  // products are rounded, then summed
    c.push_back({"center_rows", {{5, 33}}, [](Arena&, In x) { return center_rows(x[0]); }, 33});
    for (const std::int64_t cols : {12, 16})  // heads of three and of four
        c.push_back({"spread_heads of " + std::to_string(cols), {{6, cols}}, [](Arena& a, In x) {
            const Seqs prompts = packed_seqs(a, {2, 1, 3});
            return add(spread_heads(x[0], 0, prompts, 2, 4), spread_heads(x[0], 1, prompts, 2, 4));
        }});
    c.push_back(slot_mix_case("slot_mix", 8, 2, 3, 5));
    c.push_back(slot_mix_case("slot_mix of heads of 64", 128, 2, 8, 33));
    c.push_back(slot_mix_case("slot_mix of 13 heads", 13, 13, 8, 1));
}

void add_heads(std::vector<Case>& c) {
    c.push_back(vsr_case("vsr_pool", 24, 31, 2, 7, 8, false));
    c.push_back(vsr_case("vsr_pool with residual", 64, 72, 1, 33, 5, true));
    c.push_back(vsr_case("vsr_pool of ViT-B/16's width", 512, 128, 8, 70, 7, true));
    c.push_back(vsr_case("vsr_pool of ViT-B/16's width, no residual", 512, 64, 8, 9, 8, false));
    c.push_back(vsr_case("vsr_pool of many prompts", 16, 16, 4, 3, 11, true));
    for (const auto sim : {Similarity::dot, Similarity::cosine})
        for (const auto norm : {WeightNorm::softmax, WeightNorm::sigmoid})
            c.push_back({std::string("focus ") + (sim == Similarity::dot ? "dot " : "cosine ") + (norm == WeightNorm::softmax ? "softmax" : "sigmoid"),
                         {{3, 31}, {9, 31}}, [=](Arena& a, In x) { return focus(x[0], x[1], packed_seqs(a, {5, 1, 3}), sim, norm); }, 31, 4});
    // More prompts than a warp has lanes.
    c.push_back({"focus of many prompts", {{2, 32}, {41, 32}}, [](Arena& a, In x) { return focus(x[0], x[1], packed_seqs(a, {40, 1}), Similarity::cosine, WeightNorm::softmax); }, 40, 8});
    c.push_back({"softmax_xent of many classes", {{3, 301}}, [](Arena& a, In x) { return softmax_xent(x[0], targets(a, 3, 301)); }, 301, 2});
    c.push_back({"matching_loss of many", {{3, 139}}, [](Arena& a, In x) { return matching_loss(x[0], match_table(a, 3, 139), 1.0); }, 139, 4});
    c.push_back({"softmax_xent", {{6, 11}}, [](Arena& a, In x) { return softmax_xent(x[0], targets(a, 6, 11)); }, 11, 2});
    c.push_back({"softmax_xent one class", {{3, 1}}, [](Arena& a, In x) { return softmax_xent(scale(x[0], 1), targets(a, 3, 1)); }, 11, 2, 0, false});
    c.push_back({"matching_loss", {{7, 7}}, [](Arena& a, In x) { return matching_loss(x[0], match_table(a, 7, 7), 1.0); }, 16, 4});
    c.push_back({"matching_loss of labels", {{3, 5}}, [](Arena& a, In x) { return matching_loss(x[0], match_labels(indices(a, {4, 1, 9}), indices(a, {1, 4, 1, 7, 9})), 1.0); }, 16, 4});
    c.push_back({"losses over candidates", {{13, 1}}, candidate_losses, 16, 4});
    c.push_back({"matching_loss with temperature", {{5, 13}}, [](Arena& a, In x) { return matching_loss(l2_normalize(x[0]), match_table(a, 5, 13), 8.0); }, 16, 24});  // scores are multiplied by 8, and rounded before
}

// Running statistics that are not a batch's own: mean 0.3, variance 1.7 and so on.
Tensor running(Arena& a, std::int64_t n, double first, DType t) {
    std::vector<double> v;
    for (std::int64_t i = 0; i < n; ++i) v.push_back(first + 0.1 * double(i % 5));
    return upload_as(a, {n}, v, stats_dtype(t));
}

void add_vision(std::vector<Case>& c) {
    // 2 pictures of 7x5 pixels with 3 channels; kernels that do and do not divide them.
    c.push_back({"conv2d 3x3", {{70, 3}, {5, 3, 3, 3}}, [](Arena&, In x) { return conv2d(x[0], x[1], 7, 5, 1, 1); }, 70});
    c.push_back({"conv2d 3x3 stride 2", {{70, 3}, {7, 3, 3, 3}}, [](Arena&, In x) { return conv2d(x[0], x[1], 7, 5, 2, 1); }, 63});
    c.push_back({"conv2d 1x1", {{35, 17}, {31, 17, 1, 1}}, [](Arena&, In x) { return conv2d(x[0], x[1], 7, 5, 1, 0); }, 35});
    c.push_back({"conv2d without padding", {{96, 16}, {16, 16, 5, 5}}, [](Arena&, In x) { return conv2d(x[0], x[1], 8, 12, 1, 0); }, 400});
    c.push_back({"conv2d in fours", {{3 * 6 * 4, 8}, {12, 8, 3, 3}}, [](Arena&, In x) { return conv2d(x[0], x[1], 6, 4, 1, 1); }, 108});
    c.push_back({"conv2d of many pictures", {{7 * 5 * 3, 4}, {9, 4, 3, 3}}, [](Arena&, In x) { return conv2d(x[0], x[1], 5, 3, 2, 1); }, 42});
    c.push_back({"conv2d that skips pixels", {{2 * 5 * 7, 2}, {3, 2, 2, 2}}, [](Arena&, In x) { return conv2d(x[0], x[1], 5, 7, 3, 0); }, 16});
    c.push_back({"batch_norm in fours", {{70, 40}, {40}, {40}}, [](Arena& a, In x) {
        return batch_norm(x[0], x[1], x[2], running(a, 40, 0.3, x[0].dtype()), running(a, 40, 1.7, x[0].dtype()), true);
    }, 70, 2});
    c.push_back({"batch_norm frozen in fours", {{35, 8}, {8}, {8}}, [](Arena& a, In x) {
        return batch_norm(x[0], x[1], x[2], running(a, 8, 0.3, x[0].dtype()), running(a, 8, 1.7, x[0].dtype()), false);
    }, 35, 2});
    c.push_back({"avg_pool in fours", {{3 * 6 * 5, 8}}, [](Arena&, In x) { return avg_pool(x[0], 6, 5, 3); }});
    c.push_back({"add_mean_and_positions in fours", {{14, 8}, {8, 8}}, [](Arena&, In x) { return add_mean_and_positions(x[0], x[1]); }});
    c.push_back({"batch_norm trained", {{193, 7}, {7}, {7}}, [](Arena& a, In x) {
        return batch_norm(x[0], x[1], x[2], running(a, 7, 0.3, x[0].dtype()), running(a, 7, 1.7, x[0].dtype()), true);
    }, 193, 2});  // gradients pass two means
    c.push_back({"batch_norm frozen", {{35, 31}, {31}, {31}}, [](Arena& a, In x) {
        return batch_norm(x[0], x[1], x[2], running(a, 31, 0.3, x[0].dtype()), running(a, 31, 1.7, x[0].dtype()), false);
    }, 35, 2});
    c.push_back({"relu", {{5, 33}}, [](Arena&, In x) { return relu(x[0]); }});
    c.push_back({"avg_pool", {{2 * 6 * 4, 5}}, [](Arena&, In x) { return avg_pool(x[0], 6, 4, 2); }});
    c.push_back({"avg_pool that drops an edge", {{2 * 7 * 5, 3}}, [](Arena&, In x) { return avg_pool(x[0], 7, 5, 2); }});
    c.push_back({"add_mean_and_positions", {{14, 5}, {8, 5}}, [](Arena&, In x) { return add_mean_and_positions(x[0], x[1]); }});
    c.push_back({"attend", {{2, 8}, {11, 8}, {11, 8}}, [](Arena& a, In x) { return attend(x[0], x[1], x[2], packed_seqs(a, {1, 1}), packed_seqs(a, {4, 7}), 2); }, 16, 4});
}

double linear_flops(double n, double c, double o) { return 2 * n * c * o; }

}  // namespace

std::vector<Case> all_cases() {
    std::vector<Case> c;
    add_elementwise(c);
    add_matrix(c);
    add_sequences(c);
    add_blocks(c);
    add_heads(c);
    add_vision(c);
    return c;
}

// Shapes of ViT-B/16 at 384x128 (batch 8) and of the demo preset (batch 64).
std::vector<Case> bench_cases() {
    std::vector<Case> c;
    for (const std::int64_t n : {1544, 4672}) {
        const std::int64_t w = n == 1544 ? 768 : 128, h = w / 64, len = n == 1544 ? 193 : 73;
        const std::string at = " " + std::to_string(n) + "x" + std::to_string(w);
        c.push_back({"linear" + at, {{n, w}, {3 * w, w}, {3 * w}}, [](Arena&, In x) { return linear(x[0], x[1], x[2]); }, 16, 1, linear_flops(n, w, 3 * w)});
        c.push_back({"mlp" + at, {{n, w}, {4 * w, w}, {4 * w}, {w, 4 * w}, {w}}, [](Arena&, In x) { return mlp(x[0], x[1], x[2], x[3], x[4]); }, 16, 1, 2 * linear_flops(n, w, 4 * w)});
        c.push_back({"layer_norm" + at, {{n, w}, {w}, {w}}, [](Arena&, In x) { return layer_norm(x[0], x[1], x[2]); }, 16, 1, 8.0 * n * w});
        c.push_back({"add" + at, {{n, w}, {n, w}}, [](Arena&, In x) { return add(x[0], x[1]); }, 16, 1, 1.0 * n * w});
        c.push_back({"quick_gelu" + at, {{n, 4 * w}}, [](Arena&, In x) { return quick_gelu(x[0]); }, 16, 1, 16.0 * n * w});
        c.push_back({"self_attention" + at, {{n, 3 * w}}, [=](Arena& a, In x) { return self_attention(x[0], uniform_seqs(a, int(n / len), int(len)), int(h), false); }, 16, 1, 4.0 * n * len * w});
        c.push_back({"l2_normalize" + at, {{n, w}}, [](Arena&, In x) { return l2_normalize(x[0]); }, 16, 1, 3.0 * n * w});
        c.push_back({"segment_max" + at, {{n, w}}, [=](Arena& a, In x) { return segment_max(x[0], uniform_seqs(a, int(n / len), int(len))); }, 16, 1, 1.0 * n * w});
    }
    c.push_back({"focus 4096 pairs", {{4096, 128}, {4096 * 5, 128}}, [](Arena& a, In x) { return focus(x[0], x[1], uniform_seqs(a, 4096, 5), Similarity::dot, WeightNorm::softmax); }, 16, 1, 4.0 * 4096 * 5 * 128});
    c.push_back({"matching_loss 64", {{64, 64}}, [](Arena& a, In x) { return matching_loss(x[0], match_table(a, 64, 64), 50.0); }, 16, 1, 8.0 * 64 * 64});
    return c;
}

}  // namespace eng
