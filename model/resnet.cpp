#include "model/resnet.h"

#include <cmath>

namespace scvd {
namespace {

Init filter_init(int inputs, int kernel) { return Init::normal(std::sqrt(2.0 / (inputs * kernel * kernel))); }  // He et al. 2015

Param* filter(const Declare& d, const std::string& name, int outputs, int inputs, int kernel) {
    return d.matrix(name + ".weight", {outputs, inputs, kernel, kernel}, filter_init(inputs, kernel));
}

// A 1x1 convolution is a product of matrices.
Tensor pointwise(const Tensor& x, Param* w) { return eng::linear(x, w->use().view({w->shape[0], w->shape[1]})); }

Pixels pooled(const Pixels& p, int kernel) {
    return kernel == 1 ? p : Pixels{eng::avg_pool(p.x, p.height, p.width, kernel), p.height / kernel, p.width / kernel};
}

}  // namespace

BatchNorm::BatchNorm(const Declare& d, const std::string& name, int channels, bool train)
    : weight_(d.vector(name + ".weight", {channels}, Init::ones())),
      bias_(d.vector(name + ".bias", {channels}, Init::zeros())),
      running_mean_(d.vector(name + ".running_mean", {channels}, Init::zeros())),
      running_var_(d.vector(name + ".running_var", {channels}, Init::ones())),
      train_(train) {}

Tensor BatchNorm::operator()(const Tensor& x) const {
    const bool training = train_ && eng::Tape::recording != nullptr;
    return eng::batch_norm(x, weight_->use(), bias_->use(), running_mean_->master, running_var_->master, training);
}

Bottleneck::Bottleneck(const Declare& d, int inputs, int planes, int stride, bool train)
    : stride_(stride),
      conv1_(filter(d, "conv1", planes, inputs, 1)),
      conv2_(filter(d, "conv2", planes, planes, 3)),
      conv3_(filter(d, "conv3", 4 * planes, planes, 1)),
      bn1_(d, "bn1", planes, train),
      bn2_(d, "bn2", planes, train),
      bn3_(d, "bn3", 4 * planes, train) {
    if (stride > 1 || inputs != 4 * planes)
        downsample_.reset(new Projection{filter(d, "downsample.0", 4 * planes, inputs, 1), BatchNorm(d, "downsample.1", 4 * planes, train)});
}

Pixels Bottleneck::operator()(const Pixels& in) const {
    const Tensor a = eng::relu(bn1_(pointwise(in.x, conv1_)));
    const Tensor b = eng::relu(bn2_(eng::conv2d(a, conv2_->use(), in.height, in.width, 1, 1)));
    const Pixels out = pooled({b, in.height, in.width}, stride_);
    const Tensor c = bn3_(pointwise(out.x, conv3_));
    const Tensor beside = downsample_ ? downsample_->bn(pointwise(pooled(in, stride_).x, downsample_->conv)) : in.x;
    return {eng::relu(eng::add(c, beside)), out.height, out.width};
}

ResNet::ResNet(const Declare& d, const ModelConfig& c)
    : height_(c.image.height),
      width_(c.image.width),
      positions_(c.grid().height * c.grid().width),
      heads_(c.image.heads),
      dtype_(dtype_named(c.dtype)),
      conv1_(filter(d, "conv1", c.image.dim / 2, 3, 3)),
      conv2_(filter(d, "conv2", c.image.dim / 2, c.image.dim / 2, 3)),
      conv3_(filter(d, "conv3", c.image.dim, c.image.dim / 2, 3)),
      bn1_(d, "bn1", c.image.dim / 2, c.image.bn == "train"),
      bn2_(d, "bn2", c.image.dim / 2, c.image.bn == "train"),
      bn3_(d, "bn3", c.image.dim, c.image.bn == "train") {
    const auto depth = c.image.block_counts();
    int inputs = c.image.dim;
    for (int stage = 0; stage < 4; ++stage)
        for (int i = 0; i < depth[std::size_t(stage)]; ++i) {
            const int planes = c.image.dim << stage, stride = i > 0 || stage == 0 ? 1 : stage == 3 ? c.image.last_stride : 2;
            const std::string name = "layer" + std::to_string(stage + 1) + "." + std::to_string(i);
            Scope scope(name);
            blocks_.emplace_back(name, Bottleneck(d, inputs, planes, stride, c.image.bn == "train"));
            inputs = 4 * planes;
        }
    const Init width = Init::normal(1 / std::sqrt(double(inputs)));
    Scope scope("attnpool");
    pool_.reset(new Pool{d.vector("positional_embedding", {positions_ + 1, inputs}, width), Linear(d, "k_proj", inputs, inputs, width), Linear(d, "q_proj", inputs, inputs, width),
                         Linear(d, "v_proj", inputs, inputs, width), Linear(d, "c_proj", inputs, c.embed, width)});
}

Pixels ResNet::stem(const Tensor& pixels, const Tensor& augment) const {
    Scope scope("stem");
    Tensor x = eng::patchify(pixels, augment, {height_, width_, 1, 1}, dtype_);  // patches of one pixel: rows of pixels
    x = eng::relu(bn1_(eng::conv2d(x, conv1_->use(), height_, width_, 2, 1)));
    const int h = (height_ - 1) / 2 + 1, w = (width_ - 1) / 2 + 1;
    x = eng::relu(bn2_(eng::conv2d(x, conv2_->use(), h, w, 1, 1)));
    x = eng::relu(bn3_(eng::conv2d(x, conv3_->use(), h, w, 1, 1)));
    return pooled({x, h, w}, 2);
}

ImageFeatures ResNet::operator()(const Tensor& pixels, const Tensor& augment) const {
    Scope scope("visual");
    Pixels p = stem(pixels, augment);
    for (const auto& [name, block] : blocks_) {
        Scope inner(name);
        p = block(p);
    }
    Scope inner("attnpool");
    const int B = int(pixels.shape()[0]), L = positions_ + 1;
    eng::Arena& arena = pixels.arena();
    const Tensor x = eng::add_mean_and_positions(p.x, pool_->positions->use());
    const Tensor means = eng::count_up(arena, B, 0, L), v = pool_->v(x);
    const Tensor asked = eng::attend(pool_->q(eng::gather_rows(x, means)), pool_->k(x), v, eng::uniform_seqs(arena, B, 1), eng::uniform_seqs(arena, B, L), heads_);
    return {pool_->c(asked), pool_->c(v), B, positions_};
}

}  // namespace scvd
