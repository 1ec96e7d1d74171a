#!/usr/bin/env python3
"""Writes one small CLIP with random weights in every layout that people have, for tests/test_import.cpp.

usage: make_checkpoints.py FOLDER [--real]      (needs torch, transformers, safetensors)
Small: width 8, 2 + 2 blocks, 4-pixel patches, 12x12 pixels, 40 words. --real: ViT-B/16 at its full size, in OpenAI's and Hugging
Face's layout, with fp16 where OpenAI's files have it; for timing and end-to-end runs, not committed.
"""
import argparse
import collections
import json
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, heads)
        self.ln_1 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(collections.OrderedDict([("c_fc", nn.Linear(dim, 4 * dim)), ("gelu", nn.Identity()),
                                                          ("c_proj", nn.Linear(4 * dim, dim))]))
        self.ln_2 = nn.LayerNorm(dim)


class Transformer(nn.Module):
    def __init__(self, dim, layers, heads):
        super().__init__()
        self.resblocks = nn.Sequential(*[Block(dim, heads) for _ in range(layers)])


class Visual(nn.Module):
    def __init__(self, size, patch, dim, layers, heads, embed):
        super().__init__()
        self.conv1 = nn.Conv2d(3, dim, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(dim) / dim**0.5)
        self.positional_embedding = nn.Parameter(torch.randn((size // patch) ** 2 + 1, dim) / dim**0.5)
        self.ln_pre = nn.LayerNorm(dim)
        self.transformer = Transformer(dim, layers, heads)
        self.ln_post = nn.LayerNorm(dim)
        self.proj = nn.Parameter(torch.randn(dim, embed) / dim**0.5)


class Clip(nn.Module):
    """OpenAI's parameter tree; forward is never called."""

    def __init__(self, size, patch, dim, layers, heads, text_dim, text_layers, text_heads, vocab, context, embed):
        super().__init__()
        self.visual = Visual(size, patch, dim, layers, heads, embed)
        self.transformer = Transformer(text_dim, text_layers, text_heads)
        self.token_embedding = nn.Embedding(vocab, text_dim)
        self.positional_embedding = nn.Parameter(torch.randn(context, text_dim) * 0.01)
        self.ln_final = nn.LayerNorm(text_dim)
        self.text_projection = nn.Parameter(torch.randn(text_dim, embed) / text_dim**0.5)
        self.logit_scale = nn.Parameter(torch.tensor(2.6593))
        self.register_buffer("input_resolution", torch.tensor(size))
        self.register_buffer("context_length", torch.tensor(context))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def small():
    torch.manual_seed(5)
    return Clip(12, 4, 8, 2, 2, 8, 2, 2, 40, 10, 6)


def real():
    torch.manual_seed(5)
    return Clip(224, 16, 768, 12, 12, 512, 12, 8, 49408, 77, 512)


def weights(model):
    return collections.OrderedDict((k, v) for k, v in model.state_dict().items() if k not in ("input_resolution", "context_length"))


def halve(model):
    """What OpenAI's convert_weights does."""
    for name, p in model.named_parameters():
        if not any(part in name for part in ("ln_", "token_embedding", "positional_embedding", "class_embedding", "logit_scale")):
            p.data = p.data.half()
    return model


def huggingface(state):
    out = {}
    for name, v in state.items():
        side = "vision_model." if name.startswith("visual.") else "text_model."
        n = name.removeprefix("visual.")
        if n.startswith("transformer.resblocks."):
            _, _, i, rest = n.split(".", 3)
            to = f"{side}encoder.layers.{i}."
            if rest.startswith("attn.in_proj_"):
                for part, chunk in zip("qkv", v.chunk(3)):
                    out[f"{to}self_attn.{part}_proj.{rest[13:]}"] = chunk.contiguous()
                continue
            for a, b in (("attn.", "self_attn."), ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2")):
                rest = rest.replace(a, b)
            out[to + rest] = v
        else:
            table = {"conv1.weight": "embeddings.patch_embedding.weight", "class_embedding": "embeddings.class_embedding",
                     "positional_embedding": "embeddings.position_embedding.weight", "token_embedding.weight": "embeddings.token_embedding.weight"}
            if n == "proj":
                out["visual_projection.weight"] = v.t().contiguous()
            elif n == "text_projection":
                out["text_projection.weight"] = v.t().contiguous()
            elif n == "logit_scale":
                out["logit_scale"] = v
            else:
                for a, b in (("ln_pre", "pre_layrnorm"), ("ln_post", "post_layernorm"), ("ln_final", "final_layer_norm")):
                    n = n.replace(a, b)
                out[side + table.get(n, n)] = v
    return out


def sharded(folder, state):
    shards, index = [{}, {}], {}
    for i, (k, v) in enumerate(state.items()):
        shards[i % 2][k] = v
        index[k] = f"model-{i % 2 + 1:05d}-of-00002.safetensors"
    folder.mkdir(exist_ok=True)
    for i, shard in enumerate(shards):
        save_file(shard, folder / f"model-{i + 1:05d}-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


class EasyDict(dict):
    """Pickles as a class that the reader has never heard of."""


def everything(folder):
    """Each file holds the same values, so that the reader's result must be the same bits."""
    model, state = small(), weights(small())
    torch.jit.trace(model, torch.zeros(1)).save(folder / "openai.pt")
    torch.save(state, folder / "state.pth")
    torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    params = {"base_model." + k: v for k, v in state.items() if k != "logit_scale"}
    params["classifier.weight"] = torch.randn(7, 6)
    optimizer = torch.optim.Adam([nn.Parameter(torch.randn(3))], lr=1e-5)
    optimizer.param_groups[0]["params"][0].grad = torch.ones(3)
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    torch.save({"model": params, "optimizer": optimizer.state_dict(), "scheduler": schedule.state_dict(), "num_epoch": 60,
                "iteration": 100, "epoch": 3}, folder / "irra.pth")
    torch.save({"module." + k: v for k, v in params.items()}, folder / "parallel.pth")
    tbps = {(k if k.startswith("visual.") or k == "logit_scale" else "encode_text." + k): v for k, v in state.items()}
    torch.save({"model": tbps, "config": EasyDict(image_size=224, nested=EasyDict(a=[1, 2]))}, folder / "tbps.pth")
    # Strided and shared storages: what a transposed or sliced parameter pickles as.
    odd = collections.OrderedDict(state)
    odd["text_projection"] = state["text_projection"].t().contiguous().t()
    big = torch.randn(20)
    big[4:12] = state["visual.class_embedding"]
    odd["visual.class_embedding"] = big[4:12]
    torch.save(odd, folder / "strided.pth")
    save_file({k: v.contiguous() for k, v in huggingface(state).items()}, folder / "hf.safetensors")
    sharded(folder / "sharded", huggingface(state))
    save_file({"model." + k: v for k, v in state.items()}, folder / "nested.safetensors")
    torch.save(weights(halve(small())), folder / "half.pth")
    torch.save({k: v.bfloat16() for k, v in state.items()}, folder / "bfloat.pth")
    save_file(dict(state), folder / "truth.safetensors")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--real", action="store_true")
    a = p.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    if not a.real:
        return everything(a.folder)
    model = real()
    save_file(huggingface(weights(model)), a.folder / "hf.safetensors")
    torch.jit.trace(model, torch.zeros(1)).save(a.folder / "openai-f32.pt")
    torch.jit.trace(halve(model), torch.zeros(1)).save(a.folder / "openai.pt")


if __name__ == "__main__":
    main()
