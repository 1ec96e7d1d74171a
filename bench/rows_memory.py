"""What memory bounds: losses, AdamW, patches. Peers: eager PyTorch, the same compiled, torchvision."""
import torch
import torch.nn.functional as F

from engine import out, view
from rows import Built, Row, try_peers

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def built(ours, peers, n, results, reference, before, e):
    have, lack = try_peers(peers)
    variants = ({"ours": ours()} if e and not e.peers_only else {}) | have
    b = Built(variants, n, {v: results[v] for v in variants}, reference, before)
    b.lacking = lack
    return b


def loss_row(name, rows, cols, kind, device, **extra):
    """Forward and backward of a row-wise loss on f32 scores: softmax cross-entropy ("ce") or SDM's divergence ("sdm")."""
    def build(e):
        x = torch.randn(rows, cols, device=device) * (0.1 if kind == "sdm" else 1)  # cosines | logits
        target = torch.randint(cols, (rows,), device=device, dtype=torch.int32)
        match = (torch.arange(rows, device=device)[:, None] == torch.arange(cols, device=device)[None]).int().contiguous()
        dl = torch.full((rows, 1), 1.0 / rows, device=device)
        loss, lse, dx, got = torch.empty(rows, 1, device=device), torch.empty(rows, 1, device=device), torch.empty_like(x), []
        scale, eps = 50.0, 1e-8
        t = view(target.view(-1, 1))

        def ours():
            if kind == "ce":
                steps = [e.kernel("softmax_xent_forward", logits=view(x), target=t, loss=out(loss), lse=out(lse)),
                         e.kernel("softmax_xent_backward", dloss=view(dl), logits=view(x), target=t, lse=view(lse), dlogits=out(dx))]
            else:
                steps = [e.kernel("matching_forward", scores=view(x), match=view(match), loss=out(loss), lse=out(lse), scale=scale, eps=eps),
                         e.kernel("matching_backward", dloss=view(dl), scores=view(x), match=view(match), loss=view(loss), lse=view(lse), dscores=out(dx), scale=scale, eps=eps)]
            return lambda i: [f() for f in steps]

        def value(x):
            if kind == "ce":
                return F.cross_entropy(x, target.long(), reduction="none")
            log_p = F.log_softmax(scale * x, 1)
            q = match.to(x.dtype) / match.sum(1, keepdim=True).clamp(min=1)
            return (log_p.exp() * (log_p - (q + eps).log())).sum(1)

        def torch_(compiled):
            f, leaf = torch.compile(value, dynamic=False) if compiled else value, x.detach().requires_grad_()

            def run(i):
                l = f(leaf)
                got[:] = [l.detach(), torch.autograd.grad(l, leaf, dl[:, 0])[0]]
            return run

        def reference():
            leaf = x.double().requires_grad_()
            l = value(leaf)
            return [l.detach(), torch.autograd.grad(l, leaf, dl[:, 0].double())[0]]

        def before():
            got.clear()
            for b in (loss, lse, dx):
                b.fill_(float("nan"))

        results = {"ours": lambda: [loss, dx], "eager": lambda: got, "compile": lambda: got}
        return built(ours, {"eager": lambda: torch_(False), "compile": lambda: torch_(True)}, 1, results, reference, before, e)

    return Row(name, [rows, cols], 16.0 * rows * cols, 8.0 * rows * cols, build, extra={"dtype": "f32", **extra})


def adamw_row(name, sizes, device, **extra):
    """One update with the gradient's norm and the bf16 copy that kernels read; nobody clears gradients that the next step overwrites. `sizes`: elements of
    each parameter; ours walks them as one flat buffer, PyTorch as a list, which counts its steps on the device so that a graph can hold them."""
    def build(e):
        total = sum(sizes)
        flat = {k: torch.randn(total, device=device) * s for k, s in (("w", 0.02), ("g", 0.01), ("m", 1e-3))}
        flat["v"] = (torch.randn(total, device=device) * 1e-3) ** 2
        flat["c"] = flat["w"].bfloat16()
        start = {k: t.clone() for k, t in flat.items()}
        ends = torch.tensor([sum(sizes[:i + 1]) for i in range(len(sizes))], dtype=torch.int32, device=device)
        lr, decay = torch.full((len(sizes),), 1e-4, device=device), torch.full((len(sizes),), 0.05, device=device)
        b1, b2, eps, step = 0.9, 0.98, 1e-8, 10
        scalars = torch.tensor([1.0, 1 / (1 - b1**step), 1 / (1 - b2**step)], device=device)
        square, v = torch.empty(1, device=device), lambda t: view(t.view(1, -1))

        def ours():
            norm = e.kernel("dot", a=v(flat["g"]), b=v(flat["g"]), y=out(square.view(1, 1)))
            o = lambda k: out(flat[k].view(1, -1))
            col = lambda t: view(t.view(-1, 1))
            update = e.kernel("adamw", master=o("w"), compute=o("c"), m=o("m"), v=o("v"), grad=v(flat["g"]), lr=col(lr), decay=col(decay), ends=col(ends), scalars=col(scalars), beta1=b1, beta2=b2, eps=eps)
            return lambda i: (norm(), update())

        def torch_(**how):
            params = [torch.nn.Parameter(p) for p in start["w"].clone().split(sizes)]
            grads, shadow = start["g"].clone().split(sizes), [p.bfloat16() for p in start["w"].split(sizes)]
            opt = torch.optim.AdamW(params, lr=1e-4, betas=(b1, b2), eps=eps, weight_decay=0.05, capturable=device == "cuda", **how)
            for p, g, m, s in zip(params, grads, start["m"].clone().split(sizes), start["v"].clone().split(sizes)):
                p.grad = g
                opt.state[p] = {"step": torch.tensor(float(step - 1), device=device), "exp_avg": m, "exp_avg_sq": s}

            def run(i):
                torch.nn.utils.get_total_norm([p.grad for p in params])
                opt.step()
                torch._foreach_copy_(shadow, params)

            first = []
            run(0)
            first.append(torch.cat([p.detach().reshape(-1) for p in params]))
            run.first = first
            return run

        def reference():
            w, g, m, s = (start[k].double() for k in "wgmv")
            m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g * g
            return [w * (1 - 1e-4 * 0.05) - 1e-4 * (m * scalars[1].double()) / ((s * scalars[2].double()).sqrt() + eps)]

        def before():
            for k, t in flat.items():
                t.copy_(start[k])

        peers = {"fused": lambda: torch_(fused=True), "foreach": lambda: torch_(foreach=True)}
        have, lack = try_peers(peers)
        variants = ({"ours": ours()} if e and not e.peers_only else {}) | have
        results = {"ours": lambda: [flat["w"]]} | {n: (lambda f=f: f.first) for n, f in have.items()}
        b = Built(variants, 1, results, reference, before)
        b.lacking = lack
        return b

    return Row(name, [sum(sizes), len(sizes)], 15.0 * sum(sizes), 34.0 * sum(sizes), build, extra={"dtype": "f32", **extra})
