// Weights of other programs: one small CLIP in every layout that people have (tests/data/weights, written by
// tests/reference/make_checkpoints.py), and files that are wrong in every way that we could think of.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "engine/io/pickle.h"
#include "engine/io/safetensors.h"
#include "model/clip.h"
#include "model/import.h"
#include "tests/errors.h"
#include "tests/toy_set.h"

namespace {

using eng::test::error_of;

using namespace scvd;
using eng::TensorFile;
const std::string weights = SCVD_TEST_DATA "/weights/";

// The encoders of the files, declared only.
struct Encoders {
    eng::Arena arena;
    ParamStore params{arena, eng::DType::f32};
    ModelConfig config;
    explicit Encoders(int height = 12, int width = 12) {
        config.image = {height, width, 4, 4, 8, 2, 2};
        config.text = {8, 2, 2, 10, 40};
        config.embed = 6;
        Declare d{params, ParamGroup::clip};
        make_image_encoder(d, config);
        TextEncoder text(d, config);
    }
    Import from(const TensorFile& f, const ImportOptions& o = {}) const { return Import(f, params, config.grid(), o); }
};

std::vector<float> values(const Import& import, const Param& p) {
    std::vector<float> v(std::size_t(p.shape.numel()));
    const std::size_t half = v.size() / 2;  // two reads: a block may begin anywhere
    import.read(p, 0, std::span(v).first(half));
    import.read(p, std::int64_t(half), std::span(v).subspan(half));
    return v;
}

TEST(Import, EveryLayoutGivesTheSameBits) {
    const Encoders e;
    const auto truth_file = TensorFile::open(weights + "truth.safetensors");
    const Import truth = e.from(truth_file);
    const struct { const char *file, *container, *naming; } layouts[] = {
        {"openai.pt", "TorchScript archive", "names of OpenAI's CLIP"}, {"state.pth", "PyTorch zip archive", "names of OpenAI's CLIP"},
        {"legacy.pth", "PyTorch pickle from before 2020", "names of OpenAI's CLIP"}, {"strided.pth", "PyTorch zip archive", "names of OpenAI's CLIP"},
        {"irra.pth", "PyTorch zip archive", "names of OpenAI's CLIP behind \"model.base_model.\""},
        {"parallel.pth", "PyTorch zip archive", "names of OpenAI's CLIP behind \"module.base_model.\""},
        {"tbps.pth", "PyTorch zip archive", "names of OpenAI's CLIP behind \"model.\", text behind \"model.encode_text.\""},
        {"nested.safetensors", "safetensors", "names of OpenAI's CLIP behind \"model.\""},
        {"hf.safetensors", "safetensors", "names of Hugging Face's CLIPModel"},
        {"sharded/model.safetensors.index.json", "safetensors in shards", "names of Hugging Face's CLIPModel"}};
    for (const auto& l : layouts) {
        SCOPED_TRACE(l.file);
        const auto file = TensorFile::open(weights + l.file);
        const Import import = e.from(file);
        EXPECT_EQ(import.report().container, l.container);
        EXPECT_EQ(import.report().naming, l.naming);
        EXPECT_EQ(import.report().matched, int(e.params.all().size()));
        EXPECT_TRUE(import.report().missing.empty());
        EXPECT_TRUE(import.report().resized.empty()) << "a table that fits is not touched";
        for (const Param& p : e.params.all()) EXPECT_EQ(values(import, p), values(truth, p)) << p.name;
    }
}

TEST(Import, HalvesBecomeFloats) {
    const Encoders e;
    const auto truth_file = TensorFile::open(weights + "truth.safetensors");
    const Import truth = e.from(truth_file);
    for (const auto& [name, unit] : {std::pair("half.pth", 1.0 / 2048), {"bfloat.pth", 1.0 / 256}}) {
        const auto file = TensorFile::open(weights + name);
        const Import import = e.from(file);
        for (const Param& p : e.params.all()) {
            const auto got = values(import, p), want = values(truth, p);
            for (std::size_t i = 0; i < got.size(); ++i)  // half an ulp of the short format; 2^-25: fp16's subnormals
                ASSERT_LE(std::fabs(got[i] - want[i]), unit * std::fabs(want[i]) + 3e-8) << name << " " << p.name;
        }
    }
}

TEST(Import, LeftOversAreNamedAndOptimizersDoNoHarm) {
    const Encoders e;
    const auto file = TensorFile::open(weights + "irra.pth");
    const Import import = e.from(file);
    const auto& left = import.report().left_over;
    EXPECT_NE(std::find(left.begin(), left.end(), "model.classifier.weight"), left.end());
    EXPECT_NE(std::find(left.begin(), left.end(), "optimizer.state.0.exp_avg"), left.end());
    EXPECT_MENTIONS(describe(import.report()), "model.classifier.weight");
    const auto openai = TensorFile::open(weights + "openai.pt");
    ASSERT_TRUE(e.from(openai).logit_scale());
    EXPECT_FLOAT_EQ(*e.from(openai).logit_scale(), 2.6593f);
}

TEST(Import, NewModulesMayBeMissingEncodersMayNot) {
    Encoders e;
    e.params.add("tvl.new.weight", {3, 3}, Init::identity(), ParamGroup::head, true);
    const auto file = TensorFile::open(weights + "state.pth");
    const Import import = e.from(file);
    ASSERT_EQ(import.report().missing.size(), 1u);
    EXPECT_EQ(import.report().missing[0].parameter, "tvl.new.weight");
    EXPECT_MENTIONS(describe(import.report()), "tvl.new.weight (set to the identity)");
    e.params.add("visual.extra.weight", {3, 3}, Init::ones(), ParamGroup::clip, true);
    EXPECT_MENTIONS(error_of([&] { e.from(file); }), "state.pth: lacks 1 tensors of CLIP's encoders, the first is \"visual.extra.weight\"");
}

TEST(Import, AnotherShapeIsAnErrorWithBoth) {
    Encoders e;
    e.params.find("ln_final.weight")->shape = {9};
    const auto file = TensorFile::open(weights + "state.pth");
    EXPECT_MENTIONS(error_of([&] { e.from(file); }), "\"ln_final.weight\" is [8], \"ln_final.weight\" of this model wants [9]");
}

TEST(Import, SizesAreReadOffTheTensors) {
    for (const char* name : {"openai.pt", "hf.safetensors", "tbps.pth"}) {
        const auto file = TensorFile::open(weights + name);
        const ModelConfig c = encoder_config(file, KeyMap::of(file), 12, 12);
        const std::vector<int> sizes{c.image.dim, c.image.layers, c.image.patch, c.text.dim, c.text.layers, c.text.context, c.text.vocab, c.embed};
        EXPECT_EQ(sizes, (std::vector<int>{8, 2, 4, 8, 2, 10, 40, 6})) << name;
    }
}

// 6 x 2 patches instead of 3 x 3: the table is resized, everything else stays.
TEST(Import, PositionTablesFollowThePictureSize) {
    const Encoders e(24, 8);
    const auto file = TensorFile::open(weights + "state.pth");
    const Import import = e.from(file);
    ASSERT_EQ(import.report().resized.size(), 1u);
    EXPECT_EQ(import.report().resized[0].from + " " + import.report().resized[0].to, "3x3 6x2");
    EXPECT_EQ(values(import, *const_cast<Encoders&>(e).params.find("visual.positional_embedding")).size(), 13u * 8);
}

// PyTorch's own results. A source position up to 14 is rounded to f32, 1e-6 apart, and neighbours differ by up to 6.
TEST(Positions, EqualPyTorch) {
    const auto file = eng::SafeTensors::open(weights + "positions.safetensors");
    const struct { const char* name; Grid from, to; } cases[] = {{"vit", {14, 14}, {24, 8}}, {"rn", {7, 7}, {12, 4}}, {"up", {3, 3}, {31, 10}}, {"down", {14, 14}, {5, 3}}};
    const auto read = [&](const std::string& name) {
        const auto& t = file.at(name);
        std::vector<float> v(std::size_t(t.count()));
        copy_as_float(t, v);
        return v;
    };
    for (const auto& c : cases)
        for (const auto how : {PositionResize::bilinear, PositionResize::bicubic_antialias}) {
            const auto want = read(std::string(c.name) + (how == PositionResize::bilinear ? ".bilinear" : ".bicubic_antialias"));
            const auto got = resize_positions(read(c.name), c.from, c.to, 3, how);
            ASSERT_EQ(got.size(), want.size());
            for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 6e-6) << c.name << " " << i;
        }
}

