#!/usr/bin/env python3
"""Why RN50's gradients in f32 are 1e-3 off, in any program: an activation that lies within rounding of zero passes its ReLU in
one precision and not in the other, and each such flip changes gradients by a step.

usage: study_relu.py BUILD_FOLDER [small]      (needs torch, clip-anytorch, safetensors)
Per parameter, the relative distance (in norm) from the gradient in f64: of PyTorch's f32, of PyTorch's f32 with every ReLU held
open and shut as f64 had it, and of ours; then on pictures so small that often no activation flips.
"""
import copy
import sys

import torch

import check_encoders as check
from make_encoders import clip_loss, image_tokens, normalised, pixels_of


class Gate(torch.nn.Module):
    """A ReLU that remembers which of its inputs passed, or lets pass those that another one did."""

    def __init__(self, master=None):
        super().__init__()
        self.masks, self.master, self.flips, self.count = [], master, 0, 0

    def forward(self, x):
        mask = x > 0
        if self.master is not None:
            held = self.master.masks[len(self.masks)]
            self.flips, self.count = self.flips + int((held != mask).sum()), self.count + mask.numel()
            self.masks.append(mask)
            mask = held if self.held else mask
        else:
            self.masks.append(mask)
        return x * mask


def gated(model, masters=None, held=False):
    model, gates = copy.deepcopy(model), {}
    for name, m in list(model.named_modules()):
        if isinstance(m, torch.nn.ReLU):
            parent = model.get_submodule(name.rpartition(".")[0])
            gates[name] = Gate(masters[name] if masters else None)
            gates[name].held = held
            setattr(parent, name.rpartition(".")[2], gates[name])
    return model, gates


def gradients(model, pixels, ids, dtype):
    model = model.to(dtype)
    loss = clip_loss(image_tokens(model.visual, normalised(pixels, dtype))[0], model.encode_text(ids), 50.0)
    loss.backward()
    return {k: p.grad for k, p in model.named_parameters() if p.grad is not None and k != "logit_scale" and "k_proj.bias" not in k and "in_proj_bias" not in k}


def summary(name, got, truth):
    gaps = sorted((check.off(got[k].view(truth[k].shape), truth[k]), k) for k in truth)
    a, b = (torch.cat([t[k].flatten().double() for k in truth]) for t in (got, truth))
    print(f"  {name:<40} worst {gaps[-1][0]:.1e} ({gaps[-1][1]}), median {gaps[len(gaps) // 2][0]:.1e}, all parameters as one vector {check.off(a, b):.1e}")


def compare(model, pixels, ids, h, w):
    """(flips, activations), and gradients: in f64, PyTorch's in f32, the same with ReLUs held, ours."""
    exact, masters = gated(model)
    truth = gradients(exact, pixels, ids, torch.float64)
    own, gates = gated(model, masters)
    theirs = gradients(own, pixels, ids, torch.float32)
    flips = sum(g.flips for g in gates.values()) // 2, sum(g.count for g in gates.values()) // 2  # two forward passes
    held = gradients(gated(model, masters, True)[0], pixels, ids, torch.float32)
    ours = check.ours(["--image.height", h, "--image.width", w, "--loss.global", "itc", "--loss.temperature", 0.02])
    return flips, truth, theirs, held, {k: ours["grad." + k].view(truth[k].shape) for k in truth}


def main():
    for h, w in () if "small" in sys.argv else ((224, 224), (384, 128)):
        print(f"rn50 at {h}x{w}")
        flips, truth, *rest = compare(check.make("rn50", h, w), *check.batch(h, w), h, w)
        print(f"  {flips[0]} of {flips[1]} activations pass in one precision alone")
        for name, g in zip(("PyTorch's f32", "PyTorch's f32, ReLUs held as in f64", "ours in f32"), rest):
            summary(name, g, truth)
            far = [((g[k].double() - truth[k]).abs() > 1e-4 * truth[k].abs()).double().mean().item() for k in truth]
            print(f"      elements that are 1e-4 of themselves off: {100 * sum(far) / len(far):.0f} %")
    print("the same weights on pictures of 32x64, few enough activations that often none flips")
    model = check.make("rn50", 32, 64)
    for seed in range(6):
        check.pixels_of = lambda n, h, w, _: pixels_of(n, h, w, torch.Generator().manual_seed(seed))
        flips, truth, *rest = compare(model, *check.batch(32, 64), 32, 64)
        worst = [max((check.off(g[k].view(truth[k].shape), truth[k]), k) for k in truth) for g in rest]
        print(f"  pictures {seed}: {flips[0]} of {flips[1]} flip in PyTorch's f32; worst parameter: PyTorch's {worst[0][0]:.1e}, held {worst[1][0]:.1e}, ours {worst[2][0]:.1e} ({worst[2][1]})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
