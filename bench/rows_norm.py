"""Layer norm, alone and with the max over the rows of a pair behind it. Peers: eager PyTorch, the same compiled."""
import functools

import torch
import torch.nn.functional as F

import timing
from engine import ACCUMULATE, out, view
from rows import Row, cycle
from rows_memory import built


@functools.cache
def _compiled(f):
    return torch.compile(f, dynamic=False)


def layer_norm_row(name, T, C, backward, device, **extra):
    """Backward also adds the gradient of the residual path; gradients of gamma and beta are f32."""
    def build(e):
        n = timing.copies(2 * T * C * (4 if backward else 2), device)
        gamma, beta = (torch.randn(C, device=device).bfloat16() for _ in range(2))
        f = lambda: torch.randn(T, C, device=device).bfloat16()
        sets = [{"x": f(), "dy": f(), "res": f(), "y": torch.empty(T, C, device=device, dtype=torch.bfloat16)} for _ in range(n)]
        stat = [torch.empty(T, device=device) for _ in range(2)]
        grads, got = [torch.empty(C, device=device) for _ in range(2)], {}
        first = sets[0]["res"].clone()
        v = lambda t: view(t.view(1, -1))
        column = lambda t: view(t.view(-1, 1))

        def forward(s):
            return e.kernel("layer_norm_forward", x=view(s["x"]), gamma=v(gamma), beta=v(beta), y=out(s["y"]), mean=out(stat[0].view(-1, 1)), rstd=out(stat[1].view(-1, 1)), eps=1e-5)

        def ours():
            if not backward:
                return cycle([forward(s) for s in sets])
            forward(sets[0])()
            return cycle([e.kernel("layer_norm_backward", dy=view(s["dy"]), x=view(s["x"]), gamma=v(gamma), mean=column(stat[0]), rstd=column(stat[1]),
                                   dx=out(s["res"], ACCUMULATE), dgamma=out(grads[0].view(1, -1)), dbeta=out(grads[1].view(1, -1))) for s in sets])

        def eager(s):
            if not backward:
                return lambda: got.__setitem__("y", norm(s["x"], gamma, beta))
            _, mean, rstd = torch.ops.aten.native_layer_norm(s["x"], [C], gamma, beta, 1e-5)

            def run():
                dx, dg, db = torch.ops.aten.native_layer_norm_backward(s["dy"], s["x"], [C], mean, rstd, gamma, beta, [True, True, True])
                got["b"] = [dx + s["res"], dg, db]
            return run

        def compiled(s):
            if not backward:
                f = _compiled(norm)
                return lambda: got.__setitem__("y", f(s["x"], gamma, beta))
            f = _compiled(_backward_formula)
            _, mean, rstd = torch.ops.aten.native_layer_norm(s["x"], [C], gamma, beta, 1e-5)
            return lambda: got.__setitem__("b", list(f(s["dy"], s["x"], mean, rstd, gamma, beta, s["res"])))

        def reference():
            s = sets[0]
            x = s["x"].double().requires_grad_()
            g, b = gamma.double().requires_grad_(), beta.double().requires_grad_()
            y = norm(x, g, b)
            if not backward:
                return [y.detach()]
            dx, dg, db = torch.autograd.grad(y, (x, g, b), s["dy"].double())
            return [dx + first.double(), dg, db]

        def before():
            sets[0]["res"].copy_(first)
            sets[0]["y"].fill_(float("nan"))
            got.clear()

        made = lambda how: lambda: cycle([how(s) for s in sets])
        results = {"ours": lambda: [sets[0]["res"], *grads] if backward else [sets[0]["y"]]}
        results |= {p: (lambda: got["b"]) if backward else (lambda: [got["y"]]) for p in ("eager", "compile")}
        return built(ours, {"eager": made(eager), "compile": made(compiled)}, n, results, reference, before, e)

    moved = T * C * (8.0 if backward else 4.0) + 8 * T
    return Row(name, [T, C], (20.0 if backward else 8.0) * T * C, moved, build, extra=extra)


def norm(x, gamma, beta):
    return F.layer_norm(x, (x.shape[-1],), gamma, beta)


def _gradients(dy, x, mean, rstd, gamma, beta):
    dx, dg, db = torch.ops.aten.native_layer_norm_backward(dy, x, [x.shape[-1]], mean, rstd, gamma, beta, [True, True, True])
    return dx, dg.float(), db.float()


