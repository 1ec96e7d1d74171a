// The attention kernels one by one, whichever of them cuda::attention_* would choose, forward and backward, against the
// CPU in f64 on the same rounded inputs. Tolerances as test_ops derives them, with the catalogue's factor for the chain
// scores -> softmax -> values. Linked once per build of the CUDA kernels, like test_parity.
#include <gtest/gtest.h>

#include "engine/transfer.h"
#include "ops/cuda/attention_kernels.h"
#include "ops/cuda/ragged.h"
#include "tests/check.h"

using namespace eng;
using namespace eng::test;
using cuda::AttentionKernel;

namespace {

const char* names[] = {"any", "tiled", "whole", "hopper", "pairs"};

struct Lists { std::vector<int> q_begin, q_len, k_begin, k_len; };

struct Trial {
    const char* name;
    Lists seqs;
    int heads, D;
    bool causal = false, shared = false;
    int spare = 0;  // rows of q and k that belong to no sequence
    Mode mode = Mode::write;
    int without = -1;  // the gradient that is skipped: 0 dq, 1 dk, 2 dv
};

Lists packed(std::vector<int> q, std::vector<int> k) {
    Lists l;
    int at = 0;
    for (const int n : q) l.q_begin.push_back(at), l.q_len.push_back(n), at += n;
    at = 0;
    for (const int n : k) l.k_begin.push_back(at), l.k_len.push_back(n), at += n;
    return l;
}
Lists self(std::vector<int> lens) { return packed(lens, lens); }
Lists paired(const Lists& of, const std::vector<int>& q, const std::vector<int>& k) {
    Lists l;
    for (std::size_t i = 0; i < q.size(); ++i) {
        l.q_begin.push_back(of.q_begin[q[i]]), l.q_len.push_back(of.q_len[q[i]]);
        l.k_begin.push_back(of.k_begin[k[i]]), l.k_len.push_back(of.k_len[k[i]]);
    }
    return l;
}
int end_of(const std::vector<int>& begin, const std::vector<int>& len) {
    int end = 0;
    for (std::size_t i = 0; i < begin.size(); ++i) end = std::max(end, begin[i] + len[i]);
    return end;
}

// All tensors of one attention call, on one device and in one dtype, with values from `seed`; q, k, v and their gradients
// share one pitched matrix each, as the layers have them.
struct Call {
    int C, q_rows, k_rows, o_rows = 0;
    Tensor q_begin, q_len, o_begin, k_begin, k_len, qkv, y, lse, dy, dqkv;
    AttentionSeqs seqs;
    const Trial& t;

    Call(Arena& arena, const Trial& t, DType type, DType values) : C(t.heads * t.D), t(t) {
        q_rows = end_of(t.seqs.q_begin, t.seqs.q_len) + t.spare, k_rows = end_of(t.seqs.k_begin, t.seqs.k_len) + t.spare;
        std::vector<std::int32_t> o;
        for (const int n : t.seqs.q_len) o.push_back(o_rows), o_rows += n;
        const auto list = [&](const std::vector<int>& v) { return upload<std::int32_t>(arena, {std::int64_t(v.size())}, v); };
        q_begin = list(t.seqs.q_begin), q_len = list(t.seqs.q_len), o_begin = list(o), k_begin = list(t.seqs.k_begin), k_len = list(t.seqs.k_len);
        seqs = {in(q_begin), in(q_len), in(o_begin), in(k_begin), in(k_len), t.shared, 0, 0, 0};
        for (std::size_t i = 0; i < t.seqs.q_len.size(); ++i) {
            seqs.max_q = std::max(seqs.max_q, t.seqs.q_len[i]), seqs.max_k = std::max(seqs.max_k, t.seqs.k_len[i]);
            seqs.k_rows += t.seqs.k_len[i];
        }
        const int rows = std::max(q_rows, k_rows);
        qkv = make(arena, {rows, 3 * C}, type, values, 1), dy = make(arena, {o_rows, C}, type, values, 2);
        dqkv = make(arena, {rows, 3 * C}, type, values, 3);
        y = Tensor(arena, {o_rows, C}, type), lse = Tensor(arena, {o_rows, t.heads}, stats_dtype(type));
    }
    static Tensor make(Arena& arena, Shape s, DType type, DType values, unsigned seed) {
        Tensor x(arena, s, type);
        std::mt19937 g(seed);
        std::normal_distribution<float> n;
        std::vector<double> v(std::size_t(s.numel()));
        for (double& e : v) e = values == DType::bf16 ? double(float(bf16(n(g)))) : double(n(g));
        dispatch_float(type, "make", [&](auto tag) {
            std::vector<decltype(tag)> bytes;
            for (const double e : v) bytes.push_back(decltype(tag)(e));
            write_host(x, bytes.data());
        });
        return x;
    }
    View part(const Tensor& m, int which, int rows) const {
        View v = columns(in(m), which * C, C);
        v.rows = rows;
        return v;
    }
    double scale() const { return 1 / std::sqrt(double(t.D)); }
    AttentionFwd forward() const { return {part(qkv, 0, q_rows), part(qkv, 1, k_rows), part(qkv, 2, k_rows), seqs, out(y), out(lse), t.heads, scale(), t.causal}; }
    Out gradient(int which, int rows) const { return {part(dqkv, which, rows), which == t.without ? Mode::skip : t.mode}; }
    AttentionBwd backward() const {
        return {in(dy), part(qkv, 0, q_rows), part(qkv, 1, k_rows), part(qkv, 2, k_rows), in(y), in(lse), seqs,
                gradient(0, q_rows), gradient(1, k_rows), gradient(2, k_rows), t.heads, scale(), t.causal};
    }
};

class Attention : public testing::Test {
protected:
    Arena host{std::size_t(1) << 32}, device{std::size_t(1) << 32, Device::cuda, true};  // red zones and NaN-filled fresh memory

