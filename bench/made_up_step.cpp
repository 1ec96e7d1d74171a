#include "bench/made_up_step.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/io/safetensors.h"
#include "engine/transfer.h"
#include "train/checkpoint.h"

namespace scvd {

MadeUpStep::MadeUpStep(const Config& c, eng::Device device)
    : config_(c),
      batch_(make_batch(c)),
      weights_(0, device),
      step_(0, device),
      model_(c.model, weights_, 1),
      optimizer_(model_.params(), weights_, {.beta2 = 0.98f, .weight_decay = 0.05f, .clip_norm = 1}),
      pixels_(eng::upload(weights_, {c.train.batch, c.model.image.height, c.model.image.width, 3}, batch_.pixels)) {}

Tensor MadeUpStep::step_pixels() const {
    const Tensor pixels(step_, pixels_.shape(), pixels_.dtype());
    eng::copy(pixels, pixels_);
    return pixels;
}

void MadeUpStep::encode_images() const { model_.encode_images(step_pixels()); }
void MadeUpStep::encode_texts() const { model_.encode_texts(to_texts(step_, batch_)); }

Tensor MadeUpStep::forward_and_back() {
    eng::Tape tape;
    eng::Recording on(&tape);
    const LossParts loss = model_.loss(step_pixels(), {}, to_texts(step_, batch_), batch_.labels);
    tape.backward(loss.total, eng::upload_as(step_, {1}, {1}, loss.total.dtype()));
    return loss.total.detach();
}

double MadeUpStep::backward() { return eng::first_element(forward_and_back()); }

void MadeUpStep::run() {
    forward_and_back();
    optimizer_.step(1e-4f, 1e-4f, 1);
}

void MadeUpStep::dump(const std::string& folder) {
    const double loss = backward();
    model_.params().zero_grad();
    std::filesystem::create_directories(folder);
    save_checkpoint(folder + "/weights.safetensors", config_, model_, nullptr, {});
    const auto& s = pixels_.shape();
    eng::write_safetensors(folder + "/pixels.safetensors", {{"pixels", "U8", {s[0], s[1], s[2], s[3]}, batch_.pixels.data(), batch_.pixels.size()}});
    nlohmann::json j = describe(config_, batch_);
    j["loss"] = loss;
    eng::write_file(folder + "/batch.json", j.dump());
}

}  // namespace scvd
