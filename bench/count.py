#!/usr/bin/env python3
"""The work of one training step, and of scoring every pair, counted from the model: FLOPs, the fewest bytes that must move,
and the time below which no GPU of given ceilings can do it.

    bench/count.py [--preset vit-b16] [--batch 64,128,256] [--tflops 788 --tbps 4.3] [--all-pairs 6156x3074]

One entry per kernel call. Bytes: each input read once, each output written once, in bf16 (weight gradients and the
optimizer in f32); bias, activation and residual ride along with products; attention is one pass each way. A call's floor is
the larger of FLOPs / rate and bytes / bandwidth; the step's floor is the sum, for calls run one after another."""
import argparse
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

PRESETS = Path(__file__).resolve().parent.parent / "model" / "presets"


@dataclass
class Call:
    group: str   # "vision", "text", "CGI", "losses", "AdamW"
    kind: str    # "product forward", "data gradient", "weight gradient", "attention", "memory"
    name: str
    flops: float
    bytes: float
    times: int = 1


def preset(name):
    text = (PRESETS / f"{name}.toml").read_text()
    return tomllib.loads(text[text.index("(") + 1:text.rindex(")toml")])


class Counter:
    def __init__(self):
        self.calls, self.group, self.times, self.backward, self.params = [], "", 1, True, 0

    def add(self, kind, name, flops, moved):
        self.calls.append(Call(self.group, kind, name, float(flops), float(moved), self.times))

    def linear(self, name, rows, i, o, extra=0, extra_back=0, first=False, bias=True):
        """y = x w + b and its gradients. extra: more elements per output in the epilogue (a residual, a second output);
        extra_back: per element of x in the data gradient's (what an activation kept)."""
        self.params += self.times * (i * o + (o if bias else 0))
        work, operands = 2.0 * rows * i * o, 2 * (rows * i + i * o)
        self.add("product forward", name, work, operands + 2 * rows * o * (1 + extra))
        if not self.backward:
            return
        if not first:
            self.add("data gradient", name, work, 2 * (rows * o + i * o) + 2 * rows * i * (1 + extra_back))
        self.add("weight gradient", name, work, 2 * rows * (i + o) + 4 * i * o)

    def grouped(self, name, rows, cols, depth, operands, written):
        """A product of blocks: [rows, depth] of pairs with their texts' [depth, cols]. operands: elements of both; written: bytes."""
        work = 2.0 * rows * cols * depth
        self.add("product forward", name, work, 2 * operands + written)
        self.add("data gradient", name, work, 2 * (rows * cols + operands))
        self.add("weight gradient", name, work, 2 * (rows * cols + operands))

    def memory(self, name, forward, backward, parameters=0):
        self.params += self.times * parameters
        self.add("memory", name, 0, forward)
        if self.backward and backward:
            self.add("memory", name, 0, backward)

    def norm(self, name, rows, d, residual=False):
        self.memory(name, 4 * rows * d + 8 * rows, (8 if residual else 6) * rows * d + 8 * rows, 2 * d)

    def attention(self, name, pairs, q_rows, kv_rows, d):
        self.add("attention", name, 4.0 * pairs * d, 2 * d * (2 * q_rows + 2 * kv_rows))
        if self.backward:
            self.add("attention", name, 10.0 * pairs * d, 2 * d * (4 * q_rows + 4 * kv_rows))

    def transformer(self, rows, d, layers, pairs):
        self.times = layers
        self.norm("ln_1", rows, d, True)
        self.linear("qkv", rows, d, 3 * d)
        self.attention("self", pairs, rows, rows, d)
        self.linear("proj + residual", rows, d, d, 1)
        self.norm("ln_2", rows, d, True)
        self.linear("fc1 + QuickGELU", rows, d, 4 * d, 1)
        self.linear("fc2 + residual", rows, 4 * d, d, 1, 1)
        self.times = 1


def batch_of(B, captions=27.0, prompts=5.0, prompt_tokens=9.0, distinct=1.0):
    """Mean lengths of a batch. distinct: encoded prompts per prompt slot (equal prompts are encoded once)."""
    squares = lambda n: n * (n + 1) / 2
    return dict(B=B, tokens=B * (captions + prompts * distinct * prompt_tokens), slots=B * prompts, P=prompts,
                pairs=B * (squares(captions) + prompts * distinct * squares(prompt_tokens)), texts=B * (1 + prompts * distinct))


