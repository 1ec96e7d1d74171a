#!/usr/bin/env python3
"""The engine beside its peers in one PyTorch process: the same tensors, one stream, A B B A, checked against fp64 first.

    bench/run.py kernels                 every call of a training step (bench/catalogue.py)
    bench/run.py step                    whole training steps against the same model in PyTorch (bench/twin.py)
    bench/peers.py kernels|step          the peers alone; needs no library of ours, except for cuBLASLt

    --device cuda|cpu  --size full|tiny  --batches 128,64,256  --only 'gemm.v.*,ln.*'  --skip 'gemm.t.*'  --samples 30  --lib build/libscvd_bench.so
    --out FILE         default bench/results/<date>-<commit>-<machine>.jsonl; a line per row, written at once

bench/table.py makes the tables of docs/performance.md from such a file. A kernel that faults ends its process's use of the GPU: what was to
follow is named in the record and not run. Exit: 0, or 1 when something was wrong, failed or was not run."""
import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import torch

import catalogue
import rows
import sources
import timing
from machine import cpuinfo


def command(*args):
    try:
        return subprocess.run(args, capture_output=True, text=True, cwd=sources.ROOT, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def revision():
    packed = sources.ROOT / "revision"  # written by scripts/gpu_pack.sh
    return packed.read_text().strip() if packed.exists() else command("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or "unknown"


def machine(device):
    m = {"torch": torch.__version__, "python": platform.python_version(), "system": platform.platform()}
    if device == "cuda":
        m |= {"gpu": torch.cuda.get_device_name(), "sms": torch.cuda.get_device_properties(0).multi_processor_count, "cudnn": torch.backends.cudnn.version(),
              "cuda": torch.version.cuda, "driver": command("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")}
    else:
        m |= {"cpu": cpuinfo().get("model name", platform.processor()), "threads": torch.get_num_threads(), "load": os.getloadavg()[0]}
    return m


def clocks():
    """SM clock in MHz and power in W, as the driver has them now."""
    s = command("nvidia-smi", "--query-gpu=clocks.sm,power.draw", "--format=csv,noheader,nounits").split(",")
    try:
        clock, power = map(float, s)
    except ValueError:  # "[N/A]", or no such program
        return None
    return [clock, power]


def open_engine(path, device, needed):
    from engine import Engine
    if not Path(path).exists():
        if needed:
            sys.exit(f"bench/run.py: {path} is not there: build the target scvd_bench, or name the library with --lib")
        return None
    return Engine(path, device)


def main(peers_only=False):
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("what", choices=["kernels", "step"])
    a.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    a.add_argument("--size", default="full", choices=["full", "tiny"])
    a.add_argument("--batches", default="128,64,256")
    a.add_argument("--only", default="*", help="rows of kernels: shell patterns, with commas between")
    a.add_argument("--skip", default="", help="rows to leave out, likewise")
    a.add_argument("--samples", type=int, default=30)
    a.add_argument("--lib", default=str(sources.ROOT / "build" / "libscvd_bench.so"))
    a.add_argument("--preset", default="vit-b16", help="of step")
    a.add_argument("--compile", default="default,reduce-overhead", help="modes of torch.compile that step tries, max-autotune among them (minutes); empty: none")
    a.add_argument("--out", default="")
    o = a.parse_args()
    if o.device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"bench/{'peers' if peers_only else 'run'}.py: PyTorch {torch.__version__} finds no GPU here: nothing was run (--device cpu runs the same code on the processor)")
    torch.manual_seed(7)
    engine = open_engine(o.lib, o.device, not peers_only)
    if engine:
        engine.peers_only = peers_only
    now, sha = datetime.datetime.now(datetime.timezone.utc), revision()
    about = machine(o.device)
    where = "".join(c if c.isalnum() else "-" for c in about.get("gpu", about.get("cpu", "machine")))
    path = Path(o.out or sources.ROOT / "bench" / "results" / f"{now:%Y%m%d-%H%M%S}-{sha[:7]}-{where}-{o.what}{'-peers' if peers_only else ''}.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    hashes = {k: engine.sources(k) for k in sources.FOLDERS} if engine and not peers_only else {}
    with open(path, "a") as f:
        def write(line):
            f.write(json.dumps(line) + "\n")
            f.flush()

        write({"type": "run", "schema": 1, "what": o.what, "date": f"{now:%Y-%m-%dT%H:%M:%SZ}", "git": sha.removesuffix("-dirty"), "dirty": sha.endswith("-dirty"), "sources": hashes,
               "left_out": [k for k in ("SCVD_CLUSTERS", "SCVD_EARLY_LAUNCH", "SCVD_WGMMA_ATTENTION", "SCVD_HOPPER") if os.environ.get(k) == "0"],
               "device": o.device, "size": o.size, "machine": about, "command": " ".join(sys.argv), "peers_only": peers_only})
        clock = timing.Clock(o.device, engine.stream() if engine and o.device == "cuda" else None, o.samples)
        batches = [int(b) for b in o.batches.split(",")]
        if o.what == "kernels":
            torch.backends.cuda.matmul.allow_tf32 = False
            write({"type": "ceilings", **timing.ceilings(clock, o.device == "cuda" and o.size == "full"), "clocks": clocks()})
            chosen = [r for r in catalogue.rows(o.size, batches, o.device) if rows.matches(r.id, o.only) and not rows.matches(r.id, o.skip)]
            wrong = rows.run_rows(chosen, engine, clock, write)
        else:
            import steps
            wrong = steps.run(o.preset, batches, engine, clock, write, [m for m in o.compile.split(",") if m])
        write({"type": "end", "wrong": wrong, "clocks": clocks()})
    print(path)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
