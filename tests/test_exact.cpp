// Our encoders against OpenAI's own model code, run by PyTorch in f64 at small widths (tests/reference/make_encoders.py):
// every output and the gradient of a CLIP loss with respect to every parameter. At full size the same is checked by
// tests/reference/check_encoders.py, which needs PyTorch.
#include <gtest/gtest.h>

#include "engine/transfer.h"
#include "model/clip.h"
#include "model/import.h"
#include "model/losses.h"
#include "tests/check.h"

namespace {

using namespace scvd;

struct Golden {
    eng::TensorFile file;
    ModelConfig config;
    eng::Arena arena;
    ParamStore params;
    std::unique_ptr<ImageEncoder> image;
    std::unique_ptr<TextEncoder> text;

    Golden(const std::string& name, const std::string& dtype)
        : file(eng::TensorFile::open(SCVD_TEST_DATA "/weights/encoders_" + name + ".safetensors")), config(config_of(dtype)), params(arena, dtype_named(dtype)) {
        const Declare d{params, ParamGroup::clip};
        image = make_image_encoder(d, config);
        text = std::make_unique<TextEncoder>(d, config);
        params.finalize(1);
        const Import import(file, params, config.grid());
        for (auto& p : params.all()) {
            std::vector<float> v(std::size_t(p.shape.numel()));
            import.read(p, 0, v);
            if (p.master.dtype() == eng::DType::f64) eng::write_host(p.master, std::vector<double>(v.begin(), v.end()).data());
            else eng::write_host(p.master, v.data());
        }
        params.refresh_compute();
    }
    ModelConfig config_of(const std::string& dtype) const {
        ModelConfig c = encoder_config(file, KeyMap::of(file), 64, 64);
        c.text.heads = 2, c.dtype = dtype;  // narrower than 64 a head: not to be read off the tensors
        return c;
    }
    Tensor pixels() {
        const auto* t = file.find("pixels");
        Tensor p(arena, {t->shape[0], t->shape[1], t->shape[2], 3}, eng::DType::u8);
        eng::write_host(p, t->data);
        return p;
    }
    TextBatch texts() {
        const std::vector<std::vector<std::int32_t>> ids{{38, 5, 9, 2, 39}, {38, 7, 39}, {38, 1, 1, 30, 12, 3, 39}};
        std::vector<std::int32_t> packed, positions, lens, eot, own;
        for (const auto& t : ids) {
            for (std::size_t i = 0; i < t.size(); ++i) packed.push_back(t[i]), positions.push_back(std::int32_t(i));
            lens.push_back(std::int32_t(t.size())), eot.push_back(std::int32_t(packed.size()) - 1), own.push_back(std::int32_t(own.size()));
        }
        TextBatch b;
        b.ids = eng::indices(arena, packed), b.positions = eng::indices(arena, positions), b.seqs = eng::packed_seqs(arena, lens);
        b.eot = eng::indices(arena, eot), b.captions = 3, b.prompt_text = eng::indices(arena, own), b.prompts = eng::packed_seqs(arena, {1, 1, 1});
        return b;
    }
    // |got - want| / |want| over all elements.
    double off(const std::vector<double>& got, const std::string& name) const {
        const auto* t = file.find(name);
        double d = 0, n = 0;
        EXPECT_EQ(std::size_t(t->count()), got.size()) << name;
        for (std::size_t i = 0; i < got.size(); ++i) {
            double want = 0;
            if (t->dtype == "F64") std::memcpy(&want, t->data + 8 * i, 8);
            else {
                float f = 0;
                std::memcpy(&f, t->data + 4 * i, 4);
                want = f;
            }
            d += (got[i] - want) * (got[i] - want), n += want * want;
        }
        return std::sqrt(d / std::fmax(n, 1e-300));
    }
};

class Exact : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

// f64: pixels are normalised in f32, 2^-24, before everything else, and gradients are stored as f32. f32: a chain of some
// hundred roundings of 2^-24, the limits that the project sets itself: 5e-5 and 1e-4. bf16: see check_encoders.py.
TEST_P(Exact, OutputsAndEveryGradient) {
    const auto [name, dtype] = GetParam();
    const bool wide = std::string(dtype) == "f64";
    Golden g(name, dtype);
    eng::Tape tape;
    eng::Recording on(&tape);
    const ImageFeatures image = (*g.image)(g.pixels(), {});
    const TextFeatures text = (*g.text)(g.texts());
    eng::Comm alone;
    const Tensor loss = itc_loss(image.global, text.global, BatchShare(eng::count_up(image.global.arena(), image.count, 0, 0), alone), 0.3);
    const double limit = wide ? 1e-6 : 5e-5, gradient_limit = wide ? 2e-6 : 1e-4;
    EXPECT_LT(g.off(eng::download_wide(image.global), "global"), limit);
    EXPECT_LT(g.off(eng::download_wide(image.tokens), "tokens"), limit);
    EXPECT_LT(g.off(eng::download_wide(text.global), "texts"), limit);
    EXPECT_LT(g.off(eng::download_wide(loss), "loss"), limit);
    tape.backward(loss, eng::upload_as(g.arena, {1}, {1.0}, loss.dtype()));
    int compared = 0;
    for (const auto& p : g.params.all()) {
        if (p.name.find("running_") != std::string::npos) continue;
        const std::string golden = "grad." + p.name;
        ASSERT_TRUE(g.file.find(golden)) << golden;
        const auto got = eng::download_wide(p.grad);
        // The key's bias shifts all scores of a query alike: its gradient is nothing but rounding.
        if (p.name.find("k_proj.bias") != std::string::npos) {
            for (const double v : got) EXPECT_LT(std::fabs(v), 1e-6) << p.name;
        } else {
            EXPECT_LT(g.off(got, golden), gradient_limit) << p.name;
        }
        ++compared;
    }
    EXPECT_GT(compared, 40);
}
INSTANTIATE_TEST_SUITE_P(Encoders, Exact, testing::Combine(testing::Values("vit", "rn"), testing::Values("f64", "f32")),
                         [](const auto& info) { return std::string(std::get<0>(info.param)) + "_" + std::get<1>(info.param); });

}  // namespace
