"""Attention of the two towers. Peers: every back end of scaled_dot_product_attention by force, on strided views of the same
packed projection (images) or on texts padded to the longest; varlen attention where PyTorch has it."""
import inspect
import random as rng

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import timing
from engine import Seqs, out, view
from rows import Built, Row, cycle, try_peers

BACKENDS = {"sdpa_flash": SDPBackend.FLASH_ATTENTION, "sdpa_cudnn": SDPBackend.CUDNN_ATTENTION, "sdpa_efficient": SDPBackend.EFFICIENT_ATTENTION,
            "sdpa_math": SDPBackend.MATH}


class Packed:
    """Copies of qkv [T, 3C], dy [T, C] of sequences of these lengths, outputs, and what backward keeps."""

    def __init__(self, lengths, heads, width, causal, device):
        self.lengths, self.heads, self.causal, self.device = lengths, heads, causal, device
        self.C, self.T = heads * width, sum(lengths)
        T, C = self.T, self.C
        begin = [sum(lengths[:i]) for i in range(len(lengths))]
        self.begin = torch.tensor(begin, dtype=torch.int32, device=device)
        self.len = torch.tensor(lengths, dtype=torch.int32, device=device)
        self.n = timing.copies(2 * T * C * 8, device)
        f = lambda *shape: torch.randn(*shape, device=device).bfloat16()
        self.sets = [{"qkv": f(T, 3 * C), "dy": f(T, C), "y": torch.empty(T, C, device=device, dtype=torch.bfloat16), "lse": torch.empty(T, heads, device=device),
                      "dqkv": torch.empty(T, 3 * C, device=device, dtype=torch.bfloat16)} for _ in range(self.n)]

    def seqs(self):
        b, n = view(self.begin.view(-1, 1)), view(self.len.view(-1, 1))
        return Seqs(q_begin=b, q_len=n, o_begin=b, k_begin=b, k_len=n, max_q=max(self.lengths), max_k=max(self.lengths), k_rows=self.T)

    def ours(self, e, backward, forward=True):
        runs = []
        for s in self.sets:
            C, q = self.C, {n: view(s["qkv"], i * self.C, self.C) for i, n in enumerate("qkv")}
            common = dict(seqs=self.seqs(), heads=self.heads, scale=(C / self.heads) ** -0.5, causal=self.causal)
            f = e.kernel("attention_forward", **q, y=out(s["y"]), lse=out(s["lse"]), **common)
            f()
            steps = [f] if forward else []
            if backward:
                d = {"d" + n: out(s["dqkv"], first=i * C, cols=C) for i, n in enumerate("qkv")}
                steps.append(e.kernel("attention_backward", dy=view(s["dy"]), **q, y=view(s["y"]), lse=view(s["lse"]), **d, **common))
            runs.append(steps[0] if len(steps) == 1 else lambda steps=steps: [g() for g in steps])
        return cycle(runs)

    def sequences(self, t, columns):  # [B, L, H, D] per sequence, as views of a packed matrix
        at = 0
        for n in self.lengths:
            yield t[at:at + n, columns].reshape(n, self.heads, -1).transpose(0, 1)
            at += n

    def reference(self, backward):
        s, ys, grads = self.sets[0], [], []
        C = self.C
        parts = [list(self.sequences(s["qkv"].double(), slice(i * C, (i + 1) * C))) for i in range(3)]
        for q, k, v, dy in zip(*parts, self.sequences(s["dy"].double(), slice(0, C))):
            q, k, v = (x.detach().requires_grad_(backward) for x in (q, k, v))
            score = q @ k.transpose(1, 2) * q.shape[-1] ** -0.5
            if self.causal:
                score = score.masked_fill(torch.ones(score.shape[-2:], dtype=torch.bool, device=score.device).triu(1), float("-inf"))
            y = score.softmax(-1) @ v
            ys.append(y.detach().transpose(0, 1).reshape(-1, C))
            if backward:
                grads.append(torch.cat([g.transpose(0, 1).reshape(-1, C) for g in torch.autograd.grad(y, (q, k, v), dy)], 1))
        return [torch.cat(grads)] if backward else [torch.cat(ys)]

    def sdpa(self, backend, mode, got):
        """mode: f | b | fb. Sequences of one length are views of the packed projection; others are padded copies."""
        H, D, B, L = self.heads, self.C // self.heads, len(self.lengths), max(self.lengths)
        even = len(set(self.lengths)) == 1
        inside = torch.arange(L, device=self.device)[None, :] < self.len[:, None]

        def spread(t):  # [T, n C] -> [B, L, n C]
            if even:
                return t.view(B, L, -1)
            p = torch.zeros(B, L, t.shape[1], device=t.device, dtype=t.dtype)
            p[inside] = t
            return p
        runs = []
        for index, s in enumerate(self.sets):
            x = spread(s["qkv"]).view(B, L, 3, H, D)
            q, k, v = (x[:, :, i].transpose(1, 2).detach().requires_grad_(mode != "f") for i in range(3))
            dy = spread(s["dy"]).view(B, L, H, D).transpose(1, 2)

            def forward(q=q, k=k, v=v):
                with sdpa_kernel([backend]):
                    return F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)

            kept = forward()

            def run(q=q, k=k, v=v, dy=dy, kept=kept, first=index == 0):
                y = kept if mode == "b" else forward(q, k, v)
                g = torch.autograd.grad(y, (q, k, v), dy, retain_graph=True) if mode != "f" else None
                if first:
                    got[:] = [y.detach()] if g is None else g

            runs.append(run)

        def collect():
            found = [x.transpose(1, 2) for x in got]
            return [(torch.stack(found, 2) if mode != "f" else found[0]).reshape(B, L, -1)[inside]]

        return cycle(runs), collect

    def varlen(self, mode, got):
        from torch.nn.attention.varlen import varlen_attn
        H, D = self.heads, self.C // self.heads
        masked = {} if not self.causal else {"is_causal": True} if "is_causal" in inspect.signature(varlen_attn).parameters else {"window_size": (-1, 0)}
        cu = torch.cat([self.begin, self.begin[-1:] + self.len[-1:]])
        longest, runs = max(self.lengths), []
        for index, s in enumerate(self.sets):
            q, k, v = (t.reshape(-1, H, D).contiguous().requires_grad_() for t in s["qkv"].chunk(3, 1))

            def run(q=q, k=k, v=v, dy=s["dy"].view(-1, H, D), first=index == 0):
                y = varlen_attn(q, k, v, cu, cu, longest, longest, **masked)
                g = torch.autograd.grad(y, (q, k, v), dy)
                if first:
                    got[:] = g

            runs.append(run)
        return cycle(runs), lambda: [torch.cat([x.reshape(-1, self.C) for x in got], 1)]


