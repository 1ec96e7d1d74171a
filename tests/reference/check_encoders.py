#!/usr/bin/env python3
"""ViT-B/16 and RN50 at their real shapes with random weights, ours against OpenAI's code run by PyTorch.

usage: check_encoders.py BUILD_FOLDER [vit|rn50] [steps|f64]      (needs torch, clip-anytorch, safetensors)
For 224x224 and 384x128: outputs in f32 against PyTorch's f32 and f64; outputs in bf16 against f64, beside PyTorch's own
bf16; gradients of a CLIP loss with respect to every parameter in f32. `steps`: three steps of AdamW and of IRRA's Adam with SDM and ID losses. `f64`: outputs
and gradients with both sides in f64 (slow: plain loops).
Exit code 1 when a limit is passed.
"""
import pathlib
import subprocess
import sys
import tempfile

import clip.model
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from make_encoders import MEAN, STD, clip_loss, image_tokens, normalised, pixels_of, randomise  # noqa: E402

build, archs = pathlib.Path(sys.argv[1]), [a for a in sys.argv[2:] if a in ("vit", "rn50")] or ["vit", "rn50"]
folder = pathlib.Path(tempfile.mkdtemp())
B, bad = 4, 0


def run(*args):
    subprocess.run([str(a) for a in args], check=True, stdout=subprocess.DEVNULL)


def off(got, want):
    return ((got.double() - want.double()).norm() / want.double().norm().clamp(min=1e-30)).item()


def report(what, gap, limit):
    global bad
    bad += not gap <= limit
    print(f"  {what:<64} {gap:.2e}  (limit {limit:.2e})", flush=True)


def calibrate(model):
    """Statistics of real activations, and residual branches that begin small, as OpenAI's own start (0) and training have
    them. A random net with full branches is chaotic: PyTorch's own f32 gradients are then 3 % off the true ones; with made-up
    statistics all pictures look alike to it, and gradients are differences of equal numbers."""
    for name, p in model.named_parameters():
        if name.endswith("bn3.weight") and "layer" in name:
            p.data *= 0.2
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for m in norms:
        m.momentum = 1.0
    model.visual.train()
    with torch.no_grad():
        model.visual(normalised(pixels_of(8, 224, 224, torch.Generator().manual_seed(3)), torch.float32))


