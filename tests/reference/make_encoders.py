#!/usr/bin/env python3
"""Writes tests/data/weights/encoders_{vit,rn}.safetensors: OpenAI's own model code at small widths, in f64.

usage: make_encoders.py      (needs torch, clip-anytorch, safetensors)
Each file holds the weights under OpenAI's names, a batch, all outputs, and the gradient of a CLIP loss with respect to every
parameter ("grad." + name). tests/test_exact.cpp runs the same batch through our encoders.
"""
import pathlib
import sys

import clip.model
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

MEAN, STD = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
SCALE = 1 / 0.3
clip.model.LayerNorm.forward = torch.nn.LayerNorm.forward  # theirs casts to f32, which f64 must not
H, W = 64, 64
IDS = [[38, 5, 9, 2, 39], [38, 7, 39], [38, 1, 1, 30, 12, 3, 39]]  # start .. end, the end being the largest


def image_tokens(visual, x):
    """Global vector and all tokens in the shared space; OpenAI's forward keeps the first only."""
    if isinstance(visual, clip.model.ModifiedResNet):
        glob = visual(x)
        for conv, bn, relu in ((visual.conv1, visual.bn1, visual.relu1), (visual.conv2, visual.bn2, visual.relu2), (visual.conv3, visual.bn3, visual.relu3)):
            x = relu(bn(conv(x)))
        x = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.avgpool(x)))))
        x = x.flatten(2).permute(2, 0, 1)
        pool = visual.attnpool
        x = torch.cat([x.mean(0, keepdim=True), x]) + pool.positional_embedding[:, None]
        return glob, pool.c_proj(pool.v_proj(x)).permute(1, 0, 2)
    x = visual.conv1(x).flatten(2).permute(0, 2, 1)
    x = torch.cat([visual.class_embedding.expand(x.shape[0], 1, -1), x], 1) + visual.positional_embedding
    x = visual.transformer(visual.ln_pre(x).permute(1, 0, 2)).permute(1, 0, 2)
    x = visual.ln_post(x) @ visual.proj
    return x[:, 0], x


def randomise(model, generator):
    """Starts that hide nothing: no gamma is 1, no beta and no statistic 0."""
    for name, p in model.named_parameters():
        if name.endswith("bias") or p.ndim == 1:
            p.data = (0.0 if name.endswith("bias") else 1.0) + 0.2 * torch.randn(p.shape, generator=generator)
    for name, b in model.named_buffers():
        if name.endswith("running_mean"):
            b.copy_(0.2 * torch.randn(b.shape, generator=generator))
        if name.endswith("running_var"):
            b.copy_(0.5 + torch.rand(b.shape, generator=generator))


def pixels_of(n, h, w, generator):
    return torch.randint(0, 256, (n, h, w, 3), generator=generator, dtype=torch.uint8)


def normalised(pixels, dtype):
    return ((pixels.to(dtype) / 255 - MEAN.to(dtype)) / STD.to(dtype)).permute(0, 3, 1, 2)


def clip_loss(v, t, scale):
    s = scale * F.normalize(v, dim=-1) @ F.normalize(t, dim=-1).T
    y = torch.arange(len(s))
    return (F.cross_entropy(s, y) + F.cross_entropy(s.T, y)) / 2


def golden(name, model):
    g = torch.Generator().manual_seed(11)
    randomise(model, g)
    model = model.double().eval()
    pixels = pixels_of(len(IDS), H, W, g)
    ids = torch.zeros(len(IDS), 8, dtype=torch.long)
    for i, t in enumerate(IDS):
        ids[i, : len(t)] = torch.tensor(t)
    glob, tokens = image_tokens(model.visual, normalised(pixels, torch.float64))
    texts = model.encode_text(ids)
    loss = clip_loss(glob, texts, SCALE)
    loss.backward()
    out = {k: v.float() for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    for k, p in model.named_parameters():
        if k != "logit_scale":
            out["grad." + k] = p.grad.float()
    out |= {"pixels": pixels, "global": glob.detach(), "tokens": tokens.detach().contiguous(), "texts": texts.detach(), "loss": loss.detach()}
    save_file({k: v.contiguous() for k, v in out.items()}, pathlib.Path(__file__).parent.parent / f"data/weights/encoders_{name}.safetensors")
    print(name, sum(v.numel() * v.element_size() for v in out.values()), "bytes")


def main():
    torch.manual_seed(4)
    text = dict(context_length=8, vocab_size=40, transformer_width=16, transformer_heads=2, transformer_layers=2)
    golden("vit", clip.model.CLIP(12, H, vision_layers=1, vision_width=64, vision_patch_size=8, **text))
    # OpenAI's ResNet has width*32/64 heads, at least one here; blocks with and without a projection in every stage.
    golden("rn", clip.model.CLIP(12, H, vision_layers=(2, 1, 1, 1), vision_width=4, vision_patch_size=None, **text))


if __name__ == "__main__":
    sys.exit(main())
