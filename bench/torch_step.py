#!/usr/bin/env python3
"""The training step and the encoders on the CPU, ours beside eager PyTorch (bench/twin.py), each in a process of its own, in turns
A B A B; of each the run with the least time counts.

    bench/torch_step.py [--build build] [--rounds 2] [--out FILE] [PRESET BATCH STEPS]...     default: demo 64 20 vit-b16 8 4
    bench/torch_step.py --twin FOLDER DTYPE STEPS        the PyTorch side alone, on a batch that bench_step dumped

Before anything is timed, the f32 twin must give our loss on our weights and our batch. Needs torch and safetensors."""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine

PARTS = ("step", "images", "texts")


def timed(count, f):
    ms = []
    for i in range(-2, count):
        start = time.perf_counter()
        f()
        if i >= 0:
            ms.append(1000 * (time.perf_counter() - start))
    return {"median": statistics.median(ms), "min": min(ms), "max": max(ms)}


def twin(folder, dtype, steps):
    import torch

    import twin as model
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    t, batch = model.load(folder)
    trainer = model.Trainer(t, dtype)

    def encode(f):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
            return timed(steps, f)

    def texts():
        t.encode_texts(*t.captions), t.encode_texts(*t.prompts_in)

    first = float(trainer.run().detach())
    gap = abs(first - batch["loss"]) / abs(batch["loss"])
    if dtype == "f32" and gap > 1e-4:
        sys.exit(f"the twin's loss is {first}, ours {batch['loss']}: not the same model")
    ms = {"images": encode(lambda: t.visual(t.pixels)), "texts": encode(texts), "step": timed(steps, lambda: trainer.run())}
    print(json.dumps({"engine": "torch " + torch.__version__, "dtype": dtype, "ms": ms, "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, "loss_gap": gap}))


def beside(ours, preset, batch, steps, dtype, rounds):
    best = {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([ours, preset, dtype, "0", folder, batch], check=True)
        for _ in range(rounds):  # A B A B: what else the machine does hits both
            for who, command in (("ours", [ours, preset, dtype, steps, folder, batch]), ("torch", [sys.executable, __file__, "--twin", folder, dtype, steps])):
                r = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
                if who not in best:
                    best[who] = r
                for part in PARTS:
                    if r["ms"][part]["median"] < best[who]["ms"][part]["median"]:
                        best[who]["ms"][part] = r["ms"][part]
    return {"preset": preset, "batch": int(batch), "dtype": dtype, **best}


def main():
    if len(sys.argv) == 5 and sys.argv[1] == "--twin":
        return twin(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--build", default=str(machine.ROOT / "build"))
    a.add_argument("--rounds", type=int, default=2)
    a.add_argument("--out", default=str(machine.RESULTS / "cpu-steps.json"))
    a.add_argument("what", nargs="*", default=["demo", "64", "20", "vit-b16", "8", "4"])
    o = a.parse_args()
    if len(o.what) % 3:
        a.error("presets, batches and steps come in threes")
    record = machine.record() | {"unit": "milliseconds, medians", "results": []}
    for i in range(0, len(o.what), 3):
        for dtype in ("f32", "bf16"):
            r = beside(os.path.join(o.build, "bench_step"), *o.what[i:i + 3], dtype, o.rounds)
            record["results"].append(r)
            for part in PARTS:
                us, them = (r[who]["ms"][part]["median"] for who in ("ours", "torch"))
                print(f"{r['preset']} {r['batch']} {dtype} {part:<7} ours {us:8.1f} ms, torch {them:8.1f} ms: {them / us:.2f}", flush=True)
            print(f"{r['preset']} {r['batch']} {dtype} memory  ours {r['ours']['peak_MB']:.0f} MB, torch {r['torch']['peak_MB']:.0f} MB", flush=True)
    record["load_after"] = os.getloadavg()
    Path(o.out).write_text(json.dumps(record, indent=1) + "\n")
    print(o.out)


if __name__ == "__main__":
    main()