def make(arch, h, w):
    torch.manual_seed(7)
    if arch == "vit":
        model = clip.model.CLIP(512, 224, 12, 768, 16, 77, 49408, 512, 8, 12)
    else:
        model = clip.model.CLIP(1024, 224, (3, 4, 6, 3), 64, None, 77, 49408, 512, 8, 12)
    randomise(model, torch.Generator().manual_seed(8))
    if arch == "rn50":
        calibrate(model)
    torch.save(model.state_dict(), folder / "openai.pth")
    if (h, w) != (224, 224):
        owner = model.visual if arch == "vit" else model.visual.attnpool
        n, to = (14, (h // 16, w // 16)) if arch == "vit" else (7, (h // 32, w // 32))
        p = owner.positional_embedding.data
        grid = F.interpolate(p[1:].reshape(1, n, n, -1).permute(0, 3, 1, 2), size=to, mode="bilinear", align_corners=False)
        owner.positional_embedding = torch.nn.Parameter(torch.cat([p[:1], grid.flatten(2)[0].T]))
    return model.eval()


def batch(h, w):
    g = torch.Generator().manual_seed(9)
    lens = [77, 12, 25, 5]
    ids = torch.zeros(B, 77, dtype=torch.long)
    for i, n in enumerate(lens):
        ids[i, :n] = torch.randint(1, 49000, (n,), generator=g)
        ids[i, 0], ids[i, n - 1] = 49406, 49407
    pixels = pixels_of(B, h, w, g)
    packed = torch.cat([ids[i, :n] for i, n in enumerate(lens)]).int()
    save_file({"pixels": pixels, "ids": packed, "lens": torch.tensor(lens).int(), "labels": torch.tensor([0, 1, 2, 2]).int()}, folder / "batch.safetensors")
    return pixels, ids


def outputs(model, pixels, ids, dtype):
    with torch.no_grad():
        glob, tokens = image_tokens(model.visual, normalised(pixels, dtype))
        return {"global": glob, "tokens": tokens, "texts": model.encode_text(ids)}


def ours(extra, *more):
    run(build / "scvd", "import", folder / "openai.pth", "--out", folder / "ours.safetensors", *extra, *more)
    run(build / "reference_tool", folder / "ours.safetensors", folder / "batch.safetensors", folder / "out.safetensors")
    return load_file(folder / "out.safetensors")


def check(arch, h, w):
    print(f"{arch} at {h}x{w}, batch of {B}", flush=True)
    model, (pixels, ids) = make(arch, h, w), batch(h, w)
    size = ["--image.height", h, "--image.width", w, "--loss.global", "itc", "--loss.temperature", 0.02]
    got = ours(size)
    f32 = outputs(model, pixels, ids, torch.float32)
    glob, _ = image_tokens(model.visual, normalised(pixels, torch.float32))
    clip_loss(glob, model.encode_text(ids), 50.0).backward()
    grads32 = {k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None}
    model.double().zero_grad()
    f64 = outputs(model, pixels, ids, torch.float64)
    for k in f64:
        report(f"f32 {k}: ours against PyTorch's f32", off(got[k].view(f32[k].shape), f32[k]), 5e-5)
        report(f"f32 {k}: ours against f64; PyTorch's f32 is off by {off(f32[k], f64[k]):.1e}", off(got[k].view(f64[k].shape), f64[k]), 5e-5)
    glob, _ = image_tokens(model.visual, normalised(pixels, torch.float64))
    clip_loss(glob, model.encode_text(ids), 50.0).backward()
    truth = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    worst, theirs = ("", 0.0), 0.0
    names = [k for k in truth if k != "logit_scale"]
    assert {"grad." + k for k in names} == {k for k in got if k.startswith("grad.")}
    for k in names:
        if k.endswith("k_proj.bias"):
            continue  # its true gradient is zero: a key's bias shifts all scores of a query alike
        if k.endswith("in_proj_bias"):  # the same for the middle third
            n = truth[k].numel() // 3
            keep = torch.cat([torch.arange(n), torch.arange(2 * n, 3 * n)])
            a, b, c = got["grad." + k][keep], truth[k][keep], grads32[k][keep]
        else:
            a, b, c = got["grad." + k].view(truth[k].shape), truth[k], grads32[k]
        gap = off(a, b)
        theirs = max(theirs, off(c, b))
        if gap > worst[1]:
            worst = (k, gap)
    # A rounding that flips the sign before a ReLU changes gradients by a step, so that no f32 program comes nearer than this;
    # `f64` below shows what is left without it.
    report(f"gradients of {len(names)} parameters against f64, the worst", worst[1], 1e-4 if arch == "vit" else max(1e-4, 1.5 * theirs))
    print(f"      that is {worst[0]}; PyTorch's own f32 is off by {theirs:.1e} at worst")
    del truth, grads32
    half = ours(size, "--model.dtype", "bf16")
    model.bfloat16()
    bf16 = outputs(model, pixels, ids, torch.bfloat16)
    for k in f64:
        report(f"bf16 {k} against f64; limit 1.1 of PyTorch's own", off(half[k].view(f64[k].shape), f64[k]), 1.1 * off(bf16[k], f64[k]))


def in_f64(arch, h, w):
    """Both sides in f64, from pixels that are normalised in f32 as ours are."""
    print(f"{arch} at {h}x{w}, all in f64", flush=True)
    model, (pixels, ids) = make(arch, h, w).double(), batch(h, w)
    got = ours(["--image.height", h, "--image.width", w, "--loss.global", "itc", "--loss.temperature", 0.02, "--model.dtype", "f64"])
    gain = (1 / (255 * STD)).float().double()
    x = (pixels.double() * gain + (-MEAN / STD).float().double()).float().double().permute(0, 3, 1, 2)
    glob, tokens = image_tokens(model.visual, x)
    texts = model.encode_text(ids)
    clip_loss(glob, texts, 50.0).backward()
    for k, v in (("global", glob), ("tokens", tokens), ("texts", texts)):
        report(f"f64 {k}", off(got[k].view(v.shape), v), 1e-6)
    worst = max((off(got["grad." + k].view(p.shape), p.grad), k) for k, p in model.named_parameters() if k != "logit_scale" and "k_proj.bias" not in k and "in_proj_bias" not in k)
    report(f"gradients of all parameters, the worst: {worst[1]}", worst[0], 1e-4)


def sdm(v, t, labels, tau=0.02, eps=1e-8):
    match = (labels[:, None] == labels[None]).to(v.dtype)
    q = match / match.sum(1, keepdim=True)
    s = F.normalize(v, dim=-1) @ F.normalize(t, dim=-1).T / tau

    def one(s, q):
        return (s.softmax(1) * (s.log_softmax(1) - torch.log(q + eps))).sum(1).mean()

    return one(s, q) + one(s.T, q)  # the table of matches is symmetric


# Ways to take three steps: PyTorch's optimizer, ours, whether norms and position tables decay as matrices do, and the factors
# of the rate. IRRA's own recipe is the second: torch.optim.Adam, everything but biases decays, its first epoch's rate.
RECIPES = [
    ("AdamW, warm-up", torch.optim.AdamW, ["--train.warmup", 5], False, [0.1 + 0.9 * (i + 1) / 5 for i in range(3)]),
    ("IRRA's Adam, first epoch", torch.optim.Adam, ["--train.optimizer", "adam", "--train.exempt", "biases", "--train.warmup", 0, "--train.schedule", "multistep"], True, [0.1] * 3),
    ("IRRA's Adam, warm-up", torch.optim.Adam, ["--train.optimizer", "adam", "--train.exempt", "biases", "--train.warmup", 5], True, [0.1 + 0.9 * (i + 1) / 5 for i in range(3)]),
]


def classifier_start(embed):
    """The classifier is one of the new modules, which the file lacks: give both sides the same one."""
    from safetensors import safe_open
    classifier = torch.nn.Parameter(torch.randn(3, embed, generator=torch.Generator().manual_seed(5)) * 0.1)
    f = load_file(folder / "ours.safetensors")
    with safe_open(folder / "ours.safetensors", "pt") as meta:
        metadata = meta.metadata()
    f["classifier.weight"] = classifier.data.clone()
    save_file(f, folder / "start.safetensors", metadata)
    return classifier


def groups_of(model, classifier, norms_decay):
    """Biases at twice the rate without decay, in IRRA's way alone, in the other with norms and position tables; the new module x5."""
    def exempt(name, p):
        return "bias" in name if norms_decay else p.ndim == 1 or name.endswith("positional_embedding")

    named = [(k, p) for k, p in model.named_parameters() if k != "logit_scale"]
    return [{"params": [p for k, p in named if not exempt(k, p)], "base": 1e-5, "weight_decay": 4e-5},
            {"params": [p for k, p in named if exempt(k, p)], "base": 2e-5, "weight_decay": 0.0},
            {"params": [classifier], "base": 5e-5, "weight_decay": 4e-5}]


def three_steps(arch, name, kind, options, norms_decay, factors):
    """SDM and ID losses on a fixed batch, all of IRRA's numbers: rates, decay 4e-5, bias rate x2, eps 1e-3."""
    h, w = 384, 128
    model, (pixels, ids) = make(arch, h, w), batch(h, w)
    scale = factors[0] if "multistep" in options else 1
    size = ["--image.height", h, "--image.width", w, "--loss.global", "sdm", "--loss.temperature", 0.02, "--model.classes", 3, "--loss.id_weight", 1,
            "--train.lr", 1e-5 * scale, "--train.head_lr", 5e-5 * scale, "--train.weight_decay", 4e-5, "--train.bias_lr", 2, "--train.eps", 1e-3, *options]
    run(build / "scvd", "import", folder / "openai.pth", "--out", folder / "ours.safetensors", *size)
    classifier = classifier_start(model.text_projection.shape[1])
    run(build / "reference_tool", folder / "start.safetensors", folder / "batch.safetensors", folder / "out.safetensors", len(factors))
    got = load_file(folder / "out.safetensors")["losses"]
    optimizer = kind(groups_of(model, classifier, norms_decay), lr=1e-5, betas=(0.9, 0.999), eps=1e-3)
    labels, x = torch.tensor([0, 1, 2, 2]), normalised(pixels, torch.float32)
    for step, factor in enumerate(factors):
        for g in optimizer.param_groups:
            g["lr"] = g["base"] * factor
        optimizer.zero_grad()
        v, _ = image_tokens(model.visual, x)
        t = model.encode_text(ids)
        identity = (F.cross_entropy(v @ classifier.T, labels) + F.cross_entropy(t @ classifier.T, labels)) / 2
        loss = sdm(v, t, labels) + identity
        loss.backward()
        optimizer.step()
        report(f"{arch} {name}, step {step + 1}: loss {loss.item():.6f}, ours {got[step].item():.6f}", abs(got[step].item() - loss.item()) / abs(loss.item()), 1e-5)


def main():
    for arch in archs:
        if "steps" in sys.argv:
            for recipe in RECIPES:
                three_steps(arch, *recipe)
        elif "f64" in sys.argv:
            in_f64(arch, 224, 224)
        else:
            for h, w in ((224, 224), (384, 128)):
                check(arch, h, w)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
