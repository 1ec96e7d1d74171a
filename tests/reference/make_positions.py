#!/usr/bin/env python3
"""Writes tests/data/weights/positions.safetensors: position tables resized by PyTorch (needs torch, safetensors).

bilinear is what IRRA, RDE and TBPS-CLIP call, bicubic_antialias what open_clip calls.
"""
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

out = {}
torch.manual_seed(3)
for name, (h, w), (oh, ow) in (("vit", (14, 14), (24, 8)), ("rn", (7, 7), (12, 4)), ("up", (3, 3), (31, 10)), ("down", (14, 14), (5, 3))):
    table = torch.randn(h * w + 1, 3)
    out[name] = table
    grid = table[1:].reshape(1, h, w, 3).permute(0, 3, 1, 2)
    for how, options in (("bilinear", {"mode": "bilinear"}), ("bicubic_antialias", {"mode": "bicubic", "antialias": True})):
        resized = F.interpolate(grid, size=(oh, ow), align_corners=False, **options)
        out[f"{name}.{how}"] = torch.cat([table[:1], resized.permute(0, 2, 3, 1).reshape(oh * ow, 3)]).contiguous()
save_file(out, pathlib.Path(__file__).parent.parent / "data/weights/positions.safetensors")
