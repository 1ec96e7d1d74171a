#!/usr/bin/env python3
"""The training step on the CPU, ours beside the same step in eager PyTorch (bench/twin.py), each in a process of its own.

    bench/torch_step.py build/bench_step [PRESET BATCH STEPS]     default: demo and small at their own batches, f32 and bf16
    bench/torch_step.py --twin FOLDER DTYPE STEPS                 the PyTorch side alone, on a batch that bench_step dumped

Before anything is timed, the f32 twin must give our loss on our weights and our batch. Needs torch and safetensors."""
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time


def twin(folder, dtype, steps):
    import torch

    import twin as model
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    t, batch = model.load(folder)
    trainer = model.Trainer(t, dtype)
    times, first = [], None
    for step in range(steps + 2):
        start = time.perf_counter()
        value = float(trainer.run().detach())
        first = value if first is None else first
        if step >= 2:
            times.append(1000 * (time.perf_counter() - start))
    gap = abs(first - batch["loss"]) / abs(batch["loss"])
    if dtype == "f32" and gap > 1e-4:
        sys.exit(f"the twin's loss is {first}, ours {batch['loss']}: not the same model")
    print(json.dumps({"engine": "torch " + torch.__version__, "dtype": dtype, "ms_median": statistics.median(times), "ms_min": min(times), "ms_max": max(times),
                      "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, "loss_gap": gap}))


def main():
    if len(sys.argv) == 5 and sys.argv[1] == "--twin":
        return twin(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    ours = sys.argv[1] if len(sys.argv) > 1 else "build/bench_step"
    chosen = [(sys.argv[2], sys.argv[3], sys.argv[4])] if len(sys.argv) > 4 else [("demo", "64", "20"), ("small", "64", "4")]
    for preset, size, steps in chosen:
        for dtype in ("f32", "bf16"):
            with tempfile.TemporaryDirectory() as folder:
                subprocess.run([ours, preset, dtype, "-2", folder, size], check=True)
                a = b = None
                for _ in range(2):  # A B A B: other jobs of the machine hit both
                    r = json.loads(subprocess.run([ours, preset, dtype, steps, folder, size], check=True, capture_output=True, text=True).stdout)
                    a = r if a is None or r["ms_min"] < a["ms_min"] else a
                    r = json.loads(subprocess.run([sys.executable, __file__, "--twin", folder, dtype, steps], check=True, capture_output=True, text=True).stdout.splitlines()[-1])
                    b = r if b is None or r["ms_min"] < b["ms_min"] else b
            print(json.dumps(a), json.dumps(b), sep="\n")
            print(f"{preset} {dtype}: ours {a['ms_median']:.0f} ms, {a['peak_MB']:.0f} MB; torch {b['ms_median']:.0f} ms, {b['peak_MB']:.0f} MB; "
                  f"{b['ms_median'] / a['ms_median']:.2f}x faster, {a['peak_MB'] / b['peak_MB']:.2f}x the memory", flush=True)


if __name__ == "__main__":
    main()
