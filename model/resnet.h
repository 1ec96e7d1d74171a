#pragma once
// CLIP's convolutional image encoder, parameters named as in OpenAI's checkpoints.
#include "model/image_encoder.h"

namespace scvd {

// y = gamma (x - mean) / deviation + beta. Running statistics are parameters that no gradient ever reaches: they travel in
// checkpoints and are moved by forward passes in training, where `train` says so.
class BatchNorm {
public:
    BatchNorm(const Declare&, const std::string& name, int channels, bool train);
    Tensor operator()(const Tensor& x) const;

private:
    Param *weight_, *bias_, *running_mean_, *running_var_;
    bool train_;
};

// Pictures as rows of pixels.
struct Pixels {
    Tensor x;  // [B*height*width, C]
    int height, width;
};

// 1x1, 3x3, average pooling in place of a stride, 1x1 to four times the width; beside it the picture itself, projected where
// its size changes.
class Bottleneck {
public:
    Bottleneck(const Declare&, int inputs, int planes, int stride, bool train);
    Pixels operator()(const Pixels&) const;

private:
    struct Projection {
        Param* conv;
        BatchNorm bn;
    };
    int stride_;
    Param *conv1_, *conv2_, *conv3_;
    BatchNorm bn1_, bn2_, bn3_;
    std::unique_ptr<Projection> downsample_;
};

// Three convolutions, four stages of bottlenecks, attention pool (He et al. 2016 with the changes of Radford et al. 2021,
// section 2.4). The global vector is the attention pool's: the mean position asks, all positions answer. What the pool gives
// for one position alone, c_proj(v_proj(x)), are the tokens; the mean's own comes first and nobody looks at it.
class ResNet : public ImageEncoder {
public:
    ResNet(const Declare&, const ModelConfig&);
    ImageFeatures operator()(const Tensor& pixels, const Tensor& augment) const override;

private:
    Pixels stem(const Tensor& pixels, const Tensor& augment) const;

    int height_, width_, positions_, heads_;
    eng::DType dtype_;
    Param *conv1_, *conv2_, *conv3_;
    BatchNorm bn1_, bn2_, bn3_;
    std::vector<std::pair<std::string, Bottleneck>> blocks_;
    struct Pool {
        Param* positions;
        Linear k, q, v, c;
    };
    std::unique_ptr<Pool> pool_;
};

}  // namespace scvd