    static double size(const std::vector<double>& v) {
        double m = 1e-3;
        for (const double x : v) m = std::fmax(m, std::fabs(x));
        return m;
    }
    static void compare(const std::vector<double>& got, const std::vector<double>& want, double tolerance, const std::string& what, double scale = 0) {
        double worst = 0;
        for (std::size_t i = 0; i < want.size(); ++i) {
            const double d = std::fabs(got[i] - want[i]);
            worst = std::isnan(d) ? INFINITY : std::fmax(worst, d);
        }
        EXPECT_LE(worst, tolerance * (scale ? scale : size(want))) << what;
    }

    void expect(const Trial& t, AttentionKernel kernel, DType type) {
        const Call truth(host, t, DType::f64, type), here(device, t, type, type), twice(device, t, type, type);
        const std::string what = std::string(t.name) + ", " + names[int(kernel)] + " " + name_of(type);
        cpu::attention_forward(truth.forward()), cpu::attention_backward(truth.backward());
        for (const Call* c : {&here, &twice}) {
            // pairs is a backward kernel, whole heads' backward leaves shared rows to others
            const auto there = can_run(kernel, c->forward()) ? kernel : can_run(AttentionKernel::whole, c->forward()) ? AttentionKernel::whole : AttentionKernel::tiled;
            const auto back = can_run(kernel, c->backward()) ? kernel : AttentionKernel::tiled;
            EXPECT_TRUE(there == kernel || kernel == AttentionKernel::pairs) << what;
            EXPECT_TRUE(back == kernel || t.shared) << what;
            cuda::run_attention_kernel(there, c->forward());
            cuda::run_attention_kernel(back, c->backward());
        }
        const double depth = std::max(here.seqs.max_k, here.seqs.max_q) * (t.shared ? double(t.seqs.q_len.size()) : 1);
        const double u = type == DType::bf16 ? 1.0 / 256 : 1.0 / (1 << 24), tolerance = 4 * (2 * u + 8 * std::sqrt(depth) / (1 << 24));
        compare(download_wide(here.y), download_wide(truth.y), tolerance, what + ": y");
        compare(download_wide(here.lse), download_wide(truth.lse), tolerance, what + ": lse");
        const auto got = download_wide(here.dqkv), want = download_wide(truth.dqkv);
        // dq and dk are sums of differences p (dp - delta), which can cancel: the terms are as large as those of dv
        const char* parts[] = {": dq", ": dk", ": dv"};
        for (int p = 0; p < 3; ++p) {
            std::vector<double> g, w;
            for (std::size_t i = 0; i < want.size(); ++i)
                if (int(i) % (3 * here.C) / here.C == p) g.push_back(got[i]), w.push_back(want[i]);
            compare(g, w, tolerance, what + parts[p], size(want));
        }
        for (const auto& [a, b] : {std::pair{here.y, twice.y}, {here.dqkv, twice.dqkv}})
            EXPECT_EQ(download_wide(a), download_wide(b)) << what << ": two runs differ";
    }
    void everywhere(const Trial& t) {
        const auto most = [](const std::vector<int>& v) { return *std::max_element(v.begin(), v.end()); };
        const int longest = std::max(most(t.seqs.q_len), most(t.seqs.k_len));
        if (longest <= 40) expect(t, AttentionKernel::any, DType::f32);  // the fallback is slow, and the same for every tile
        if (t.D != 64 && t.heads > 1) expect(t, AttentionKernel::any, DType::bf16);
        if (t.D != 64) return;
        expect(t, AttentionKernel::tiled, DType::bf16);
        expect(t, AttentionKernel::whole, DType::bf16);
        if (!t.causal && std::min(most(t.seqs.q_len), most(t.seqs.k_len)) > 80) by_tiles(t);
        if (t.shared && !t.causal && most(t.seqs.q_len) <= 16) expect(t, AttentionKernel::pairs, DType::bf16);
    }
    void by_tiles(const Trial& t) {
        if (can_run(AttentionKernel::hopper, Call(device, {"", self({128}), 1, 64}, DType::bf16, DType::bf16).forward())) expect(t, AttentionKernel::hopper, DType::bf16);
    }
    void by_pairs(const Trial& t) { expect(t, AttentionKernel::pairs, DType::bf16); }
};

TEST_F(Attention, OneSequenceOfAnyLength) {
    for (const int n : {1, 3, 16, 31, 64, 65, 193})
        for (const bool causal : {false, true}) everywhere({"self", self({n}), 1, 64, causal});
}
TEST_F(Attention, LongSequences) {
    for (const bool causal : {false, true}) {
        const Trial t{"long", self({300}), 1, 64, causal};
        expect(t, AttentionKernel::tiled, DType::bf16);
        const Call c(device, t, DType::bf16, DType::bf16);
        EXPECT_FALSE(can_run(AttentionKernel::whole, c.forward())) << "300 rows do not fit";
    }
    everywhere({"256 keys", self({256}), 1, 64});
}
// Tiles of 64 rows with 17 to 64 in the last, none to 16 rows left over, none to 63 columns: each side has its own.
TEST_F(Attention, TilesAndWhatIsLeft) {
    for (const int n : {81, 127, 128, 144, 145, 208, 209}) by_tiles({"self", self({n}), 1, 64});
    by_tiles({"ragged", self({193, 63, 1, 64, 100, 17}), 3, 64});
    by_tiles({"cross", packed({100, 130, 200, 5, 256, 90}, {193, 90, 20, 90, 80, 161}), 2, 64});
    Lists gaps;
    gaps.q_begin = {2, 90}, gaps.q_len = {85, 65}, gaps.k_begin = {1, 150}, gaps.k_len = {140, 64};
    for (const Mode mode : {Mode::write, Mode::accumulate})
        for (int without = -1; without < 3; ++without) by_tiles({"gaps", gaps, 2, 64, false, false, 3, mode, without});
    by_tiles({"none", self({90}), 1, 64, false, false, 0, Mode::skip});
}
TEST_F(Attention, RaggedBatches) {
    everywhere({"ragged", self({5, 1, 27, 17, 77}), 3, 64});
    everywhere({"ragged causal", self({5, 1, 27, 17, 77}), 2, 64, true});
    everywhere({"short", self({5, 1, 16}), 2, 64});
    everywhere({"short causal", self({5, 1, 16}), 2, 64, true});
    everywhere({"cross", packed({5, 3, 40}, {67, 12, 1}), 2, 64});
    everywhere({"many heads", self({7, 9}), 12, 64});
}
TEST_F(Attention, AnyHeadWidth) {
    for (const int D : {1, 5, 8, 24, 32, 128})
        for (const int heads : {1, 3}) everywhere({"width", self({9, 34}), heads, D, heads == 3});
}
TEST_F(Attention, GradientsAreAddedWhereTheModeSaysSo) {
    everywhere({"accumulate", self({33, 5}), 2, 64, false, false, 0, Mode::accumulate});
    everywhere({"accumulate, shared", paired(packed({5, 3}, {40, 9}), {0, 1, 0, 1}, {0, 0, 1, 1}), 2, 64, false, true, 0, Mode::accumulate});
    everywhere({"skip", self({33}), 1, 64, false, false, 0, Mode::skip});
}
TEST_F(Attention, RowsOutsideOfSequencesGetNoGradient) {
    Lists gaps;
    gaps.q_begin = {2, 30}, gaps.q_len = {17, 20}, gaps.k_begin = {1, 50}, gaps.k_len = {40, 7};
    everywhere({"gaps", gaps, 2, 64, false, false, 3});
    everywhere({"gaps, shared", gaps, 2, 64, false, true, 3});
}
TEST_F(Attention, SharedRowsSumOverTheirSequences) {
    const Lists sides = packed({5, 70, 2}, {33, 1, 80});
    everywhere({"all pairs", paired(sides, {0, 1, 2, 0, 1, 2, 0, 1, 2}, {0, 0, 0, 1, 1, 1, 2, 2, 2}), 2, 64, false, true});
    Lists overlap;  // sequences that share a part of their rows, and causal
    overlap.q_begin = {0, 10, 3}, overlap.q_len = {20, 61, 70}, overlap.k_begin = {5, 0, 9}, overlap.k_len = {66, 70, 70};
    everywhere({"overlap", overlap, 1, 64, false, true});
    everywhere({"overlap causal", overlap, 1, 64, true, true});
    const Trial narrow{"all pairs, narrow", paired(sides, {0, 1, 2, 1}, {0, 0, 1, 2}), 2, 8, false, true};
    expect(narrow, AttentionKernel::any, DType::f32);
}
TEST_F(Attention, MoreSequencesThanThreads) {
    std::vector<int> q, k;
    for (int i = 0; i < 300; ++i) q.push_back(i * 7 % 3), k.push_back(i % 2);
    by_pairs({"300 pairs by their kernel", paired(packed({2, 1, 3}, {3, 17}), q, k), 1, 64, false, true});
    everywhere({"300 pairs", paired(packed({2, 1, 3}, {3, 17}), q, k), 1, 64, false, true});
    everywhere({"300 pairs, narrow", paired(packed({2, 1, 3}, {3, 17}), q, k), 1, 8, false, true});
    // The owner of the last pair's rows has nothing to visit, and so no barrier, in the stretches before.
    Lists far;
    far.q_begin.assign(299, 0), far.k_begin.assign(299, 0), far.q_begin.push_back(70), far.k_begin.push_back(70);
    far.q_len.assign(300, 2), far.k_len.assign(300, 3);
    everywhere({"the last of 300 pairs elsewhere", far, 1, 64, false, true});
    everywhere({"the last of 300 pairs elsewhere, narrow", far, 1, 8, false, true});
}

// Images of `n` rows, the first `gap` of which belong to no sequence, and texts of these lengths, all meeting within groups.
Lists grouped(int images, int gap, int n, std::vector<int> texts, int group) {
    std::vector<int> begin, image, text;
    for (int i = 0; i < images; ++i) begin.push_back(i * (gap + n) + gap);
    Lists l = packed(texts, std::vector<int>(std::size_t(images), n));
    l.k_begin = begin;
    for (int i = 0; i < images; ++i)
        for (int j = 0; j < int(texts.size()); ++j)
            if (i / group == j / group) image.push_back(i), text.push_back(j);
    return paired(l, text, image);
}
TEST_F(Attention, ImagesMeetTheTextsOfTheirGroup) {
    by_pairs({"192 rows", grouped(3, 0, 192, {6, 1, 8}, 2), 2, 64, false, true});
    by_pairs({"192 rows of 193", grouped(3, 1, 192, {8, 6, 4}, 3), 1, 64, false, true});
    by_pairs({"129 rows", grouped(2, 0, 129, {8, 5}, 2), 1, 64, false, true});  // with what a block has of its own just above 48 KB
    by_pairs({"128 rows, more than 8 prompts", grouped(2, 0, 128, {9, 16}, 2), 1, 64, false, true});
    by_pairs({"more than 8 prompts", grouped(2, 1, 192, {16, 9}, 2), 1, 64, false, true});
    by_pairs({"many heads", grouped(3, 0, 20, {3, 1, 7}, 3), 12, 64, false, true});
    by_pairs({"short and odd", grouped(5, 2, 17, {1, 13, 5, 2, 16}, 5), 2, 64, false, true, 1});
    by_pairs({"one row", grouped(3, 0, 1, {1, 1, 1}, 2), 1, 64, false, true});
}
TEST_F(Attention, LongSidesOfSeveralOwners) {
    by_pairs({"257 rows", grouped(2, 0, 257, {6, 3}, 2), 2, 64, false, true});
    by_pairs({"500 rows", grouped(1, 3, 500, {7, 12}, 2), 1, 64, false, true, 1});
    Lists l;  // 211 rows, a prime: owners cut through sequences, some of which have two of a row's partial sums
    l.q_begin = {0, 2, 1, 0, 2}, l.q_len = {5, 6, 2, 8, 3}, l.k_begin = {0, 150, 185, 100, 191}, l.k_len = {40, 50, 20, 110, 3};
    by_pairs({"cut anywhere", l, 2, 64, false, true, 1});
}
TEST_F(Attention, PairsHonourTheModeOfEachGradient) {
    for (const Mode mode : {Mode::write, Mode::accumulate})
        for (int without = -1; without < 3; ++without)
            by_pairs({"without one", grouped(2, 1, 33, {6, 3}, 2), 2, 64, false, true, 2, mode, without});
    by_pairs({"none", grouped(2, 1, 33, {6, 3}, 2), 1, 64, false, true, 0, Mode::skip});
}

// What else lies in a batch must not matter, to the bit; neither with one kernel nor with the ones that are chosen for the batch.
TEST_F(Attention, PackedEqualsOneByOne) {
    const auto expect_equal = [&](int n, const char* what, auto&& forward, auto&& backward) {
        const Trial alone{"alone", self({n}), 1, 64}, batch{"batch", self({n, 193, 3}), 1, 64};
        const Call a(device, alone, DType::bf16, DType::bf16), b(device, batch, DType::bf16, DType::bf16);
        for (const Call* c : {&a, &b}) forward(c->forward()), backward(c->backward());
        EXPECT_EQ(download_wide(a.y), download_wide(b.y.slice(0, n))) << n << " rows, " << what;
        EXPECT_EQ(download_wide(a.dqkv), download_wide(b.dqkv.slice(0, n))) << n << " rows, " << what;
    };
    for (const int n : {19, 80, 81}) {
        for (const auto kernel : {AttentionKernel::any, AttentionKernel::tiled, AttentionKernel::whole}) {
            const auto run = [&](const auto& a) { run_attention_kernel(kernel, a); };
            expect_equal(n, names[int(kernel)], run, run);
        }
        expect_equal(n, "chosen", cuda::attention_forward, cuda::attention_backward);
    }
}

TEST_F(Attention, MapIsTheMeanProbability) {
    for (const DType type : {DType::f32, DType::bf16}) {
        const Trial t{"map", packed({5, 2}, {150, 9}), 3, 8};
        const Call truth(host, t, DType::f64, type), here(device, t, type, type);
        const Tensor want(host, {7, 150}, DType::f64), got(device, {7, 150}, DType::f32);
        cpu::attention_map({truth.forward().q, truth.forward().k, truth.seqs, out(want), 3, truth.scale()});
        cuda::attention_map({here.forward().q, here.forward().k, here.seqs, out(got), 3, here.scale()});
        compare(download_wide(got), download_wide(want), 4 * (2 + 8 * std::sqrt(150.0)) / (1 << 24), name_of(type));
    }
}

// What cuDNN is told of packed sequences.
TEST_F(Attention, RaggedOffsetsCountElements) {
    const Tensor begin = indices(device, {0, 5, 6, 11}), len = indices(device, {5, 1, 4, 2}), offsets = indices(device, {9, 9, 9, 9, 9});
    cuda::ragged_offsets(in(begin), in(len), 24, offsets.as<std::int32_t>());
    std::vector<std::int32_t> got(5);
    read_host(offsets, got.data());
    EXPECT_EQ(got, (std::vector<std::int32_t>{0, 120, 144, 264, 312}));
}

}  // namespace
