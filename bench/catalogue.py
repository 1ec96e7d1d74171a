"""Which rows there are: the calls of one training step at the published size (--size full), or small ones that exercise the
same code on any machine (--size tiny)."""
from math import gcd

from rows_attention import attention_row, text_lengths
from rows_gemm import gemm_row, tiles_row, tower_rows, two_row
from rows_grouped import grouped_row
from rows_memory import adamw_row, loss_row
from rows_norm import layer_norm_max_row, layer_norm_row
from rows_pairs import pairs_row
from rows_pixels import patches_row

FULL = dict(tokens=193, v=(768, 12, 3072), t=(512, 8, 2048), square=8192, classes=11003, picture=(384, 128, 16), layers=12, vocab=49408)
TINY = dict(tokens=17, v=(128, 2, 256), t=(64, 1, 128), square=256, classes=101, picture=(32, 16, 8), layers=2, vocab=500)


def parameter_sizes(c):
    """Elements of each parameter of the two towers and the interaction, in the order of the model."""
    def block(d, h):
        return [d, d, 3 * d * d, 3 * d, d * d, d, d, d, h * d, h, d * h, d]
    (dv, _, hv), (dt, _, ht) = c["v"], c["t"]
    cross = [dt * dt, dt, 2 * dt * dt, 2 * dt, dt * dt, dt]
    cgi = 2 * (block(dt, ht) + [dt, dt] + cross) + [dt, dt, ht * dt, ht, dt * ht, dt]
    return ([dv * 3 * c["picture"][2] ** 2, dv, c["tokens"] * dv, dv * dt, dv, dv] + c["layers"] * block(dv, hv) + [dv, dv] +
            [c["vocab"] * dt, 77 * dt, dt * dt] + c["layers"] * block(dt, ht) + [dt, dt] + cgi)


def rows(size, batches, device):
    c = FULL if size == "full" else TINY
    (dv, hv, fv), (dt, ht, ft) = c["v"], c["t"]
    s = c["square"]
    all_rows = [gemm_row("gemm.square.f", "f", s, s, s, device)]
    for B in batches:
        x = {"B": B}
        lengths, T = text_lengths(B), B * c["tokens"]
        at = len(all_rows)
        all_rows += tower_rows("v", T, dv, fv, device, **x) + tower_rows("t", sum(lengths), dt, ft, device, **x)
        all_rows += [tiles_row(f"tiles.v.{layer}", kind, *shape, device, **x) for layer, kind, shape in
                     (("qkv.f", "f", (T, 3 * dv, dv)), ("fc2.f", "f", (T, dv, fv)), ("fc1.dx", "dx", (T, dv, fv)), ("fc1.dw", "dw", (fv, dv, T)))]
        all_rows += [two_row("two.v.qkv+fc2.dw", (3 * dv, dv, T), (dv, fv, T), device, **x), two_row("two.v.fc1+proj.dw", (fv, dv, T), (dv, dv, T), device, **x)]
        all_rows += [attention_row("attn.v." + m, [c["tokens"]] * B, hv, dv // hv, False, m, device, **x) for m in ("f", "b")]
        all_rows += [attention_row("attn.t.varlen.fb", lengths, ht, dt // ht, True, "fb", device, **x)]
        all_rows += [pairs_row(f"attn.tvl.{m}", B, gcd(8, B), c["tokens"] - 1, 6, ht, dt // ht, m, device, **x) for m in ("f", "b")]
        all_rows += [grouped_row(f"grouped.vsr.{kind}", kind, B, gcd(8, B), c["tokens"] - 1, 8 * ht, ft, device, **x) for kind in ("f+bias+gelu2", "dx", "dw+bgrad")]
        all_rows += [layer_norm_row("ln.v.f", T, dv, False, device, **x), layer_norm_row("ln.v.b+res", T, dv, True, device, **x)]
        all_rows += [layer_norm_max_row(f"ln+max.vsr.{m}", B * gcd(8, B), c["tokens"] - 1, dt, m == "b", device, **x) for m in ("f", "b")]
        all_rows += [loss_row("loss.sdm.fb", B, B, "sdm", device, **x), loss_row("loss.ce.fb", B, c["classes"], "ce", device, **x)]
        all_rows += [patches_row("augment+patchify", B, *c["picture"], device, **x)]
        for r in all_rows[at:]:
            r.id += f".B{B}"
    return all_rows + [adamw_row("adamw", parameter_sizes(c), device)]
