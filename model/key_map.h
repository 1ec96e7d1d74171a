#pragma once
// Whose names the tensors of a file have, and where a parameter of ours is found among them.
#include <string>
#include <vector>

#include "engine/io/tensor_file.h"
#include "model/config.h"

namespace scvd {

enum class Naming { openai, huggingface };

struct KeyMap {
    Naming naming = Naming::openai;
    // What stands before "visual." (or "vision_model."), and before the text encoder's names: "" in OpenAI's files,
    // "model.base_model." in IRRA's and RDE's, "module." where training ran in parallel, "encode_text." in TBPS-CLIP's.
    std::string image_prefix, text_prefix;

    // Finds CLIP's image and text encoders by their first tensors. Error when the file has none.
    static KeyMap of(const eng::TensorFile&);
    std::string describe() const;  // "names of OpenAI's CLIP behind \"model.base_model.\""

    // Names in the file of a parameter of ours: several make one when stacked along the first axis (q, k, v).
    struct Keys {
        std::vector<std::string> names;
        bool transposed = false;
    };
    Keys keys_of(const std::string& parameter) const;
    std::string logit_scale() const;
};

// The encoders' sizes, read off the tensors' shapes; pictures are taken to be height x width.
ModelConfig encoder_config(const eng::TensorFile&, const KeyMap&, int height, int width);

// An OpenAI name in the manner of Hugging Face's CLIPModel, without prefix: export and import share it.
KeyMap::Keys huggingface_keys(const std::string& parameter);

}  // namespace scvd
