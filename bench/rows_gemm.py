"""Matrix products of the model: forward, data gradient and weight gradient of every linear layer, plain and with their
epilogues. Peers: cuBLASLt's best of 16 guesses, with the epilogues that it has (bias, residual, bias gradient) and with one fused elementwise
kernel (+1ew) for those that it lacks; PyTorch's products."""
import os

import torch

import timing
from abi import Gemm
from engine import out, view
from rows import Built, Row, cycle, try_peers


def gelu(x):
    return x * torch.sigmoid(1.702 * x)


def _gelu_and_pre(pre, y):  # one kernel when compiled
    y.copy_(gelu(pre.float()))


def _add(y, r):
    y.add_(r)


def _dgelu(g, pre):
    s = torch.sigmoid(1.702 * pre.float())
    g.copy_(g.float() * (s + 1.702 * pre.float() * s * (1 - s)))


def _dgelu_and_act(g, pre, act):
    act.copy_(gelu(pre.float()))
    _dgelu(g, pre)


COMPILED = {}


def fused(f):
    """The elementwise kernel beside a library's product: compiled once."""
    if f not in COMPILED:
        COMPILED[f] = torch.compile(f, dynamic=False)
    return COMPILED[f]


def random(shape, device, dtype=torch.bfloat16):
    return torch.randn(shape, device=device, dtype=torch.float32).to(dtype)


