#!/usr/bin/env python3
"""Opens our exports with the programs that they are for and compares embeddings, then imports them again.

usage: check_export.py SCVD WEIGHTS [FOLDER]     (needs torch, transformers, open_clip_torch, safetensors, pillow)
WEIGHTS: any file that `scvd import` reads. Prints the largest difference relative to the largest value, and whether the
round trips give the same bits. Exit code 1 when something is off.
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

scvd, weights = sys.argv[1:3]
keep = sys.argv[3] if len(sys.argv) > 3 else None
folder = pathlib.Path(keep or tempfile.mkdtemp())
folder.mkdir(exist_ok=True, parents=True)
TEXTS = ["A man in a black and white striped T-shirt, dark jeans and white sneakers.", "a photo of a woman with a red handbag",
         "She wears a blue dress &amp; carries an umbrella.", "x"]


def run(*args):
    subprocess.run([scvd, *map(str, args)], check=True, stdout=subprocess.DEVNULL)


def off(got, want):
    return ((got - want).abs().max() / want.abs().max()).item()


run("import", weights, "--out", folder / "model.safetensors")
for kind in ("hf", "openclip", "scvd"):
    if not (folder / kind).exists():
        run("export", "--weights", folder / "model.safetensors", "--format", kind, "--out", folder / kind)

# Pictures of the model's own size, so that no resizing takes part.
(folder / "pictures").mkdir(exist_ok=True)
rng = np.random.default_rng(1)
pictures = [np.kron(rng.integers(0, 256, (24, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8) for _ in range(4)]
for i, p in enumerate(pictures):
    Image.fromarray(p).save(folder / "pictures" / f"{i}.png")
(folder / "texts.txt").write_text("\n".join(TEXTS) + "\n")
run("embed", "--weights", folder / "model.safetensors", "--images", folder / "pictures", "--texts", folder / "texts.txt", "--out", folder / "ours.safetensors")
ours = load_file(folder / "ours.safetensors")
bad = 0


def report(what, got, want, limit=5e-5):
    global bad
    gap = off(got, want)
    bad += not gap < limit
    print(f"{what:<42} {gap:.2e}  (limit {limit:.0e})")


torch.set_grad_enabled(False)
import transformers  # noqa: E402

model, info = transformers.CLIPModel.from_pretrained(folder / "hf", output_loading_info=True)
assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], info
model.eval()
from transformers import CLIPTokenizer  # noqa: E402
try:
    from transformers import CLIPImageProcessorPil as CLIPImageProcessor
except ImportError:
    from transformers import CLIPImageProcessor
tokenizer, processor = CLIPTokenizer.from_pretrained(folder / "hf"), CLIPImageProcessor.from_pretrained(folder / "hf")
pixels = processor([Image.fromarray(p) for p in pictures], return_tensors="pt")["pixel_values"]
assert pixels.shape[2:] == (384, 128), pixels.shape
vision = model.vision_model(pixel_values=pixels, interpolate_pos_encoding=True).pooler_output
report("transformers.CLIPModel, images", ours["images"], model.visual_projection(vision))
ids = tokenizer([t.replace("&amp;", "&") for t in TEXTS], padding=True, return_tensors="pt")
report("transformers.CLIPModel, texts", ours["texts"], model.text_projection(model.text_model(**ids).pooler_output))

import open_clip  # noqa: E402

model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder / 'openclip'}")
model.eval()
pixels = torch.stack([preprocess(Image.fromarray(p)) for p in pictures])
report("open_clip, images", ours["images"], model.encode_image(pixels))
report("open_clip, texts", ours["texts"], model.encode_text(open_clip.tokenize(TEXTS)))

first = load_file(folder / "model.safetensors")
for kind, file in (("hf", "hf/model.safetensors"), ("openclip", "openclip/open_clip_model.safetensors"), ("scvd", "scvd/model.safetensors")):
    run("import", folder / file, "--out", folder / "again.safetensors")
    again = load_file(folder / "again.safetensors")
    same = first.keys() == again.keys() and all(torch.equal(first[k], again[k]) for k in first)
    bad += not same
    print(f"round trip through {kind:<23} {'the same bits' if same else 'DIFFERENT'}")
sys.exit(1 if bad else 0)
