"""VSR's grouped products: the [regions, depth] of every pair with its text's [depth, hidden], and both gradients. Peer: torch.bmm on the
texts' blocks gathered for their pairs, with one fused elementwise kernel where ours has an epilogue; a text's gradient is the sum over the
images of its group."""
import torch

import timing
from engine import out, view
from rows import Built, Row, cycle, try_peers
from rows_gemm import _gelu_and_pre, fused, gelu, random


class Grouped:
    """Pair (image i, text t) for every t of i's group, i by i: a [pairs regions, depth], b [texts depth, hidden], g [pairs regions, hidden]."""

    def __init__(self, kind, batch, group, regions, depth, hidden, device):
        self.kind, self.B, self.G, self.P, self.N, self.K, self.H = kind, batch, group, batch * group, regions, depth, hidden
        self.which = torch.tensor([i // group * group + t for i in range(batch) for t in range(group)], dtype=torch.int32, device=device)
        self.bias = random((hidden,), device)
        rows = self.P * regions
        self.n = timing.copies(2 * (rows * depth + batch * depth * hidden + rows * hidden * (2 if kind.startswith("f") else 1)), device)
        self.sets = []
        for _ in range(self.n):
            s = {"a": random((rows, depth), device), "b": random((batch * depth, hidden), device) / depth**0.5}
            if kind.startswith("f"):
                s["c"], s["pre"] = (torch.empty(rows, hidden, device=device, dtype=torch.bfloat16) for _ in range(2))
            else:
                s["g"] = random((rows, hidden), device)
                s["c"] = torch.empty_like(s["a"] if kind == "dx" else s["b"])
                if kind == "dw+bgrad":
                    s["sums"] = torch.empty(batch, hidden, device=device)
            self.sets.append(s)

    def outputs(self, s):
        return [s[k] for k in ("c", "pre", "sums") if k in s]

    def ours(self, e):
        at = view(self.which.view(-1, 1))
        common = dict(members=self.P, a_rows=self.N)

        def call(s):
            if self.kind.startswith("f"):
                return e.kernel("grouped_gemm", a=view(s["a"]), b=view(s["b"]), b_at=at, bias=view(self.bias), c=out(s["c"]), pre=out(s["pre"]), b_rows=self.K, gelu=True, **common)
            if self.kind == "dx":
                return e.kernel("grouped_gemm", a=view(s["g"]), b=view(s["b"]), b_at=at, c=out(s["c"]), b_rows=self.K, tb=True, **common)
            return e.kernel("grouped_gemm", a=view(s["a"]), b=view(s["g"]), c_at=at, c=out(s["c"]), sums=out(s["sums"]), b_rows=self.N, ta=True, **common)

        return cycle([call(s) for s in self.sets])

    def of_group(self, x):  # [pairs, ...] -> [groups, images, texts, ...]
        return x.view(self.B // self.G, self.G, self.G, *x.shape[1:])

    def computed(self, a, b, g, bias):
        """The outputs, before the activation where there is one."""
        blocks = lambda x: x.view(self.P, self.N, -1)
        if self.kind == "dw+bgrad":
            wide = torch.float64 if a.dtype == torch.float64 else torch.float32
            dw = self.of_group(torch.bmm(blocks(a).transpose(1, 2), blocks(g))).sum(1, dtype=wide)
            return [dw.reshape(-1, self.H).to(a.dtype), self.of_group(blocks(g)).sum((1, 3), dtype=wide).reshape(-1, self.H)]
        of_pairs = b.view(self.B, self.K, self.H)[self.which.long()]
        if self.kind == "dx":
            return [torch.bmm(blocks(g), of_pairs.transpose(1, 2)).view(-1, self.K)]
        return [torch.baddbmm(bias.view(1, 1, -1), blocks(a), of_pairs).view(-1, self.H)]

    def bmm(self):
        def call(s):
            def run():
                found = self.computed(s["a"], s["b"], s.get("g"), self.bias)
                if self.kind.startswith("f"):
                    s["pre"].copy_(found[0])
                    fused(_gelu_and_pre)(s["pre"], s["c"])
                else:
                    for to, x in zip(self.outputs(s), found):
                        to.copy_(x)
            return run

        return cycle([call(s) for s in self.sets])

    def reference(self):
        s = self.sets[0]
        found = self.computed(s["a"].double(), s["b"].double(), s["g"].double() if "g" in s else None, self.bias.double())
        # The activation's input is rounded as backward keeps it.
        return [gelu(found[0].bfloat16().double()), found[0]] if self.kind.startswith("f") else found


def grouped_row(name, kind, batch, group, regions, depth, hidden, device, **extra):
    pairs = batch * group
    rows = pairs * regions
    moved = 2.0 * (rows * depth + batch * depth * hidden + rows * hidden * (2 if kind.startswith("f") else 1))

    def build(e):
        p = Grouped(kind, batch, group, regions, depth, hidden, device)
        have, lack = try_peers({"bmm": p.bmm})
        variants = {"ours": p.ours(e)} if e and not e.peers_only else {}
        outputs = lambda: p.outputs(p.sets[0])
        b = Built(variants | have, p.n, {n: outputs for n in ("ours", "bmm")}, p.reference, lambda: [x.fill_(float("nan")) for x in outputs()])
        b.lacking = lack
        return b

    return Row(name, [pairs, regions, depth, hidden], 2.0 * rows * depth * hidden, moved, build, extra={"group": group, **extra})