class Product:
    """Copies of the tensors of op(a) op(b) -> c, and GemmArgs for each."""

    def __init__(self, kind, m, n, k, device):
        self.kind = kind
        self.ta, self.tb = kind.startswith("dw"), kind.startswith("f")
        self.bias = random((n,), device) if "bias" in kind else None
        wide = torch.float32 if self.ta else torch.bfloat16
        size = 2 * (m * k + k * n) + m * n * (4 if self.ta else 2) * (1 + ("gelu" in kind) + ("act" in kind) + ("res" in kind))
        self.n = timing.copies(size, device)
        self.sets = []
        for _ in range(self.n):
            s = {"a": random((k, m) if self.ta else (m, k), device), "b": random((n, k) if self.tb else (k, n), device) / k**0.5}
            s["c"] = torch.empty(m, n, device=device, dtype=wide)
            if "gelu" in kind:
                s["pre"] = random((m, n), device) if kind.startswith("dx") else torch.empty(m, n, device=device, dtype=torch.bfloat16)
            if "act" in kind:
                s["act"] = torch.empty(m, n, device=device, dtype=torch.bfloat16)
            if "res" in kind:
                s["res"] = random((m, n), device)
            if "bgrad" in kind:
                s["bgrad"] = torch.empty(m, device=device, dtype=torch.float32)
            self.sets.append(s)

    def poison(self):
        for s in self.sets[:1]:
            s["c"].fill_(float("nan"))
            if self.kind == "f+bias+gelu2":
                s["pre"].fill_(float("nan"))
            if "act" in s:
                s["act"].fill_(float("nan"))
            if "bgrad" in s:
                s["bgrad"].fill_(float("nan"))

    def results(self):
        s = self.sets[0]
        return [t for t in (s["c"], s["pre"] if self.kind == "f+bias+gelu2" else None, s.get("act"), s.get("bgrad")) if t is not None]

    def plain(self, s, c=None):  # GemmArgs without residual and activation
        return dict(a=view(s["a"]), b=view(s["b"]), bias=view(self.bias), c=out(s["c"] if c is None else c), pre=out(None), ta=self.ta, tb=self.tb)

    def args(self, s, c=None):  # with what cuBLASLt can add in its epilogue, as we can
        args = self.plain(s, c)
        if "res" in self.kind:
            args["residual"] = view(s["res"])
        if "bgrad" in s:
            args["sums"] = out(s["bgrad"].view(1, -1))
        return args

    def reference(self):
        s = self.sets[0]
        a, b = s["a"].double(), s["b"].double()
        c = (a.T if self.ta else a) @ (b.T if self.tb else b)
        if self.bias is not None:
            c = c + self.bias.double()
        if "res" in self.kind:
            c = c + s["res"].double()
        if self.kind == "f+bias+gelu2":
            return [gelu(c), c]
        if "gelu" in self.kind:
            p = s["pre"].double()
            g = torch.sigmoid(1.702 * p)
            c = c * (g + 1.702 * p * g * (1 - g))
        if "act" in s:
            return [c, gelu(p)]
        return [c, a.sum(0)] if "bgrad" in s else [c]

    def ours(self, e):
        runs = []
        for s in self.sets:
            args = self.args(s)
            if self.kind == "f+bias+gelu2":
                args.update(pre=out(s["pre"]), gelu=True)
            if "dgelu" in self.kind:
                args["gate"] = view(s["pre"])
            if "act" in s:
                args["act"] = out(s["act"])
            runs.append(e.kernel("gemm", **args))
        return cycle(runs)

    def after(self, s):
        """What a library needs a kernel of its own for, as one fused kernel."""
        if self.kind == "f+bias+gelu2":
            return lambda: fused(_gelu_and_pre)(s["pre"], s["c"])
        if "res" in self.kind:
            return lambda: fused(_add)(s["c"], s["res"])
        if "act" in s:
            return lambda: fused(_dgelu_and_act)(s["c"], s["pre"], s["act"])
        if self.kind == "dx+dgelu":
            return lambda: fused(_dgelu)(s["c"], s["pre"])
        if "bgrad" in s:
            return lambda: torch.sum(s["a"], 0, dtype=torch.float32, out=s["bgrad"])
        return None

    def target(self, s):  # of the bare product
        return s["pre"] if self.kind == "f+bias+gelu2" else s["c"]

    def lts(self, e):
        """{name: maker} of cuBLASLt's ways. Its bias gradient may not be offered for these types, or be slow: a sum beside it is another way."""
        def way(args, chain):
            def make():
                products = e.cublaslt([args(s, self.target(s)) for s in self.sets]) if e else None
                return products and (self.chained(products) if chain else cycle(products))
            return make
        s, ways = self.sets[0], {}
        if not self.after(s) or "res" in s or "bgrad" in s:
            ways["cublaslt_best16"] = way(self.args, False)
        if self.after(s) and "res" not in s:
            ways["cublaslt_best16+1ew"] = way(self.plain, True)
        return ways

    def torch_(self):
        def product(s):
            a, b = s["a"].T if self.ta else s["a"], s["b"].T if self.tb else s["b"]
            if self.ta:
                return lambda: s["c"].copy_(a @ b)  # rounds to bf16 on the way: PyTorch has no f32 output for bf16 operands
            if self.bias is not None:
                return lambda: torch.addmm(self.bias, a, b, out=self.target(s))
            return lambda: torch.mm(a, b, out=self.target(s))
        return self.chained([product(s) for s in self.sets])

    def chained(self, products):
        runs = []
        for s, p in zip(self.sets, products):
            after = self.after(s)
            runs.append((lambda p=p, after=after: (p(), after())) if after else p)
        return cycle(runs)


def own(e):
    return e and not e.peers_only


def traffic(kind, m, n, k):
    """Bytes of a product's operands and result."""
    return float(2 * (m * k + n * k) + m * n * (4 if kind.startswith("dw") else 2))


def beside(p, e, peers):
    """Ours beside peers ({name: maker}), one product."""
    peers, lack = try_peers(peers | {"torch": p.torch_})
    variants = ({"ours": p.ours(e)} if own(e) else {}) | peers
    b = Built(variants, p.n, {v: p.results for v in variants}, p.reference, p.poison)
    b.lacking = lack
    return b