// ---- files that are wrong

struct BadFile : testing::Test {
    test::TempFolder folder;
    // Without a sync: there are thousands of these files.
    void write(const std::string& bytes) const { std::ofstream(folder / "bad.pth", std::ios::binary) << bytes; }
    std::string open(const std::string& bytes) const {
        write(bytes);
        return error_of([&] {
            const auto f = TensorFile::open(folder / "bad.pth");
            KeyMap::of(f);
        });
    }
};

std::string pickle_error(const std::string& bytes) {
    return error_of([&] { eng::Pickle(std::as_bytes(std::span(bytes)), "x.pkl"); });
}

TEST(Pickle, CodeIsRefusedByItsName) {
    EXPECT_MENTIONS(pickle_error("cos\nsystem\n(S'rm -rf /'\ntR."), "calls os.system, which files of weights have no need of; nothing was run");
    EXPECT_MENTIONS(pickle_error(std::string("\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.")), "calls posix.system");
    EXPECT_MENTIONS(pickle_error("cbuiltins\neval\n(S'1'\ntR."), "calls builtins.eval");
    EXPECT_MENTIONS(pickle_error("(S'id'\nios\nsystem\n."), "unknown opcode 105");  // INST, gone since protocol 0
    EXPECT_EQ(pickle_error("cos\nsystem\n."), "no error") << "a name alone does nothing";
}

