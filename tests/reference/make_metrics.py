#!/usr/bin/env python3
"""Writes tests/data/metrics.json: the retrieval numbers of IRRA's, RDE's and TBPS-CLIP's evaluators on random scores without and
with ties. Needs torch.

What the three do (anosorae/IRRA utils/metrics.py, QinYang79/RDE utils/metrics.py, Flame-Chasers/TBPS-CLIP misc/eval.py):
  IRRA       R@k from the cumulative count of matches, AP = mean of precision at each match, INP = matches / rank of the last
  RDE        the same function, on the mean of its two similarities; also prints R@1 + R@5 + R@10
  TBPS-CLIP  R@k from the matches among the first k, the same AP, no INP; also prints (R@1 + R@5 + R@10) / 3
All sort with torch.argsort, whose order of equal scores is undefined. Ours puts people who do not match first, so the scores
handed to theirs have that made explicit: a match is lowered by less than any other difference. The formulas are written
here in three ways, which must agree.
"""
import fractions
import json
import pathlib

import torch


def irra(scores, q, g):
    order = torch.argsort(scores, dim=1, descending=True)
    hit = g[order] == q[:, None]
    seen = hit.cumsum(1)
    rank = torch.arange(1, g.numel() + 1)
    cmc = (seen > 0).double().mean(0)
    ap = (seen.double() / rank * hit).sum(1) / hit.sum(1)
    last = torch.where(hit, rank, 0).max(1).values
    inp = seen.gather(1, (last - 1)[:, None])[:, 0].double() / last
    return {"R1": cmc[0].item(), "R5": cmc[4].item(), "R10": cmc[9].item(), "mAP": ap.mean().item(), "mINP": inp.mean().item()}


def tbps_clip(scores, q, g):
    hit = (q[:, None] == g[scores.argsort(dim=-1, descending=True)]).long()
    at = {k: (hit[:, :k].sum(-1) > 0).sum().item() / len(q) for k in (1, 5, 10)}
    precision = hit.cumsum(-1).double() / torch.arange(1, hit.shape[1] + 1) * hit
    return {"R1": at[1], "R5": at[5], "R10": at[10], "mAP": (precision.sum(-1) / hit.sum(-1)).mean().item()}


def definition(scores, q, g):
    """No sort: the rank of a match is the number of others that score as much or more, and of matches as good or better."""
    n, total = len(q), {k: fractions.Fraction(0) for k in ("R1", "R5", "R10", "mAP", "mINP")}
    for row, person in zip(scores.tolist(), q.tolist()):
        mine = sorted((s for s, p in zip(row, g.tolist()) if p == person), reverse=True)
        others = [s for s, p in zip(row, g.tolist()) if p != person]
        ranks = [i + 1 + sum(o >= s for o in others) for i, s in enumerate(mine)]
        for k in (1, 5, 10):
            total[f"R{k}"] += ranks[0] <= k
        total["mAP"] += sum(fractions.Fraction(i + 1, r) for i, r in enumerate(ranks)) / len(mine)
        total["mINP"] += fractions.Fraction(len(mine), ranks[-1])
    return {k: float(v / n) for k, v in total.items()}


torch.manual_seed(2)
cases = []
for queries, gallery, people, step in ((12, 20, 5, 0), (7, 31, 9, 0), (12, 20, 5, 0.25), (31, 17, 4, 0.5), (5, 40, 3, 1.0), (9, 23, 6, 100.0)):
    g = torch.randint(0, people, (gallery,))
    q = g[torch.randint(0, gallery, (queries,))]
    s = torch.randn(queries, gallery)
    if step:
        s = (s / step).round() * step
    lowered = s.double() - 1e-9 * (g[None] == q[:, None])
    want = definition(s, q, g)
    for other in (irra(lowered, q, g), tbps_clip(lowered, q, g)):
        assert all(abs(want[k] - v) < 1e-12 for k, v in other.items()), (want, other)
    cases.append({"ties": bool(step), "scores": s.flatten().tolist(), "query_ids": q.tolist(), "gallery_ids": g.tolist(), "want": want})
(pathlib.Path(__file__).parent.parent / "data" / "metrics.json").write_text(json.dumps(cases))
