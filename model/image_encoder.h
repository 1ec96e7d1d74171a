#pragma once
// What every image encoder does. Takes no text: what a gallery image is does not depend on who asks.
#include <memory>

#include "model/config.h"
#include "model/layers.h"

namespace scvd {

// The global vector of every image, and its tokens in the shared space (the global one's row first).
struct ImageFeatures {
    Tensor global;  // [B, d]
    Tensor tokens;  // [B*(N+1), d]
    int count = 0, patches = 0;
};

class ImageEncoder {
public:
    virtual ~ImageEncoder() = default;
    // pixels u8 [B,H,W,3]; augment i32 [B,8] or undefined.
    virtual ImageFeatures operator()(const Tensor& pixels, const Tensor& augment) const = 0;
};

// The encoder that the configuration names; parameters are declared below "visual".
std::unique_ptr<ImageEncoder> make_image_encoder(const Declare&, const ModelConfig&);

inline eng::DType dtype_named(const std::string& name) {
    return name == "bf16" ? eng::DType::bf16 : name == "f64" ? eng::DType::f64 : eng::DType::f32;
}

}  // namespace scvd
