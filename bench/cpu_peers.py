#!/usr/bin/env python3
"""Products and attention on the CPU: ours beside oneDNN, OpenBLAS and PyTorch, each peer in a process of its own (two pools
of threads in one process spoil each other), in turns A B C .. C B A, the least time of each kept.

    bench/cpu_peers.py [--build build] [--threads 1,2] [--rounds 3] [--out FILE]

What a machine lacks is named in the record. Our products call oneDNN with plain weights, so its row there is what ours costs
beyond it; "packed" keeps the weights in oneDNN's own layout, which a training step cannot. With one thread the clock is the
process's own CPU time, so that a busy machine only costs its caches; with more it is the wall's."""
import argparse
import array
import ctypes as C
import json
import mmap
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import machine
import table

# y [m,n] of ViT-B/16 at batch 8 and of its texts; one square.
PRODUCTS = ["1544x768x768", "1544x2304x768", "1544x3072x768", "1544x768x3072", "576x1536x512", "576x2048x512", "2048x2048x2048"]
ATTENTION = ["8x193x12x64", "128x9x8x64"]  # sequences x length x heads x width
PEERS = {"f32": ["ours", "onednn plain", "onednn packed", "openblas", "torch"], "bf16": ["ours", "onednn plain", "onednn packed", "torch"]}


def least_ms(run):
    clock = time.process_time if os.environ.get("OMP_NUM_THREADS") == "1" else time.perf_counter
    for _ in range(3):
        run()
    ms, end = [], time.perf_counter() + 0.3
    while time.perf_counter() < end or len(ms) < 10:
        start = clock()
        run()
        ms.append(1000 * (clock() - start))
    return [min(ms), statistics.median(ms)]