TEST(Pickle, DamageIsNamed) {
    EXPECT_MENTIONS(pickle_error(""), "x.pkl: the pickle at byte 0 is cut short");
    EXPECT_MENTIONS(pickle_error("X\xff\xff\xff\x7fshort"), "is cut short: it wants 2147483647 bytes, 5 are left");
    EXPECT_MENTIONS(pickle_error("."), "takes a value from an empty stack");
    EXPECT_MENTIONS(pickle_error("(0t."), "looks for a mark");
    EXPECT_MENTIONS(pickle_error("h\x07."), "asks for memo 7");
    EXPECT_MENTIONS(pickle_error("}K\x01s."), "empty stack");
    EXPECT_MENTIONS(pickle_error("NNe."), "looks for a mark");
    EXPECT_MENTIONS(pickle_error("\x80\x09."), "protocol 9");
    EXPECT_MENTIONS(pickle_error(std::string(3'000'000, 'N')), "more values than any file of weights");
    std::string copies = "ccollections\nOrderedDict\nq\x01" "0](";  // a long list copied again and again
    copies += std::string(1'000'000, ']') + "e" "q\x02" "0";
    for (int i = 0; i < 100; ++i) copies += "h\x01h\x02\x85R0";
    EXPECT_MENTIONS(pickle_error(copies + "N."), "more values than any file of weights");
}

TEST(Pickle, NumbersAreReadInEveryForm) {
    const auto integer = [](const std::string& bytes) { return eng::Pickle(std::as_bytes(std::span(bytes)), "x").root().integer; };
    EXPECT_EQ(integer("I-7\n."), -7);
    EXPECT_EQ(integer("L99L\n."), 99);
    EXPECT_EQ(integer(std::string("J\xff\xff\xff\xff.")), -1);
    EXPECT_EQ(integer(std::string("\x8a\x01\x80.")), -128);
    EXPECT_EQ(integer(std::string("\x8a\x02\xff\x00.", 5)), 255);
    const std::string real("G\x3f\xf8\x00\x00\x00\x00\x00\x00.", 10);
    EXPECT_EQ(eng::Pickle(std::as_bytes(std::span(real)), "x").root().real, 1.5);
}

TEST_F(BadFile, EveryCutOfEveryFormatIsAnError) {
    for (const std::string name : {"openai.pt", "irra.pth", "legacy.pth", "hf.safetensors"}) {
        const std::string whole = eng::read_file(weights + name);
        for (std::size_t size = 0; size < whole.size(); size += size < 300 ? 1 : 577) {
            const std::string error = open(whole.substr(0, size));
            ASSERT_NE(error.find("bad.pth"), std::string::npos) << name << " cut to " << size << ": " << error;
        }
    }
}

