#!/usr/bin/env python3
"""Writes tests/data/metrics.json: the retrieval numbers that IRRA's evaluator gives (RDE's is the same code; TBPS-CLIP's has
the same R@k and mAP, and no mINP), on random scores without and with ties. Needs torch.

Theirs sorts with torch.argsort, whose order of equal scores is undefined. Ours puts people who do not match first. The
scores handed to theirs have that order made explicit: a match among equals is lowered by less than any other difference.
"""
import json
import pathlib

import torch


def evaluate(scores, q, g):
    """cumulative matches / rank, as IRRA's rank() forms CMC, AP and INP"""
    order = torch.argsort(scores, dim=1, descending=True)
    hit = g[order] == q[:, None]
    seen = hit.cumsum(1)
    rank = torch.arange(1, g.numel() + 1)
    cmc = (seen > 0).double().mean(0)
    precision = seen.double() / rank
    ap = (precision * hit).sum(1) / hit.sum(1)
    last = torch.where(hit, rank, 0).max(1).values
    inp = seen.gather(1, (last - 1)[:, None])[:, 0].double() / last
    return {"R1": cmc[0].item(), "R5": cmc[4].item(), "R10": cmc[9].item(), "mAP": ap.mean().item(), "mINP": inp.mean().item()}


torch.manual_seed(2)
cases = []
for queries, gallery, people, step in ((12, 20, 5, 0), (7, 31, 9, 0), (12, 20, 5, 0.25), (31, 17, 4, 0.5), (5, 40, 3, 1.0)):
    g = torch.randint(0, people, (gallery,))
    q = g[torch.randint(0, gallery, (queries,))]
    s = torch.randn(queries, gallery)
    if step:
        s = (s / step).round() * step
    cases.append({"ties": bool(step), "scores": s.flatten().tolist(), "query_ids": q.tolist(), "gallery_ids": g.tolist(),
                  "want": evaluate(s.double() - 1e-9 * (g[None] == q[:, None]), q, g)})
(pathlib.Path(__file__).parent.parent / "data" / "metrics.json").write_text(json.dumps(cases))