def attention_row(name, lengths, heads, width, causal, mode, device, **extra):
    T, C = sum(lengths), heads * width
    pairs = sum(n * (n + 1) / 2 if causal else n * n for n in lengths)
    flops = {"f": 4.0, "b": 10.0, "fb": 14.0}[mode] * pairs * C
    moved = {"f": 8.0, "b": 16.0, "fb": 24.0}[mode] * T * C + 4 * T * heads * len(mode)

    def build(e):
        p = Packed(lengths, heads, width, causal, device)
        collected = {}

        def maker(name, make):
            def made():
                collected.setdefault(name, [])
                f, collect = make(collected[name])
                results[name] = collect
                return f
            return made

        results = {}
        peers = {b: maker(b, lambda got, which=which: p.sdpa(which, mode, got)) for b, which in BACKENDS.items()
                 if device == "cuda" or b in ("sdpa_flash", "sdpa_math")}
        if mode == "fb":
            peers["varlen_attn"] = maker("varlen_attn", lambda got: p.varlen(mode, got))
        have, lack = try_peers(peers)
        variants = {}
        if e and not e.peers_only:
            variants["ours"] = p.ours(e, mode != "f", mode != "b")
            results["ours"] = lambda: [p.sets[0]["dqkv" if mode != "f" else "y"]]
        poison = lambda: [p.sets[0][k].fill_(float("nan")) for k in (("y", "dqkv") if mode == "fb" else ("dqkv",) if mode == "b" else ("y",))]
        b = Built(variants | have, p.n, results, lambda: p.reference(mode != "f"), poison)
        b.lacking = lack
        return b

    return Row(name, [len(lengths), max(lengths), heads, width], flops, moved, build, extra={"tokens": T, **extra})


def text_lengths(batch, caption=27, prompts=5, prompt=9):
    """Captions and prompts of a batch: lengths around the means of real ones, the same every time."""
    r = rng.Random(7)
    captions = [max(6, min(77, round(r.gauss(caption, 8)))) for _ in range(batch)]
    return captions + [max(4, prompt + r.randint(-2, 2)) for _ in range(batch * prompts)]
