"""TVL's attention: a text's prompts look at the regions of every image of its group, so rows are shared and their gradients
sum over pairs. Peers: scaled_dot_product_attention on the
group's sides expanded against each other, each back end by force; autograd sums the gradients of what was expanded."""
import torch
import torch.nn.functional as F
from torch.nn.attention import sdpa_kernel

import timing
from engine import Seqs, out, view
from rows import Built, Row, cycle, try_peers
from rows_attention import BACKENDS


class Pairs:
    """q [batch rows_q, C] and kv [batch rows_k, 2C] of groups of `group`; pair (image i, text t) for every t of i's group, i by i."""

    def __init__(self, batch, group, regions, prompts, heads, width, device):
        self.B, self.G, self.H, self.C = batch, group, heads, heads * width
        self.nq, self.nk = prompts, regions
        images = [i for i in range(batch) for _ in range(group)]
        texts = [i // group * group + t for i in range(batch) for t in range(group)]
        pairs = batch * group
        lists = [[t * self.nq for t in texts], [self.nq] * pairs, [p * self.nq for p in range(pairs)], [i * self.nk for i in images], [self.nk] * pairs]
        self.lists = [torch.tensor(x, dtype=torch.int32, device=device) for x in lists]  # kept: the views are but addresses
        self.seqs = Seqs(**dict(zip(("q_begin", "q_len", "o_begin", "k_begin", "k_len"), (view(t.view(-1, 1)) for t in self.lists))),
                         shared=True, max_q=self.nq, max_k=self.nk, k_rows=pairs * self.nk)
        rows, C = pairs * self.nq, self.C
        self.n = timing.copies(2 * C * (2 * rows + 2 * batch * (self.nq + 2 * self.nk)), device)
        f = lambda *shape: torch.randn(*shape, device=device).bfloat16()
        self.sets = [{"q": f(batch * self.nq, C), "kv": f(batch * self.nk, 2 * C), "dy": f(rows, C), "y": f(rows, C), "lse": torch.empty(rows, heads, device=device),
                      "dq": f(batch * self.nq, C), "dkv": f(batch * self.nk, 2 * C)} for _ in range(self.n)]

    def ours(self, e, mode):
        runs = []
        for s in self.sets:
            C = self.C
            common = dict(q=view(s["q"]), k=view(s["kv"], 0, C), v=view(s["kv"], C, C), seqs=self.seqs, heads=self.H, scale=(C / self.H) ** -0.5, causal=False)
            forward = e.kernel("attention_forward", y=out(s["y"]), lse=out(s["lse"]), **common)
            forward()
            runs.append(forward if mode == "f" else e.kernel("attention_backward", dy=view(s["dy"]), y=view(s["y"]), lse=view(s["lse"]), dq=out(s["dq"]),
                                                             dk=out(s["dkv"], first=0, cols=C), dv=out(s["dkv"], first=C, cols=C), **common))
        return cycle(runs)

    def expanded(self, q, k, v):
        """[B n, C] each -> [pairs, H, n, D], in the order of the list."""
        def spread(x, n, of_image):
            x = x.view(self.B // self.G, self.G, n, self.H, -1).transpose(2, 3)
            x = x.unsqueeze(2 if of_image else 1).expand(-1, self.G, self.G, -1, -1, -1)
            return x.reshape(self.B * self.G, self.H, n, -1)
        return spread(q, self.nq, False), spread(k, self.nk, True), spread(v, self.nk, True)

    def packed(self, y):
        return y.transpose(1, 2).reshape(-1, self.C)

    def leaves(self, s, dtype=None):
        q, k, v = s["q"], s["kv"][:, :self.C], s["kv"][:, self.C:]
        return [x.to(dtype or x.dtype).contiguous().detach().requires_grad_() for x in (q, k, v)]

    def reference(self, mode):
        s = self.sets[0]
        q, k, v = leaves = self.leaves(s, torch.float64)
        a, b, c = self.expanded(q, k, v)
        y = self.packed((a @ b.transpose(2, 3) * a.shape[-1] ** -0.5).softmax(-1) @ c)
        if mode == "f":
            return [y.detach()]
        dq, dk, dv = torch.autograd.grad(y, leaves, s["dy"].double())
        return [dq, torch.cat([dk, dv], 1)]

    def sdpa(self, backend, mode, got):
        runs = []
        for index, s in enumerate(self.sets):
            leaves = self.leaves(s)

            def forward(leaves=leaves):
                with sdpa_kernel([backend]):
                    return self.packed(F.scaled_dot_product_attention(*self.expanded(*leaves)))

            kept = forward() if mode == "b" else None

            def run(leaves=leaves, kept=kept, dy=s["dy"], first=index == 0):
                if mode == "f":
                    with torch.no_grad():
                        found = [forward(leaves)]
                else:
                    dq, dk, dv = torch.autograd.grad(kept, leaves, dy, retain_graph=True)
                    found = [dq, dk, dv]
                if first:
                    got[:] = found

            runs.append(run)
        return cycle(runs), lambda: got if mode == "f" else [got[0], torch.cat(got[1:], 1)]


def pairs_row(name, batch, group, regions, prompts, heads, width, mode, device, **extra):
    C, pairs = heads * width, batch * group
    nq, nk = prompts, regions
    sides = 2.0 * batch * C * (nq + 2 * nk)  # q, k, v once; as much for their gradients
    moved = sides + 2.0 * pairs * nq * C if mode == "f" else 2 * sides + 4.0 * pairs * nq * C

    def build(e):
        p, results = Pairs(batch, group, regions, prompts, heads, width, device), {}

        def maker(name, which):
            def made():
                f, results[name] = p.sdpa(which, mode, [])
                return f
            return made

        have, lack = try_peers({b: maker(b, which) for b, which in BACKENDS.items() if device == "cuda" or b in ("sdpa_flash", "sdpa_math")})
        variants = {"ours": p.ours(e, mode)} if e and not e.peers_only else {}
        keys = ("y",) if mode == "f" else ("dq", "dkv")
        results["ours"] = lambda: [p.sets[0][k] for k in keys]
        # What forward left is what backward reads: only the outputs of the timed call are poisoned.
        b = Built(variants | have, p.n, results, lambda: p.reference(mode), lambda: [p.sets[0][k].fill_(float("nan")) for k in keys])
        b.lacking = lack
        return b

    return Row(name, [pairs, nq, nk, heads, width], (4.0 if mode == "f" else 10.0) * pairs * nq * nk * C, moved, build, extra={"group": group, **extra})