def numbers(n, dtype):
    """n random values in memory that begins with a page, as the engine's and PyTorch's begin with a cache line; bf16 as the
    upper halves of floats."""
    r = random.Random(1)
    block = array.array("f", [r.gauss(0, 1) for _ in range(4093)])
    if dtype == "bf16":
        bits = array.array("I", block.tobytes())
        block = array.array("H", [b >> 16 for b in bits])
    values = (C.c_char * (n * block.itemsize)).from_buffer(mmap.mmap(-1, n * block.itemsize))
    values.raw = (block * (n // len(block) + 1))[:n].tobytes()
    return values


def address(a):
    return C.addressof(C.c_char.from_buffer(a))


def ours(dtype, threads, library):
    import abi
    lib, code = abi.load(library), 1 if dtype == "bf16" else 0
    lib.scvd_set_threads(threads)
    matrix = lambda a, rows, cols, first=0, width=None, kind=code: abi.View(address(a) + first * (2 if kind == 1 else 4), kind, rows, width or cols, cols)
    out = lambda v: abi.Out(v.p, v.dtype, v.rows, v.cols, v.pitch, abi.WRITE)
    found = {}

    def call(name, **args):
        a, f = abi.ARGS[name](**args), getattr(lib, "scvd_run_" + name)

        def run():
            if f(0, C.byref(a)):
                raise RuntimeError(lib.scvd_error().decode())
        return run

    for shape in PRODUCTS:
        m, n, k = map(int, shape.split("x"))
        x, w, y = numbers(m * k, dtype), numbers(n * k, dtype), numbers(m * n, dtype)
        found[shape] = least_ms(call("gemm", a=matrix(x, m, k), b=matrix(w, n, k), c=out(matrix(y, m, n)), pre=abi.Out(mode=abi.SKIP), tb=True))
    for shape in ATTENTION:
        B, L, H, D = map(int, shape.split("x"))
        T, W = B * L, H * D
        qkv, y, lse = numbers(3 * T * W, dtype), numbers(T * W, dtype), numbers(T * H, "f32")
        dy, dqkv = numbers(T * W, dtype), numbers(3 * T * W, dtype)
        begin, length = array.array("i", range(0, T, L)), array.array("i", [L] * B)
        b, n = matrix(begin, B, 1, kind=3), matrix(length, B, 1, kind=3)
        common = dict(seqs=abi.Seqs(q_begin=b, q_len=n, o_begin=b, k_begin=b, k_len=n, max_q=L, max_k=L, k_rows=T), heads=H, scale=D**-0.5)
        q, k, v = (matrix(qkv, T, 3 * W, i * W, W) for i in range(3))
        ly = matrix(lse, T, H, kind=0)
        forward = call("attention_forward", q=q, k=k, v=v, y=out(matrix(y, T, W)), lse=out(ly), **common)
        found[shape + " forward"] = least_ms(forward)
        d = {g: out(matrix(dqkv, T, 3 * W, i * W, W)) for i, g in enumerate(("dq", "dk", "dv"))}
        found[shape + " backward"] = least_ms(call("attention_backward", dy=matrix(dy, T, W), q=q, k=k, v=v, y=matrix(y, T, W), lse=ly, **d, **common))
    return found


def openblas(dtype, threads, _):
    lib, found = C.CDLL("libopenblas.so.0"), {}
    lib.openblas_set_num_threads(threads)
    sgemm = lib.cblas_sgemm
    sgemm.argtypes = [C.c_int] * 6 + [C.c_float, C.c_void_p, C.c_int, C.c_void_p, C.c_int, C.c_float, C.c_void_p, C.c_int]
    for shape in PRODUCTS:
        m, n, k = map(int, shape.split("x"))
        x, w, y = (numbers(s, dtype) for s in (m * k, n * k, m * n))
        found[shape] = least_ms(lambda: sgemm(101, 111, 112, m, n, k, 1.0, address(x), k, address(w), k, 0.0, address(y), n))  # row-major, w transposed
    return found


def torch_(dtype, threads, _):
    import torch
    import torch.nn.functional as F
    torch.set_num_threads(threads)
    kind, found = torch.bfloat16 if dtype == "bf16" else torch.float32, {}
    for shape in PRODUCTS:
        m, n, k = map(int, shape.split("x"))
        x, w = torch.randn(m, k).to(kind), torch.randn(n, k).to(kind)
        with torch.inference_mode():
            found[shape] = least_ms(lambda: F.linear(x, w))
    for shape in ATTENTION:
        B, L, H, D = map(int, shape.split("x"))
        q, k, v = (t.transpose(1, 2).detach().requires_grad_() for t in torch.randn(B, L, 3, H, D).to(kind).unbind(2))
        with torch.no_grad():
            found[shape + " forward"] = least_ms(lambda: F.scaled_dot_product_attention(q, k, v))
        y = F.scaled_dot_product_attention(q, k, v)
        dy = torch.randn_like(y)
        found[shape + " backward"] = least_ms(lambda: torch.autograd.grad(y, (q, k, v), dy, retain_graph=True))
    return found


def child(peer, dtype, threads, build):
    """One peer in a process of its own -> {what: [least ms, median ms]}, or the reason there is none."""
    env = os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
    if peer.startswith("onednn"):
        command = [f"{build}/bench_onednn", dtype, peer.split()[1], *PRODUCTS]
    else:
        command = [sys.executable, __file__, "--peer", peer, dtype, str(threads), f"{build}/libscvd_bench.so"]
    try:
        r = subprocess.run(command, env=env, capture_output=True, text=True)
    except OSError as e:
        return str(e)
    return json.loads(r.stdout.splitlines()[-1]) if r.returncode == 0 else (r.stderr.strip().splitlines() or ["failed"])[-1]


def main():
    if len(sys.argv) == 6 and sys.argv[1] == "--peer":
        peer = {"ours": ours, "openblas": openblas, "torch": torch_}[sys.argv[2]]
        return print(json.dumps(peer(sys.argv[3], int(sys.argv[4]), sys.argv[5])))
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--build", default=str(machine.ROOT / "build"))
    a.add_argument("--threads", default="1,2")
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--out", default="")
    o = a.parse_args()
    record = machine.record() | {"unit": "least milliseconds of all rounds; spread: of the rounds' leasts, relative", "results": [], "lacking": {}}
    for threads in map(int, o.threads.split(",")):
        for dtype, peers in PEERS.items():
            runs = {p: [] for p in peers}
            for round_ in range(o.rounds):
                for p in peers if round_ % 2 == 0 else reversed(peers):
                    r = child(p, dtype, threads, o.build)
                    if isinstance(r, str):
                        record["lacking"][f"{p} {dtype}"] = r
                    else:
                        runs[p].append(r)
            for what in PRODUCTS + [f"{s} {w}" for s in ATTENTION for w in ("forward", "backward")]:
                least = {p: [r[what][0] for r in rs if what in r] for p, rs in runs.items()}
                ms = {p: min(v) for p, v in least.items() if v}
                record["results"].append({"what": what, "dtype": dtype, "threads": threads, "ms": ms, "spread": {p: max(v) / min(v) - 1 for p, v in least.items() if v}})
                rates = ", ".join(f"{p} {table.work_of(what) / t / 1e6:.0f}" for p, t in ms.items())
                print(f"{threads} thread{'s' * (threads > 1)} {dtype:<4} {what:<22} GFLOP/s: {rates}", flush=True)
    record["load_after"] = os.getloadavg()
    path = Path(o.out or machine.RESULTS / f"cpu-{record['date'][:10].replace('-', '')}-{record['git'][:7]}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    for p, why in record["lacking"].items():
        print(f"lacking: {p}: {why}")
    print(path)


if __name__ == "__main__":
    main()