def gemm_row(name, kind, m, n, k, device, **extra):
    """c [m,n] from a of m x k and b of k x n, in the storage order that `kind` has in the model."""
    def build(e):
        p = Product(kind, m, n, k, device)
        return beside(p, e, p.lts(e))

    moved = traffic(kind, m, n, k) + 2 * m * n * (("gelu" in kind) + ("act" in kind) + ("res" in kind)) + (4 * m if "bgrad" in kind else 0)
    return Row(name, [m, n, k], 2.0 * m * n * k, moved, build, extra={"kind": kind, **extra})


def tiles_row(name, kind, m, n, k, device, **extra):
    """The same product by every width of tile, its blocks alone (1) and in pairs (2), beside what the kernel chooses: whether it chooses well."""
    def build(e):
        p = Product(kind, m, n, k, device)
        cut = lambda width, peers: lambda: cycle([e.gemm_tiles(width, peers, **p.args(s)) for s in p.sets])
        alone = os.environ.get("SCVD_CLUSTERS") == "0"
        ways = {f"ours {width} x {peers}": cut(width, peers) for width in (256, 192, 128) for peers in (1, 2)[:2 - alone]} if own(e) and e.device == "cuda" else {}
        return beside(p, e, ways)

    return Row(name, [m, n, k], 2.0 * m * n * k, traffic(kind, m, n, k), build, extra={"kind": kind, **extra})


def two_row(name, first, second, device, **extra):
    """Two weight gradients [m, n, k] over the same rows, which we make in one launch; peers make one after the other."""
    def build(e):
        both = [Product("dw", *shape, device) for shape in (first, second)]
        sets = min(p.n for p in both)
        ours = lambda: cycle([e.kernel("gemm_two", first=Gemm(**both[0].args(s)), second=Gemm(**both[1].args(t))) for s, t in zip(both[0].sets, both[1].sets)])

        def in_turn(make):
            def made():
                runs = [make(p) for p in both]
                return None if None in runs else lambda i: [run(i) for run in runs]
            return made
        peers, lack = try_peers({"cublaslt_best16": in_turn(lambda p: p.lts(e)["cublaslt_best16"]()), "torch": in_turn(Product.torch_)})
        variants = ({"ours": ours()} if own(e) else {}) | peers
        b = Built(variants, sets, {v: lambda: both[0].results() + both[1].results() for v in variants}, lambda: both[0].reference() + both[1].reference(),
                  lambda: [p.poison() for p in both])
        b.lacking = lack
        return b

    work = lambda f: sum(f(*shape) for shape in (first, second))
    return Row(name, [*first[:2], *second[:2], first[2]], work(lambda m, n, k: 2.0 * m * n * k), work(lambda *mnk: traffic("dw", *mnk)), build, extra=extra)


def tower_rows(tag, tokens, d, hidden, device, **extra):
    """The linear layers of one transformer block."""
    T = tokens
    rows = []
    for layer, o, i in (("qkv", 3 * d, d), ("proj", d, d), ("fc1", hidden, d), ("fc2", d, hidden)):
        rows += [gemm_row(f"gemm.{tag}.{layer}.f", "f", T, o, i, device, **extra), gemm_row(f"gemm.{tag}.{layer}.dx", "dx", T, i, o, device, **extra),
                 gemm_row(f"gemm.{tag}.{layer}.dw", "dw", o, i, T, device, **extra)]
    if tag == "v":
        rows += [gemm_row("gemm.v.fc1.f+bias+gelu2", "f+bias+gelu2", T, hidden, d, device, **extra), gemm_row("gemm.v.fc2.f+bias+res", "f+bias+res", T, d, hidden, device, **extra),
                 gemm_row("gemm.v.proj.f+bias+res", "f+bias+res", T, d, d, device, **extra), gemm_row("gemm.v.fc2.dx+dgelu", "dx+dgelu", T, hidden, d, device, **extra),
                 gemm_row("gemm.v.fc2.dx+dgelu+act", "dx+dgelu+act", T, hidden, d, device, **extra),
                 gemm_row("gemm.v.fc1.dw+bgrad", "dw+bgrad", hidden, d, T, device, **extra)]
    return rows