// One flipped byte anywhere: an error that names the file, or weights that can be read; never a crash (sanitizers watch).
TEST_F(BadFile, AFlippedByteNeverCrashes) {
    const Encoders e;
    for (const std::string name : {"tbps.pth", "legacy.pth", "hf.safetensors"}) {
        const std::string whole = eng::read_file(weights + name);
        for (std::size_t at = 0; at < whole.size(); at += 97) {
            std::string bytes = whole;
            bytes[at] = char(bytes[at] ^ (1 << (at % 8)));
            write(bytes);
            const std::string error = error_of([&] {
                const auto f = TensorFile::open(folder / "bad.pth");
                const Import import = e.from(f);
                for (const Param& p : e.params.all()) values(import, p);
            });
            if (error != "no error") { ASSERT_NE(error.find("bad.pth"), std::string::npos) << error; }
        }
    }
}

TEST_F(BadFile, OtherFilesAreRefused) {
    const std::string refused = "bad.pth: is no file of weights";
    EXPECT_MENTIONS(open("hello"), refused);
    EXPECT_MENTIONS(open(""), refused);
    EXPECT_MENTIONS(open(std::string("\x89PNG\r\n\x1a\n") + std::string(100, 'x')), "is no file of weights");
    std::uint64_t huge = 10ull << 30;
    EXPECT_MENTIONS(open(std::string(reinterpret_cast<char*>(&huge), 8) + "{}"), "give a header of 10737418240 bytes");
    EXPECT_MENTIONS(open(R"({"weight_map": {"a": "../../etc/passwd"}})"), "the shard '../../etc/passwd' lies outside of its folder");
    EXPECT_MENTIONS(open(R"({"weight_map": {"a": 3}})"), "the shard of 'a' should be a file name");
    EXPECT_MENTIONS(open(R"({"something": "else"})"), "no index of safetensors shards");
}

TEST_F(BadFile, AStorageThatIsTooSmallIsAnError) {
    std::string bytes = eng::read_file(weights + "state.pth");
    // The shape of visual.conv1.weight, (8, 3, 4, 4), pickled as K\x08K\x03K\x04K\x04: 200 rows do not fit its storage.
    const auto at = bytes.find("K\x08K\x03K\x04K\x04");
    ASSERT_NE(at, std::string::npos);
    bytes[at + 1] = char(200);
    EXPECT_MENTIONS(open(bytes), "tensor 'visual.conv1.weight' F32 [200,3,4,4] with strides [48,16,4,1] at element 0 leaves its storage of 384 elements");
}

TEST_F(BadFile, OverlappingZipEntriesAreRefused) {
    std::string bytes = eng::read_file(weights + "state.pth");
    // Let a directory entry point at another entry's header: the classic bomb reads the same bytes many times.
    const auto first = bytes.find("PK\x01\x02"), second = bytes.find("PK\x01\x02", first + 4);
    bytes.replace(second + 42, 4, bytes.substr(first + 42, 4));
    bytes.replace(second + 20, 8, bytes.substr(first + 20, 8));
    EXPECT_MENTIONS(open(bytes), "overlaps");
}

TEST_F(BadFile, BrokenWeightsAreNamed) {
    const Encoders e;
    std::string bytes = eng::read_file(weights + "truth.safetensors");
    const auto at = bytes.size() - 4 * 5;  // some f32 of the last tensor
    for (const float bad : {std::nanf(""), INFINITY}) {
        std::memcpy(bytes.data() + at, &bad, 4);
        eng::write_file(folder / "nan.safetensors", bytes);
        const auto f = TensorFile::open(folder / "nan.safetensors");
        const Import import = e.from(f);
        const std::string error = error_of([&] {
            for (const Param& p : e.params.all()) values(import, p);
        });
        EXPECT_MENTIONS(error, "nan.safetensors: \"");
        EXPECT_MENTIONS(error, std::isnan(bad) ? "holds nan at element" : "holds inf at element");
    }
}

}  // namespace
