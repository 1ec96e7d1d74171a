#!/usr/bin/env python3
"""Predicts the time of a training step on 1..1024 GPUs. A model with its assumptions on the command line, not a measurement.

    bench/scaling.py [--preset vit-b16] [--pairs-per-gpu 64] [--step-ms MEASURED] [...]

  compute   the step of one GPU on its own pairs: measured (--step-ms), or the floor of bench/count.py over --efficiency
  gradients all-reduce of the f32 buffer, 2 (N-1)/N of its bytes at the bus bandwidth of NVLink (one host) or of the host's network cards; beside
            backward, so only what sticks out counts: the last bucket, and what is longer than backward
  losses    collectives on the critical path: global vectors (twice each way, once for the groups), prompts' projections, scores
  products  similarity of own rows with the whole batch, in f32
  groups    hard pairs, chosen by one rank per pool of --pool pairs, on one warp of its GPU, while all wait: quadratic in the pool
"""
import argparse
import math

import count


def parse():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--preset", default="vit-b16")
    a.add_argument("--pairs-per-gpu", type=int, default=64)
    a.add_argument("--step-ms", type=float, help="measured step of one GPU; default: floor / efficiency")
    a.add_argument("--efficiency", type=float, default=0.6)
    a.add_argument("--tflops", type=float, default=788)
    a.add_argument("--f32-tflops", type=float, default=40)
    a.add_argument("--tbps", type=float, default=4.3)
    a.add_argument("--gpus-per-host", type=int, default=8)
    a.add_argument("--nvlink", type=float, default=370, help="GB/s, bus bandwidth of an all-reduce inside a host (H200, 8 GPUs)")
    a.add_argument("--network", type=float, default=320, help="GB/s, bus bandwidth between hosts (8 cards of 400 Gb/s at 80 %%)")
    a.add_argument("--latency-us", type=float, default=15, help="of a collective inside a host; between hosts 5 us more per doubling")
    a.add_argument("--bucket-mb", type=float, default=16)
    a.add_argument("--pool", type=int, default=1024, help="loss.pool of the configuration")
    a.add_argument("--clock", type=float, default=1.75, help="GHz of a GPU, for the chain of choices that make groups (ops/cuda/pairs.cu)")
    return a.parse_args()


def step(o, c, N):
    """Milliseconds of each part on N GPUs."""
    b, d = o.pairs_per_gpu, c["model"]["embed"]
    B, hosts = b * N, max(1, N // o.gpus_per_host)
    k = count.training_step(c, b)
    compute = o.step_ms or 1e3 * count.floor(k.calls, 1e12 * o.tflops, 1e12 * o.tbps) / o.efficiency
    bandwidth = 1e9 * (o.nvlink if hosts == 1 else min(o.nvlink, o.network))
    latency = 1e-3 * (o.latency_us + 5 * math.log2(hosts))
    share = (N - 1) / N
    size = 1 + int(c["loss"]["pairs"].split(":")[1]) if ":" in c["loss"].get("pairs", "all") else B
    gradients = 4.0 * k.params
    reduce_ms = 1e3 * 2 * share * gradients / bandwidth
    last = 1e3 * 2 * share * 1e6 * o.bucket_mb / bandwidth
    backward = compute * 2 / 3
    exposed = 0 if N == 1 else max(last, reduce_ms - backward) + latency
    slots = B * count.MADE_UP["prompts"]
    vsr = 2 if c.get("cgi", {}).get("vsr", "pair") == "pair" else 0
    moved = 4.0 * B * d * (2 + 2 + 2) + 2.0 * slots * d * (1 + vsr) * 2 + 4.0 * B * size * 2
    losses = 0 if N == 1 else 1e3 * share * moved / bandwidth + 14 * latency
    products = 1e3 * 2 * 3 * 2.0 * b * B * d / (1e12 * o.f32_tflops)
    pools = math.ceil(B / o.pool)
    pool = B / pools
    turns = math.ceil(pools / N)
    groups = 0 if size == B else turns * (1e-6 * pool * (250 + pool / 4) / o.clock + 3e-3 * pool / size)  # cycles a choice; 3 us to read the scores of a group's first
    total = compute + exposed + losses + products + groups
    return dict(N=N, B=B, compute=compute, allreduce=reduce_ms, exposed=exposed, losses=losses, products=products, groups=groups, total=total,
                gb=(2 * share * gradients + share * moved) / 1e9)


def main():
    o = parse()
    c = count.preset(o.preset)
    one = step(o, c, 1)["total"]
    print("%s, %d pairs a GPU; ms a step. Predicted: nothing here has run on several GPUs." % (o.preset, o.pairs_per_gpu))
    print("%5s %7s %9s %11s %9s %8s %9s %8s %8s %11s %11s" % ("GPUs", "pairs", "compute", "all-reduce", "exposed", "losses", "products", "groups", "step", "efficiency", "GB a rank"))
    for N in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024):
        r = step(o, c, N)
        print("%5d %7d %9.1f %11.2f %9.2f %8.2f %9.2f %8.1f %8.1f %10.0f%% %11.2f" % (r["N"], r["B"], r["compute"], r["allreduce"], r["exposed"], r["losses"], r["products"],
                                                                                    r["groups"], r["total"], 100 * one / r["total"], r["gb"]))


if __name__ == "__main__":
    main()
