#include "bench/made_up_step.h"

#include <filesystem>

#include "engine/io/json.h"
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
      graph_(step_),
      pixels_(eng::upload(step_, {c.train.batch, c.model.image.height, c.model.image.width, 3}, batch_.pixels)),
      labels_(eng::indices(step_, batch_.labels)),
      one_(eng::upload_as(step_, {1}, {1}, eng::stats_dtype(model_.params().compute_dtype()))),
      loss_(one_.like()),
      texts_(to_texts(step_, batch_)) {}

void MadeUpStep::encode_images() const { model_.encode_images(pixels_); }
void MadeUpStep::encode_texts() const { model_.encode_texts(texts_); }

void MadeUpStep::forward_and_back() {
    eng::Tape tape;
    eng::Recording on(&tape);
    const LossParts loss = model_.loss(pixels_, {}, texts_, BatchShare(labels_, alone_));
    eng::copy(loss_, loss.total);
    tape.backward(loss.total, one_);
}

double MadeUpStep::backward() {
    forward_and_back();
    return eng::first_element(loss_);
}

void MadeUpStep::run(bool as_graph) {
    optimizer_.prepare(1e-4f, 1e-4f, 1);
    const auto step = [this] { forward_and_back(), optimizer_.apply(); };
    as_graph ? graph_.run("step", step) : step();
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
    eng::write_file(folder + "/batch.json", eng::json_text(j));
}

}  // namespace scvd
