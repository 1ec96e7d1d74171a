// What is exported comes back with the same bits, and checkpoints of other programs run end to end. That the other programs
// open it is checked by tests/reference/check_export.py, which needs them.
#include <gtest/gtest.h>

#include "engine/io/json.h"
#include "engine/transfer.h"
#include "tests/errors.h"
#include "train/checkpoint.h"
#include "train/export.h"
#include "tests/toy_set.h"

namespace {

using eng::test::error_of;

using namespace scvd;
using test::TempFolder;

Config small(int height, int width) {
    Config c;
    c.model.image = {height, width, 4, 4, 8, 2, 2};
    c.model.text.dim = 8, c.model.text.layers = 2, c.model.text.heads = 2;
    c.model.embed = 6;
    return c;
}

struct Made {
    TempFolder folder;
    Config config;
    eng::Arena arena;
    Scvd model;
    std::string checkpoint = folder / "run.safetensors";
    Made(int height, int width) : config(small(height, width)), model(config.model, arena, 7) { save_checkpoint(checkpoint, config, model, nullptr, {}); }
};

void expect_same_encoders(const Made& made, const std::string& file) {
    eng::Arena arena;
    Scvd other(made.config.model, arena, 8);
    const Loaded loaded = load_weights(file, other);
    EXPECT_TRUE(loaded.foreign);
    if (!loaded.report.missing.empty()) { EXPECT_EQ(loaded.state.lambda, 1) << "the pair stage has no weights"; }
    auto a = const_cast<Scvd&>(made.model).params().all().begin();
    for (const auto& p : other.params().all()) {
        if (p.group == ParamGroup::clip) { EXPECT_EQ(eng::download<float>(p.master), eng::download<float>(a->master)) << p.name; }
        ++a;
    }
}

TEST(Export, RoundTripsKeepEveryBit) {
    const Made made(24, 8);  // 6x2 patches: a table of 6x6 for Hugging Face
    for (const auto& [format, file] : {std::pair<std::string, std::string>{"hf", "model.safetensors"}, {"openclip", "open_clip_model.safetensors"}, {"scvd", "model.safetensors"}}) {
        SCOPED_TRACE(format);
        export_weights({made.checkpoint, made.folder / format, format, ""});
        expect_same_encoders(made, made.folder / (format + "/" + file));
    }
    const auto config = eng::parse_json(eng::read_file(made.folder / "hf/config.json"));
    EXPECT_EQ(config["vision_config"]["image_size"], 24);
    EXPECT_EQ(eng::TensorFile::open(made.folder / "hf/model.safetensors").find("vision_model.embeddings.position_embedding.weight")->shape[0], 37);
}

TEST(Export, TheVocabularyIsWritten) {
    const Made made(8, 8);
    export_weights({made.checkpoint, made.folder / "hf", "hf", ""});
    const auto vocabulary = eng::parse_json(eng::read_file(made.folder / "hf/vocab.json"));
    EXPECT_EQ(vocabulary.size(), 49408u);
    EXPECT_EQ(vocabulary["cat</w>"], 2368);
    EXPECT_EQ(vocabulary["<|endoftext|>"], 49407);
    const std::string merges = eng::read_file(made.folder / "hf/merges.txt");
    EXPECT_EQ(merges.substr(0, 28), "#version: 0.2\ni n\nt h\na n\nr ");
    EXPECT_EQ(std::count(merges.begin(), merges.end(), '\n'), 48895);
}

TEST(Export, WhatAFormatCannotSayIsAnError) {
    const Made even(16, 8);  // 4x2: the middle of two columns is neither
    EXPECT_MENTIONS(error_of([&] { export_weights({even.checkpoint, even.folder / "hf", "hf", ""}); }), "a grid of 4x2 patches");
    EXPECT_FALSE(std::filesystem::exists(even.folder / "hf"));
    std::filesystem::create_directories(even.folder / "full/x");
    EXPECT_MENTIONS(error_of([&] { export_weights({even.checkpoint, even.folder / "full", "scvd", ""}); }), "is not empty");
}

TEST(Import, AFileOfAnotherProgramIsACheckpoint) {
    const Made made(8, 8);
    export_weights({made.checkpoint, made.folder / "hf", "hf", ""});
    const std::string foreign = made.folder / "hf/model.safetensors";
    const Config c = checkpoint_config(foreign);
    EXPECT_EQ(c.model.image.dim, 8);
    EXPECT_EQ(c.model.image.height, 384);
    EXPECT_EQ(c.model.loss.pair, "none");
    const Import::Report r = import_weights(foreign, made.folder / "in.safetensors", made.config);
    EXPECT_EQ(r.left_over, (std::vector<std::string>{}));
    expect_same_encoders(made, made.folder / "in.safetensors");
    const auto bits = eng::TensorFile::open(made.folder / "in.safetensors").find("logit_scale");
    EXPECT_TRUE(bits);
}

TEST(Import, ARunsOwnCheckpointMustBeWhole) {
    const Made made(8, 8);
    Config with_classes = made.config;
    with_classes.model.classes = 3;
    eng::Arena arena;
    Scvd other(with_classes.model, arena, 1);
    EXPECT_MENTIONS(error_of([&] { load_weights(made.checkpoint, other); }), "has no \"classifier.weight\", which this model needs");
}

}  // namespace