def _backward_formula(dy, x, mean, rstd, gamma, beta, res):
    dx, dg, db = _gradients(dy, x, mean, rstd, gamma, beta)
    return dx + res, dg, db


def layer_norm_max_row(name, pairs, rows, C, backward, device, **extra):
    """The max of layer norm over each pair's rows, and the gradients once it is known which rows won (the same for everybody: in bf16
    equals are frequent, and peers would send a gradient elsewhere)."""
    def build(e):
        n = timing.copies(2 * pairs * rows * C * (2 if backward else 1), device)
        gamma, beta = (torch.randn(C, device=device).bfloat16() for _ in range(2))
        f = lambda r: torch.randn(r, C, device=device).bfloat16()
        sets = [{"x": f(pairs * rows), "dy": f(pairs), "y": torch.empty(pairs, C, device=device, dtype=torch.bfloat16), "dx": f(pairs * rows)} for _ in range(n)]
        for s in sets:
            s["won"] = norm(s["x"].float(), gamma.float(), beta.float()).view(pairs, rows, C).argmax(1, keepdim=True)
            s["argmax"] = (s["won"][:, 0] + rows * torch.arange(pairs, device=device)[:, None]).int()
            s["stat"] = torch.ops.aten.native_layer_norm(s["x"], [C], gamma, beta, 1e-5)[1:]
        mean, rstd, chosen = torch.empty(pairs * rows, 1, device=device), torch.empty(pairs * rows, 1, device=device), torch.empty(pairs, C, device=device, dtype=torch.int32)
        grads, got = [torch.empty(1, C, device=device) for _ in range(2)], {}
        v = lambda t: view(t.view(1, -1))

        def ours(s):
            if not backward:
                return e.kernel("layer_norm_max_forward", x=view(s["x"]), gamma=v(gamma), beta=v(beta), y=out(s["y"]), argmax=out(chosen), mean=out(mean), rstd=out(rstd), eps=1e-5)
            column = lambda t: view(t.float().view(-1, 1).contiguous())
            return e.kernel("layer_norm_max_backward", dy=view(s["dy"]), x=view(s["x"]), gamma=v(gamma), mean=column(s["stat"][0]), rstd=column(s["stat"][1]),
                            dx=out(s["dx"]), dgamma=out(grads[0]), dbeta=out(grads[1]), argmax=view(s["argmax"]))

        def torch_(compiled):
            make = _compiled if compiled else lambda f: f

            def one(s):
                if not backward:
                    pooled = make(_pooled)
                    return lambda: got.__setitem__("got", [pooled(s["x"], gamma, beta, rows)])
                gradients = make(_pooled_backward)
                return lambda: got.__setitem__("got", gradients(s["dy"], s["x"], *s["stat"], gamma, beta, s["won"], rows))
            return lambda: cycle([one(s) for s in sets])

        def reference():
            s = sets[0]
            x, g, b = (t.double().requires_grad_() for t in (s["x"], gamma, beta))
            y = norm(x, g, b).view(pairs, rows, C)
            if not backward:
                return [y.detach().amax(1)]
            return list(torch.autograd.grad(y.gather(1, s["won"])[:, 0], (x, g, b), s["dy"].double()))

        def before():
            sets[0]["y"].fill_(float("nan")), sets[0]["dx"].fill_(float("nan"))
            got.clear()

        results = {"ours": lambda: [sets[0]["dx"], grads[0][0], grads[1][0]] if backward else [sets[0]["y"]]} | {p: lambda: got["got"] for p in ("eager", "compile")}
        return built(lambda: cycle([ours(s) for s in sets]), {"eager": torch_(False), "compile": torch_(True)}, n, results, reference, before, e)

    moved = pairs * (rows + 1) * C * (4.0 if backward else 2.0) + 4 * pairs * C + 8 * pairs * rows
    return Row(name, [pairs, rows, C], (20.0 if backward else 8.0) * pairs * rows * C, moved, build, extra=extra)


def _pooled(x, gamma, beta, rows):
    return norm(x, gamma, beta).view(-1, rows, x.shape[-1]).amax(1)


def _pooled_backward(dy, x, mean, rstd, gamma, beta, won, rows):
    dz = x.new_zeros(dy.shape[0], rows, x.shape[-1]).scatter_(1, won, dy[:, None]).view_as(x)
    return _gradients(dz, x, mean, rstd, gamma, beta)