MADE_UP = dict(captions=32.5, prompts=6.0, prompt_tokens=10.5, distinct=0.43)  # bench/made_up_batch.cpp, of vit-b16


def interaction(k, c, images, texts, pairs, P, folded=False):
    """CGI and DFA: the sides of `images` pictures and `texts` lists of P prompts, then `pairs` pairs of them. folded: VSR as ops/vsr.cpp
    has it; when scoring with A 8 P deep (heads of 64) and nothing of a pair in memory but q and t, in training as it is executed, but for spreading heads."""
    d, m = c["model"]["embed"], c.get("cgi", {})
    image = c["image"]
    N = ((image["height"] - image["patch"]) // image["stride"] + 1) * ((image["width"] - image["patch"]) // image["stride"] + 1)
    hidden, pair_vsr = m.get("ffn", 4) * d, m.get("vsr", "pair") == "pair"

    def self_attention(name, rows, length):
        k.linear(name + " qkv", rows, d, 3 * d)
        k.attention(name, rows * length, rows, rows, d)
        k.linear(name + " out", rows, d, d)
        k.norm(name + " ln", rows, d)

    def feed_forward(name, rows):
        k.linear(name + " up", rows, d, hidden, 1)
        k.linear(name + " down", rows, hidden, d, 0, 1)
        k.norm(name + " ln", rows, d)

    k.linear("TVL kv", images * (N + 1), d, 2 * d)
    self_attention("TVL self", texts * P, P)
    k.linear("TVL q", texts * P, d, d)
    k.attention("TVL cross", pairs * P * N, pairs * P, images * N, d)
    k.linear("TVL out", pairs * P, d, d)
    k.norm("TVL ln2", pairs * P, d)
    feed_forward("TVL ffn", pairs * P)
    if pair_vsr:
        self_attention("VSR self", images * N, N)
        k.linear("VSR q", images * N, d, d)
        k.linear("VSR kv", texts * P, d, 2 * d)
    if pair_vsr and folded and k.backward:
        across, rows = d // 64 * 8 * math.ceil(P / 8), pairs * N  # prompts have slots in whole eights
        k.linear("VSR V", texts * across, d, d)
        k.memory("VSR centre and gain", 8 * texts * across * d, 16 * texts * across * d, 2 * d)
        k.linear("VSR U", texts * across, d, hidden)
        k.grouped("VSR gram", texts * across, across, d, texts * across * d, 4 * texts * across * across)
        k.grouped("VSR scores", rows, across, d, images * N * d + texts * across * d, 4 * rows * across)
        k.memory("VSR mix", 6 * rows * across, 8 * rows * across)
        k.add("weight gradient", "VSR gram", 2.0 * rows * across * across, 4 * rows * across + 4 * texts * across * across)
        k.grouped("VSR up + QuickGELU", rows, hidden, across, rows * across + texts * across * hidden, 4 * rows * hidden)
        if m.get("residual", "none") == "self":
            k.grouped("VSR G", rows, d, across, rows * across + texts * across * d, 2 * rows * d)
        k.linear("VSR down", rows, hidden, d, 0, 1)
        k.memory("VSR ln6 + max", 2 * rows * d + 8 * rows, 4 * rows * d + 8 * rows, 2 * d)
    elif pair_vsr and folded:
        across = d // 64 * P
        k.add("product forward", "VSR", 2.0 * pairs * N * (P * d + across * (d + hidden) + hidden * d), 2 * pairs * (N + 1) * d)
    elif pair_vsr:
        k.attention("VSR cross", pairs * N * P, pairs * N, texts * P, d)
        k.linear("VSR out", pairs * N, d, d)
        k.norm("VSR ln5", pairs * N, d)
        feed_forward("VSR ffn", pairs * N)
        k.memory("VSR max", 2 * pairs * N * d, 2 * pairs * N * d)
    else:
        self_attention("VSR self", texts * P, P)
        feed_forward("VSR ffn", texts * P)
        k.memory("VSR max", 2 * texts * P * d, 2 * texts * P * d)
    k.memory("DFA focus", 2 * pairs * (P + 2) * d, 4 * pairs * (P + 2) * d)
    feed_forward("DFA ffn", pairs)


def training_step(c, B, lengths=None, folded=True):
    k, b = Counter(), batch_of(B, **(lengths or MADE_UP))
    image, d = c["image"], c["model"]["embed"]
    N = ((image["height"] - image["patch"]) // image["stride"] + 1) * ((image["width"] - image["patch"]) // image["stride"] + 1)
    D, T = image["dim"], B * (N + 1)
    k.group = "vision"
    k.memory("patchify", B * 3 * (image["height"] * image["width"] + 2 * N * image["patch"] ** 2), 0)
    k.linear("patches + positions", B * N, 3 * image["patch"] ** 2, D, first=True, bias=False)
    k.params += (N + 2) * D
    k.norm("ln_pre", T, D)
    k.transformer(T, D, image["layers"], T * (N + 1.0))
    k.norm("ln_post", T, D)
    k.linear("proj", T, D, d, bias=False)
    k.group, t = "text", c["text"]
    k.memory("embed", 4 * b["tokens"] * t["dim"], 10 * b["tokens"] * t["dim"], (49408 + 77) * t["dim"])
    k.transformer(b["tokens"], t["dim"], t["layers"], b["pairs"])
    k.norm("ln_final", b["texts"], t["dim"])
    k.linear("proj", b["texts"], t["dim"], d, bias=False)
    k.group = "CGI"
    pairs = c["loss"].get("pairs", "all")
    interaction(k, c, B, B, B * (B if pairs == "all" else min(B, int(pairs.split(":")[1]) + 1)), b["P"], folded)
    k.group = "losses"
    k.add("memory", "scores and losses", 8.0 * B * B * d, 16 * B * B)
    k.group = "AdamW"
    k.add("memory", "AdamW with norm", 0, (30 + 4) * k.params)
    return k


def all_pairs(c, queries, gallery, P=6.0, folded=False):
    """Scores of every query with every image from cached sides."""
    k = Counter()
    k.backward, k.group = False, "scoring"
    interaction(k, c, 0, 0, queries * gallery, P, folded)
    k.calls = [x for x in k.calls if x.flops or x.bytes]
    return k


def floor(calls, rate, bandwidth):
    return sum(x.times * max(x.flops / rate, x.bytes / bandwidth) for x in calls)


def table(k, rate, bandwidth):
    """Markdown: work and floor per group and kind."""
    lines = ["| part | calls | TFLOP | GB | FLOPs alone, ms | bytes alone, ms | floor, ms |", "|---|---|---|---|---|---|---|"]
    keys = list(dict.fromkeys((x.group, x.kind) for x in k.calls))
    for key in keys + [None]:
        chosen = [x for x in k.calls if key in (None, (x.group, x.kind))]
        f, b = (sum(x.times * getattr(x, a) for x in chosen) for a in ("flops", "bytes"))
        lines.append(f"| {' '.join(key) if key else '**sum**'} | {sum(x.times for x in chosen)} | {f / 1e12:.3f} | {b / 1e9:.2f} | {1e3 * f / rate:.2f} | "
                     f"{1e3 * b / bandwidth:.2f} | {1e3 * floor(chosen, rate, bandwidth):.2f} |")
    return "\n".join(lines)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--preset", default="vit-b16")
    a.add_argument("--batch", default="64,128,256")
    a.add_argument("--tflops", type=float, default=788, help="dense bf16 products of random data, as measured")
    a.add_argument("--tbps", type=float, default=4.3, help="device copy, bytes read and written")
    a.add_argument("--all-pairs", default="6156x3074", help="queries x images")
    o = a.parse_args()
    c, rate, bandwidth = preset(o.preset), 1e12 * o.tflops, 1e12 * o.tbps
    for B in map(int, o.batch.split(",")):
        k = training_step(c, B)
        f, layers = (sum(x.times * x.flops for x in calls) for calls in (k.calls, training_step(c, B, folded=False).calls))
        print(f"\n{o.preset}, batch {B}: {k.params / 1e6:.1f} M parameters, {f / B / 1e9:.1f} GFLOP a pair ({layers / B / 1e9:.1f} with VSR layer by layer)\n\n{table(k, rate, bandwidth)}")
    q, g = map(int, o.all_pairs.split("x"))
    for folded in (False, True):
        k = all_pairs(c, q, g, folded=folded)
        f, b = (sum(getattr(x, n) for x in k.calls) for n in ("flops", "bytes"))
        print(f"\nscores of {q} queries x {g} images{', VSR folded' if folded else ''}: {f / q / g / 1e6:.0f} MFLOP a pair, {f / 1e15:.2f} PFLOP, "
              f"{f / rate:.1f} s at {o.tflops:.0f} TFLOP/s; bytes of every kernel's inputs and outputs {b / 1e12:.1f} TB, {b / bandwidth:.1f} s")


if __name__ == "__main__":
    main()
