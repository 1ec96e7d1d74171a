#!/usr/bin/env python3
"""Scores of every query with every image: bench_all_pairs beside the same in PyTorch, each in a process of its own, the
same weights, features, cached sides and blocks of pairs.

    bench/all_pairs.py build/bench_all_pairs [PRESET f32|bf16 cpu|cuda QUERIES IMAGES TEXT_BLOCK IMAGE_BLOCK]
    bench/all_pairs.py --record build/bench_all_pairs FILE  both types on this CPU, into FILE (bench/results/cpu-all-pairs-*.json)
    bench/all_pairs.py --twin FOLDER DTYPE DEVICE          the PyTorch side of a dumped run

The defaults are CUHK-PEDES' test split on a GPU. Smaller runs print what the whole would take, marked as extrapolated."""
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine

QUERIES, GALLERY = 6156, 3074


def twin(folder, dtype, device):
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file

    import twin as model
    if device == "cpu":
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    b = json.load(open(f"{folder}/batch.json"))
    f = load_file(f"{folder}/features.safetensors")
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    net = model.Interaction(b)
    net.load_state_dict({k: v for k, v in load_file(f"{folder}/weights.safetensors").items() if k.split(".")[0] in ("tvl", "vsr", "dfa")})
    net = net.to(device, kind)
    tokens, prompts = (f[k].to(device, kind) for k in ("tokens", "prompts"))
    (Q, P), I, (tb, ib) = prompts.shape[:2], len(tokens), b["blocks"]
    mask = torch.ones(tb, P, dtype=torch.bool, device=device)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def score(queries, images):
        out = torch.empty(queries, images)
        texts = [net.text_side(prompts[q:q + tb], mask[:len(prompts[q:q + tb])]) for q in range(0, queries, tb)]
        sides = [net.image_side(tokens[i:i + ib]) for i in range(0, images, ib)]
        wait()
        start = time.perf_counter()
        for bi, (kv, vq) in enumerate(sides):
            for bt, (tq, other) in enumerate(texts):
                j, i = (x.flatten() for x in torch.meshgrid(torch.arange(len(tq), device=device), torch.arange(len(kv), device=device), indexing="ij"))
                v, t = net(tq[j], kv[i], None if vq is None else vq[i], other[j], mask[:1].expand(len(j), -1))
                s = (F.normalize(v.float(), dim=1) * F.normalize(t.float(), dim=1)).sum(1)
                out[bt * tb:bt * tb + len(tq), bi * ib:bi * ib + len(kv)] = s.view(len(tq), -1).cpu()
        wait()
        return out, time.perf_counter() - start

    with torch.inference_mode():
        score(min(Q, tb), min(I, ib))
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        scores, seconds = score(Q, I)
    gap = (scores - f["scores"]).abs().max().item()
    pairs = Q * I
    print(json.dumps({"engine": "torch " + torch.__version__, "queries": Q, "images": I, "scores_s": seconds, "pairs_per_s": pairs / seconds, "largest_difference": gap,
                      "all_pairs_s" if pairs == QUERIES * GALLERY else "all_pairs_s_extrapolated": QUERIES * GALLERY / pairs * seconds,
                      "peak_GB": torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else None}))


def result(command):
    """The JSON object that a program ends with; what it says on stderr is said here."""
    r = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if r.returncode:
        sys.exit(f"bench/all_pairs.py: {' '.join(command)} ended with {r.returncode}")
    return json.loads(r.stdout.splitlines()[-1])


def beside(ours, args):
    best = {}
    with tempfile.TemporaryDirectory() as folder:
        result([ours, *args, folder])
        for _ in range(2 if args[2] == "cuda" else 3):  # A B A B
            for who, command in (("ours", [ours, *args]), ("torch", [sys.executable, __file__, "--twin", folder, args[1], args[2]])):
                r = result(command)
                print(who, json.dumps(r), file=sys.stderr, flush=True)  # kept if what follows is cut short
                r["all_runs_s"] = best.get(who, {}).get("all_runs_s", []) + [r["scores_s"]]
                best[who] = r if who not in best or r["scores_s"] < best[who]["scores_s"] else best[who] | {"all_runs_s": r["all_runs_s"]}
    gap, allowed = best["torch"]["largest_difference"], 1e-4 if args[1] == "f32" else 3e-2
    if not gap < allowed:
        sys.exit(f"bench/all_pairs.py: a score differs by {gap}: the two do not compute the same")
    print(json.dumps(best["ours"]), json.dumps(best["torch"]), sep="\n")
    print(f"{' '.join(args)}: ours {best['ours']['pairs_per_s']:.0f} pairs/s, torch {best['torch']['pairs_per_s']:.0f}; {best['torch']['scores_s'] / best['ours']['scores_s']:.2f}x faster", flush=True)
    return best


def main():
    if len(sys.argv) == 5 and sys.argv[1] == "--twin":
        return twin(*sys.argv[2:])
    if len(sys.argv) == 4 and sys.argv[1] == "--record":
        record = machine.record()
        record |= {"results": [beside(sys.argv[2], ["vit-b16", dtype, "cpu", "32", "64", "32", "64"]) for dtype in ("bf16", "f32")], "load_after": os.getloadavg()}
        Path(sys.argv[3]).write_text(json.dumps(record, indent=1) + "\n")
        return
    ours = sys.argv[1] if len(sys.argv) > 1 else "build/bench_all_pairs"
    args = sys.argv[2:] or ["vit-b16", "bf16", "cuda", str(QUERIES), str(GALLERY), "32", "64"]
    if len(args) != 7:
        sys.exit(__doc__)
    beside(ours, args)


if __name__ == "__main__":
    main()
